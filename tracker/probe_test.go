package tracker_test

import (
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The next octet, sent into a closed window again and again, is no
// retransmission. It is one where the window is open (RFC 9293 §3.8.6.1).
func TestWindowProbesAreNoRetransmissions(t *testing.T) {
	for _, row := range []struct {
		window string
		want   uint64
	}{{"0", 0}, {"100", 2}} {
		records := recordsOf(t, ` 1. --> <SEQ=98><CTL=SYN> -->
 2. <-- <SEQ=298><ACK=99><CTL=SYN,ACK> <--
 3. --> <SEQ=99><ACK=299><CTL=ACK><DATA=100> -->
 4. <-- <SEQ=299><ACK=199><CTL=ACK><WND=`+row.window+`> <--
 5. +1 --> <SEQ=199><ACK=299><CTL=ACK><DATA=1> -->
 6. +1 --> <SEQ=199><ACK=299><CTL=ACK><DATA=1> -->
 7. +2 --> <SEQ=199><ACK=299><CTL=ACK><DATA=1> -->
`)
		if got := records[0].Ends[tcp.Client].Retransmits; got != row.want {
			t.Errorf("with a window of %s there are %d retransmissions, want %d", row.window, got, row.want)
		}
	}
}
