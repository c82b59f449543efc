package capture

import (
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/decode"
	"github.com/tcpwatch/tcpwatch/capture/live"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A setClock is a tap whose clock is set by the test.
type setClock struct {
	live.Tap
	by time.Duration // forward
}

func (c *setClock) ClockSet() time.Duration { return c.by }

// When the clock is set times go on as before, but for the first packets after it
// was set back, at which time stands still. What is late, and a pause, is left
// alone.
func TestTimesWhenTheClockIsSet(t *testing.T) {
	const begin = tcp.Time(1_800_000_000_000_000_000)
	type packet struct {
		stamp time.Duration // after begin
		set   time.Duration // how far the clock was set by then, as the tap knows
		want  time.Duration
	}
	const s, h = time.Second, time.Hour
	for _, c := range []struct {
		claim   string
		packets []packet
		ahead   time.Duration
	}{
		{"it-is-not-set", []packet{{0, 0, 0}, {1 * s, 0, 1 * s}, {2 * s, 0, 2 * s}}, 0},
		{"some-packets-come-a-little-late", []packet{{9 * s, 0, 9 * s}, {6 * s, 0, 6 * s}, {7 * s, 0, 7 * s}, {8 * s, 0, 8 * s}, {10 * s, 0, 10 * s}}, 0},
		{"two-come-very-late", []packet{{9 * s, 0, 9 * s}, {1 * s, 0, 9 * s}, {2 * s, 0, 9 * s}, {10 * s, 0, 10 * s}, {2 * s, 0, 10 * s}, {3 * s, 0, 10 * s}}, 0},
		{"it-is-set-back", []packet{{0, 0, 0}, {-h, 0, 0}, {-h + s, 0, 0}, {-h + 2*s, 0, 2 * s}, {-h + 3*s, 0, 3 * s}}, h},
		{"it-is-set-back-twice", []packet{{0, 0, 0}, {-h, 0, 0}, {-h, 0, 0}, {-h, 0, 0}, {-2 * h, 0, 0}, {-2 * h, 0, 0}, {-2*h + s, 0, s}}, 2 * h},
		{"it-is-set-forward", []packet{{0, 0, 0}, {h + s, h, s}, {h + 2*s, h, 2 * s}}, -h},
		{"it-is-set-forward-and-back", []packet{{0, 0, 0}, {h + s, h, s}, {1 * s, 0, s}, {1 * s, 0, s}, {2 * s, 0, 2 * s}, {3 * s, 0, 3 * s}}, 0},
		{"it-is-set-back-and-forward", []packet{{0, 0, 0}, {-h, -h, 0}, {-h, -h, 0}, {-h, -h, 0}, {1 * s, 0, s}, {2 * s, 0, 2 * s}}, 0},
		{"there-was-a-pause", []packet{{0, 0, 0}, {h, 0, h}, {h + s, 0, h + s}}, 0},
		{"there-was-a-pause-in-which-it-was-set-forward", []packet{{0, 0, 0}, {3 * h, h, 2 * h}}, -h},
		{"it-was-set-forward-after-the-stamp", []packet{{0, 0, 0}, {6 * s, h, 6 * s}, {h + 7*s, h, 7 * s}}, -h},
	} {
		t.Run(c.claim, func(t *testing.T) {
			clock := &setClock{}
			l := &Live{tap: clock, decoder: new(decode.Decoder)}
			for i, p := range c.packets {
				clock.by = p.set
				r := pcap.Record{Time: begin.Add(p.stamp), Link: pcap.LinkRaw}
				if _, err := l.take(&r); err != nil {
					t.Fatal(err)
				}
				if got := r.Time.Sub(begin); got != p.want {
					t.Errorf("packet %d is of %v, want %v", i+1, got, p.want)
				}
			}
			if l.stats.Ahead != c.ahead {
				t.Errorf("times are ahead by %v, want %v", l.stats.Ahead, c.ahead)
			}
		})
	}
}

// An interface has no packet from the future. What another program captures may
// have been read after any time.
func TestPacketsFromTheFuture(t *testing.T) {
	for _, c := range []struct {
		claim      string
		interfaces []string
		ahead      time.Duration // of the present
		right      bool
	}{
		{"of-an-interface", []string{"eth0"}, time.Hour, false},
		{"hardly-ahead", []string{"eth0"}, 8 * time.Second, true},
		{"of-another-program", nil, time.Hour, true},
	} {
		t.Run(c.claim, func(t *testing.T) {
			l := &Live{tap: &setClock{}, decoder: new(decode.Decoder), options: LiveOptions{Interfaces: c.interfaces}}
			began := tcp.Time(time.Now().UnixNano())
			late := pcap.Record{Time: began.Add(c.ahead), Link: pcap.LinkRaw}
			for _, r := range []*pcap.Record{{Time: began, Link: pcap.LinkRaw}, &late, {Time: began.Add(time.Second), Link: pcap.LinkRaw}} {
				if _, err := l.take(r); err != nil {
					t.Fatal(err)
				}
			}
			if right := late.Time != began; right != c.right || right != (l.stats.Misdated == 0) {
				t.Errorf("it is of %v, and %d are wrong", late.Time.Sub(began), l.stats.Misdated)
			}
		})
	}
}
