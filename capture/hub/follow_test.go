//go:build !nohub

package hub

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/wire"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// plainHub starts a hub, and returns where it is.
func plainHub(t *testing.T, partitions int) string {
	t.Helper()
	h, err := Serve(t.Context(), ServeOptions{Store: t.TempDir(), Listen: "127.0.0.1:0", Keep: Keep{Partitions: partitions}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h.URL()
}

// connected connects to a hub.
func connected(t *testing.T, url string) *Conn {
	t.Helper()
	c, err := Connect(t.Context(), Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// liveSensor begins a sensor that captures.
func liveSensor(t *testing.T, url, name string, o SensorOptions) *Sensor {
	t.Helper()
	o.Name, o.Live, o.Room = name, true, max(o.Room, 1<<20)
	if o.About == nil {
		o.About = func() (a About) { return a }
	}
	s, err := connected(t, url).Sensor(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// segmentAt is a segment of some connection, of a time.
func segmentAt(at tcp.Time, n int) *tcp.Segment {
	return &tcp.Segment{Time: at, Packet: n, Seq: tcp.Seq(n),
		Src: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(1000+n)), Dst: netip.MustParseAddrPort("10.0.0.2:80")}
}

// present is now, as a sensor without a wrong clock has it.
func present() tcp.Time { return tcp.Time(time.Now().UnixNano()) }

// watched reads on until it was told of enough, and returns what it was told.
func watched(t *testing.T, f *Follow, notices *[]string, enough func(list []tcp.Segment) bool) (list []tcp.Segment) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !enough(list); {
		if time.Now().After(end) {
			t.Fatalf("%d segments came; it was said: %q", len(list), *notices)
		}
		g, err := f.Next(time.Now().Add(20 * time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		if g != nil {
			list = append(list, *g)
		}
	}
	return list
}

func said(notices []string, what string) bool {
	return slices.ContainsFunc(notices, func(n string) bool { return strings.Contains(n, what) })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Two sensors are one stream in the order of the times. One that is silent is named,
// and the other goes on; what it brings too late is counted as lost.
func TestFollow(t *testing.T) {
	defer func(silent, settle time.Duration) { silentAfter, settleFor = silent, settle }(silentAfter, settleFor)
	silentAfter, settleFor = 2*time.Second, time.Second
	url := plainHub(t, 4)
	var notices []string
	f, err := connected(t, url).Follow(t.Context(), 0, func(n string) { notices = append(notices, n) })
	must(t, err)
	defer f.Close()
	a, b := liveSensor(t, url, "a", SensorOptions{}), liveSensor(t, url, "b", SensorOptions{})
	begin := present()
	must(t, a.Beat(begin))
	must(t, b.Beat(begin))
	const n = 40
	for i := range n {
		s := a
		if i%2 == 1 {
			s = b
		}
		must(t, s.Take(segmentAt(begin+tcp.Time(1+i), i)))
	}
	must(t, a.Beat(begin+n))
	must(t, a.Beat(begin+n+1))
	watchedFor(t, f, &notices, 200*time.Millisecond, 0) // b may still bring something between those of a
	must(t, b.Beat(begin+n+1))
	list := watched(t, f, &notices, func(list []tcp.Segment) bool { return len(list) == n })
	for i := range list {
		if want := begin + tcp.Time(1+i); list[i].Time != want {
			t.Fatalf("segment %d is of time %d, want %d", i, list[i].Time-begin, want-begin)
		}
	}
	for _, name := range []string{"a", "b"} {
		if !said(notices, "sensor "+name+" sends") {
			t.Errorf("nothing was said of sensor %s: %q", name, notices)
		}
	}
	if p := f.Place(list[1].Packet); p.Tap != "b" || p.Packet != 1 {
		t.Errorf("the second segment is at %+v", p)
	}

	// b falls silent.
	must(t, b.Take(segmentAt(begin+1000, 7)))
	must(t, a.Take(segmentAt(begin+2000, 8)))
	must(t, a.Beat(begin+2001))
	beats := time.Now()
	list = watched(t, f, &notices, func(list []tcp.Segment) bool {
		if time.Since(beats) > 100*time.Millisecond {
			beats = time.Now()
			must(t, a.Beat(begin+2002))
		}
		return len(list) == 1
	})
	if list[0].Time != begin+2000 || !said(notices, "nothing is heard of sensor b") {
		t.Errorf("got the segment of %d; it was said: %q", list[0].Time-begin, notices)
	}
	if by := f.Stats().DroppedBy; by == 0 {
		t.Error("that a sensor is silent is no loss")
	}
	must(t, b.Take(segmentAt(begin+3000, 9)))
	must(t, b.Beat(begin+3001))
	must(t, a.Beat(begin+3001))
	list = watched(t, f, &notices, func(list []tcp.Segment) bool { return len(list) == 1 })
	if list[0].Time != begin+3000 || !said(notices, "sensor b is back") || f.Stats().Dropped != 1 {
		t.Errorf("got the segment of %d, %d lost; it was said: %q", list[0].Time-begin, f.Stats().Dropped, notices)
	}
	must(t, b.End(t.Context(), begin+4000))
	watched(t, f, &notices, func([]tcp.Segment) bool { return said(notices, "sensor b has ended") })
}

// watchedFor reads on for a while, in which no more than so many segments come.
func watchedFor(t *testing.T, f *Follow, notices *[]string, d time.Duration, most int) {
	t.Helper()
	end := time.Now().Add(d)
	list := watched(t, f, notices, func([]tcp.Segment) bool { return time.Now().After(end) })
	if len(list) > most {
		t.Fatalf("%d segments came too early", len(list))
	}
}

// A sensor whose clock is wrong is named, its times are put right, and it stops nobody.
func TestFollowWrongClock(t *testing.T) {
	for _, by := range []time.Duration{-time.Hour, time.Hour} {
		t.Run(fmt.Sprint(by), func(t *testing.T) {
			url := plainHub(t, 1)
			var notices []string
			f, err := connected(t, url).Follow(t.Context(), 0, func(n string) { notices = append(notices, n) })
			must(t, err)
			defer f.Close()
			wrong := func() tcp.Time { return present().Add(by) }
			a, b := liveSensor(t, url, "a", SensorOptions{}), liveSensor(t, url, "b", SensorOptions{now: wrong})
			begin := present()
			must(t, a.Take(segmentAt(begin, 1)))
			must(t, b.Take(segmentAt(wrong(), 2)))
			must(t, a.Beat(begin+1))
			must(t, b.Beat(wrong()))
			time.Sleep(50 * time.Millisecond)
			must(t, a.Beat(present()))
			must(t, b.Beat(wrong()))
			list := watched(t, f, &notices, func(list []tcp.Segment) bool {
				must(t, a.Beat(present()))
				must(t, b.Beat(wrong()))
				return len(list) == 2
			})
			for _, g := range list {
				if d := g.Time.Sub(begin).Abs(); d > 30*time.Second {
					t.Errorf("a segment is %v away", d)
				}
			}
			if !said(notices, "the clock of sensor b is ") {
				t.Errorf("it was said: %q", notices)
			}
		})
	}
}

// What a sensor has no room for is counted, and the hub is told.
func TestDropsReachTheHub(t *testing.T) {
	url := plainHub(t, 2)
	s := liveSensor(t, url, "a", SensorOptions{Room: 1, Drop: true})
	s.options.Room = 1
	begin := present()
	const n = 20_000
	for i := range n {
		must(t, s.Take(segmentAt(begin+tcp.Time(i), i)))
	}
	must(t, s.End(t.Context(), begin+n))
	if s.Dropped() == 0 {
		t.Fatal("nothing was dropped")
	}
	c := connected(t, url)
	g, err := c.Range(t.Context(), 0)
	must(t, err)
	src, err := c.Read(t.Context(), g)
	must(t, err)
	defer src.Close()
	got := int64(0)
	for _, err := range src.Segments() {
		must(t, err)
		got++
	}
	lost, by := src.Lost()
	if lost != s.Dropped() || got+lost != n || by == 0 {
		t.Errorf("%d came and %d were lost by %d, of %d; the sensor has dropped %d", got, lost, by, n, s.Dropped())
	}
}

// A sensor does not send to a hub that does not know its messages, and nobody reads
// what he does not know.
func TestVersions(t *testing.T) {
	c := connected(t, plainHub(t, 1))
	c.written = wire.Version - 1
	if _, err := c.Sensor(t.Context(), SensorOptions{Name: "a"}); err == nil || !strings.Contains(err.Error(), "the hub is older than this tcpwatch") {
		t.Errorf("a newer sensor: %v", err)
	}
	c.written = wire.Version + 1
	if _, err := c.Read(t.Context(), Range{}); err == nil || !strings.Contains(err.Error(), "the hub is newer than this tcpwatch") {
		t.Errorf("an older reader: %v", err)
	}
	if _, err := c.Follow(t.Context(), 0, nil); err == nil || !strings.Contains(err.Error(), "the hub is newer than this tcpwatch") {
		t.Errorf("an older reader that follows: %v", err)
	}
}

// A hub that is started again keeps what it has, with its partitions and its key; one
// that a later tcpwatch has written is left alone.
func TestHubStartedAgain(t *testing.T) {
	store := t.TempDir()
	serve := func(partitions int) *Server {
		h, err := Serve(t.Context(), ServeOptions{Store: store, Listen: "127.0.0.1:0", Keep: Keep{Partitions: partitions}})
		must(t, err)
		return h
	}
	h := serve(3)
	key := *h.Conn.PayloadKey()
	must(t, h.Close())
	h = serve(7)
	if h.Conn.partitions != 3 || *h.Conn.PayloadKey() != key || key == [32]byte{} {
		t.Errorf("it has %d partitions and the key %x, want 3 and %x", h.Conn.partitions, *h.Conn.PayloadKey(), key)
	}
	config := h.Conn.stream.CachedInfo().Config
	config.Metadata[metaVersion] = strconv.Itoa(wire.Version + 1)
	_, err := h.Conn.js.UpdateStream(t.Context(), config)
	must(t, err)
	must(t, h.Close())
	if _, err := Serve(t.Context(), ServeOptions{Store: store, Listen: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "later tcpwatch") {
		t.Errorf("an older hub: %v", err)
	}
}
