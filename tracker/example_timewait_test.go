package tracker_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// segments are those of a connection that its client closes first.
func segments() (list []*tcp.Segment) {
	client, server := netip.MustParseAddrPort("192.0.2.1:40000"), netip.MustParseAddrPort("192.0.2.2:80")
	for i, line := range []struct {
		src, dst netip.AddrPort
		text     string
	}{
		{client, server, "<SEQ=100><CTL=SYN>"},
		{server, client, "<SEQ=300><ACK=101><CTL=SYN,ACK>"},
		{client, server, "<SEQ=101><ACK=301><CTL=ACK>"},
		{client, server, "<SEQ=101><ACK=301><CTL=FIN,ACK>"},
		{server, client, "<SEQ=301><ACK=102><CTL=FIN,ACK>"},
		{client, server, "<SEQ=102><ACK=302><CTL=ACK>"},
	} {
		s, err := tcp.ParseSegment(line.text)
		if err != nil {
			panic(err)
		}
		s.Time, s.Packet, s.Src, s.Dst = tcp.Time(i+1)*tcp.Second, i+1, line.src, line.dst
		list = append(list, &s)
	}
	return list
}

// Which ends are in TIME_WAIT 20 seconds after the last segment, and for how
// long they will be?
func ExampleTracker_Each() {
	tk, err := tracker.New(tracker.Config{}, func(*tracker.Event) {})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range segments() {
		tk.Observe(s)
	}
	tk.Advance(tk.Now().Add(20 * time.Second))
	tk.Each(func(r *tracker.Record) {
		for e := range tcp.Endpoint(2) {
			if end := &r.Ends[e]; end.State == tcp.TimeWait {
				fmt.Println(end.Addr, r.Ends[e.Peer()].Addr, end.State, end.Certainty, end.Timer.Remaining)
			}
		}
	})
	// Output:
	// 192.0.2.1:40000 192.0.2.2:80 TIME_WAIT proved 39s
}
