package tracker_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A handshake, of which the server's half is not shown by what it sent yet. Who
// has a capture rather than segments calls package cmd/watch.
func Example() {
	client, server := netip.MustParseAddrPort("192.0.2.1:40000"), netip.MustParseAddrPort("192.0.2.2:80")
	tk, err := tracker.New(tracker.Config{}, func(e *tracker.Event) {
		if e.Kind == tracker.EventTransition {
			fmt.Printf("#%d %v %v: %v\n", e.Packet, e.End, e.To, e.Inputs)
		}
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, text := range []string{
		"<SEQ=100><CTL=SYN>",
		"<SEQ=300><ACK=101><CTL=SYN,ACK>",
		"<SEQ=101><ACK=301><CTL=ACK>",
	} {
		s, err := tcp.ParseSegment(text)
		if err != nil {
			fmt.Println(err)
			return
		}
		s.Time, s.Packet = tcp.Time(i+1).Add(time.Second), i+1
		if s.Src, s.Dst = client, server; i == 1 {
			s.Src, s.Dst = server, client
		}
		tk.Observe(&s)
	}
	tk.Each(func(r *tracker.Record) {
		end := &r.Ends[tcp.Server]
		fmt.Println("server:", end.State, end.Certainty, "proved", end.Proved)
	})
	// Output:
	// #1 client SYN_SENT: send SYN
	// #1 server SYN_RCVD: recv SYN
	// #2 client ESTABLISHED: recv SYN,ACK
	// #3 server ESTABLISHED: recv ACK of SYN
	// server: ESTABLISHED assumed proved SYN_RCVD
}
