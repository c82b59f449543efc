package tcp_test

import (
	"fmt"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A segment in the notation of RFC 9293 §3.5.
func ExampleParseSegment() {
	s, err := tcp.ParseSegment("<SEQ=100><ACK=300><CTL=FIN,ACK><DATA=5>")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Seq, s.End(), s.Flags.Any(tcp.FIN))
	// Output: 100 106 true
}

// A FIN that acknowledges ours takes FIN-WAIT-1 through FIN-WAIT-2.
func ExampleStateSet_After() {
	set := tcp.FinWait1.Set().After(tcp.InputsOf(tcp.RcvAckOfFIN, tcp.RcvFIN))
	fmt.Println(set.List())
	// Output: [TIME_WAIT]
}

// What ends TIME-WAIT, and where that is written.
func ExampleTransitions() {
	for _, row := range tcp.Transitions() {
		if row.From == tcp.TimeWait {
			fmt.Printf("%v: %v (RFC 9293 §%s)\n", row.On, row.To, row.RFC)
		}
	}
	// Output:
	// 2MSL over: CLOSED (RFC 9293 §3.10.8)
	// send RST: CLOSED (RFC 9293 §3.10.5)
	// recv RST: CLOSED (RFC 9293 §3.10.7.4)
	// has no connection: CLOSED (RFC 9293 §3.10.7.1)
	// connection reopened: CLOSED (RFC 9293 §3.6.1)
}
