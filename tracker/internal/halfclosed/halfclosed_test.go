package halfclosed

import (
	"net/netip"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

var server = netip.MustParseAddrPort("198.51.100.1:80")

func TestCounts(t *testing.T) {
	tab := New()
	moved := func(id ID, from, to tcp.State, in tcp.Input, refuted bool, at tcp.Time) {
		tab.Moved(id, server, from, to, in.Set(), refuted, at*tcp.Second)
	}
	now := 100 * tcp.Second
	for _, step := range []struct {
		what string
		do   func()
		want Count // as end 1 sees it, which waits all the time
	}{
		{"one waits", func() { moved(1, tcp.Established, tcp.CloseWait, tcp.RcvFIN, false, 10) }, Count{1, 1, 0, 90 * time.Second}},
		{"another does", func() { moved(2, tcp.Established, tcp.CloseWait, tcp.RcvFIN, false, 20) }, Count{2, 2, 0, 90 * time.Second}},
		{"it closes", func() { moved(2, tcp.CloseWait, tcp.LastAck, tcp.SndFIN, false, 0) }, Count{2, 1, 0, 90 * time.Second}},
		{"its FIN is taken back", func() { moved(2, tcp.LastAck, tcp.CloseWait, tcp.SndFIN, true, 5) }, Count{2, 2, 0, 95 * time.Second}},
		{"it leaks", func() { tab.Leaks(2); tab.Leaks(2) }, Count{2, 2, 1, 95 * time.Second}},
		{"it aborts", func() { moved(2, tcp.CloseWait, tcp.Closed, tcp.SndRST, false, 0) }, Count{2, 1, 0, 90 * time.Second}},
		{"a third is reset by its peer", func() {
			moved(3, tcp.Established, tcp.CloseWait, tcp.RcvFIN, false, 30)
			moved(3, tcp.CloseWait, tcp.Closed, tcp.RcvRST, false, 0)
		}, Count{2, 1, 0, 90 * time.Second}},
		{"that RST is taken back", func() { moved(3, tcp.Closed, tcp.CloseWait, tcp.RcvRST, true, 30) }, Count{3, 2, 0, 90 * time.Second}},
		{"so is the FIN of its peer", func() { moved(3, tcp.CloseWait, tcp.Established, tcp.RcvFIN, true, 0) }, Count{2, 1, 0, 90 * time.Second}},
		{"one is first seen in LAST-ACK", func() { moved(4, tcp.Unknown, tcp.LastAck, tcp.NumInputs, false, 0) }, Count{3, 1, 0, 90 * time.Second}},
		{"the oldest is not kept any more", func() {
			moved(5, tcp.Established, tcp.CloseWait, tcp.RcvFIN, false, 4)
			tab.Leaks(5)
			tab.Gone(5, 99*tcp.Second)
		}, Count{4, 2, 1, 95 * time.Second}},
		{"nor one that does not wait", func() { tab.Gone(4, now) }, Count{4, 2, 1, 95 * time.Second}},
	} {
		step.do()
		if got := tab.Of(1, now); got != step.want {
			t.Errorf("%s: count is %+v, want %+v", step.what, got, step.want)
		}
	}
	if got := tab.Of(4, now); got != (Count{}) {
		t.Errorf("of one that does not wait the count is %+v, want none", got)
	}
}

// Services are forgotten once there are many, but not those in which an end waits.
func TestServicesAreForgotten(t *testing.T) {
	tab := New()
	at := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 80)
	}
	for i := range 4 * maxServices {
		tab.Moved(ID(i), at(i), tcp.Established, tcp.CloseWait, tcp.RcvFIN.Set(), false, 1)
		if i%1000 != 0 {
			tab.Moved(ID(i), at(i), tcp.CloseWait, tcp.LastAck, tcp.SndFIN.Set(), false, 1)
		}
	}
	if got := len(tab.services); got > maxServices {
		t.Errorf("%d services are kept, want %d at most", got, maxServices)
	}
	for i := 0; i < 4*maxServices; i += 1000 {
		if got := tab.Of(ID(i), 2); got.Waiting != 1 {
			t.Errorf("service %d has %d ends that wait, want 1", i, got.Waiting)
		}
	}
}
