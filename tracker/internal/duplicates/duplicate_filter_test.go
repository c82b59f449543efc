package duplicates

import (
	"net/netip"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// again reports whether the filter takes second for a copy of first, recorded so
// long after it.
func again(r *Filter, first, second tcp.Segment, after time.Duration) bool {
	seed, now, n := flow.NewSeed(), tcp.Second, 0
	for i, s := range []tcp.Segment{first, second} {
		now = now.Add(time.Duration(i) * after)
		s.Time, s.Packet = now, i+1
		k, low := flow.KeyOf(&s)
		if r.Repeats(&s, &k, seed.Hash(&k), low, now) != nil {
			n++
		}
	}
	return n == 1
}

// data is a packet that has every mark.
func data() tcp.Segment {
	s := tcp.Segment{
		Src: netip.MustParseAddrPort("192.0.2.1:49152"), Dst: netip.MustParseAddrPort("198.51.100.1:80"),
		Seq: 100, Ack: 300, Wnd: 502, Flags: tcp.ACK | tcp.PSH, Data: 10, TTL: 64, ID: 7, Checksum: 9, Payload: 11,
	}
	s.Options.HasTS, s.Options.TSVal, s.Options.TSEcr = true, 1000, 2000
	return s
}

func TestHowLateACopyMayBe(t *testing.T) {
	with := func(changes ...func(*tcp.Segment)) tcp.Segment {
		s := data()
		for _, change := range changes {
			change(&s)
		}
		return s
	}
	noID := func(s *tcp.Segment) { s.ID = 0 }
	noTS := func(s *tcp.Segment) { s.Options = tcp.Options{} }
	pure := func(s *tcp.Segment) { s.Flags, s.Data, s.Payload = tcp.ACK, 0, 0 }
	for _, c := range []struct {
		claim string
		s     tcp.Segment
		ttl   uint8
		after time.Duration
		copy  bool
	}{
		{"on-the-same-link", with(noTS), 64, 2 * time.Millisecond, true},
		{"too-late-on-the-same-link", with(noTS), 64, 30 * time.Millisecond, false},
		{"an-ack-with-its-id", with(noTS, pure), 64, 2 * time.Millisecond, true},
		{"behind-a-router", with(noTS), 63, 30 * time.Millisecond, true},
		{"too-late-behind-a-router", with(noTS), 63, 60 * time.Millisecond, false},
		{"in-front-of-two-routers", with(noTS), 66, 30 * time.Millisecond, true},
		{"behind-too-many", with(noTS), 61, 100 * time.Microsecond, false},
		{"without-any-mark", with(noID, noTS), 64, 500 * time.Microsecond, true},
		{"without-any-mark-later", with(noID, noTS), 64, 2 * time.Millisecond, false},
		{"duplicate-acks", with(noID, noTS, pure), 64, 100 * time.Microsecond, false},
		{"an-ack-behind-a-router", with(noID, noTS, pure), 63, 100 * time.Microsecond, true},
		{"by-its-timestamp", with(noID), 64, 2 * time.Millisecond, true},
		{"an-ack-by-its-timestamp", with(noID, pure), 64, 500 * time.Microsecond, true},
		{"acks-of-one-tick", with(noID, pure), 64, 2 * time.Millisecond, false},
	} {
		second := c.s
		second.TTL = c.ttl
		if got := again(new(Filter), c.s, second, c.after); got != c.copy {
			t.Errorf("%s: taken for a copy: %v", c.claim, got)
		}
	}
}

// Nothing that a packet and its copy share may differ, wherever in the memory of
// the filter the two come to lie.
func TestNoCopyIfAnythingDiffers(t *testing.T) {
	for what, change := range map[string]func(*tcp.Segment){
		"port":      func(s *tcp.Segment) { s.Src = netip.AddrPortFrom(s.Src.Addr(), 49153) },
		"address":   func(s *tcp.Segment) { s.Src = netip.MustParseAddrPort("192.0.2.2:49152") },
		"direction": func(s *tcp.Segment) { s.Src, s.Dst = s.Dst, s.Src },
		"SEQ":       func(s *tcp.Segment) { s.Seq++ },
		"ACK":       func(s *tcp.Segment) { s.Ack++ },
		"window":    func(s *tcp.Segment) { s.Wnd++ },
		"flags":     func(s *tcp.Segment) { s.Flags ^= tcp.FIN },
		"length":    func(s *tcp.Segment) { s.Data++ },
		"IP ID":     func(s *tcp.Segment) { s.ID++ },
		"checksum":  func(s *tcp.Segment) { s.Checksum++ },
		"payload":   func(s *tcp.Segment) { s.Payload++ },
		"TSval":     func(s *tcp.Segment) { s.Options.TSVal++ },
		"TSecr":     func(s *tcp.Segment) { s.Options.TSEcr++ },
		"SACK": func(s *tcp.Segment) {
			s.Options.NumSACK, s.Options.SACK[0] = 1, tcp.Block{Left: 400, Right: 500}
		},
	} {
		first, second := data(), data()
		change(&second)
		if again(&Filter{slots: make([]Slot, 1)}, first, second, time.Microsecond) {
			t.Errorf("another %s: taken for a copy", what)
		}
	}
	if !again(&Filter{slots: make([]Slot, 1)}, data(), data(), time.Microsecond) {
		t.Error("the same packet is not taken for a copy")
	}
}
