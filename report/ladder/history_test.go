package ladder

import (
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The states of both ends stand in the order of time; of the last it is told how
// sure it is now.
func TestHistory(t *testing.T) {
	r := sample.ClosedByClient()
	r.Ends[tcp.Client].Certainty, r.Ends[tcp.Server].Certainty = tcp.Assumed, tcp.Settled
	got, _ := History(&r).Lines(nil)
	const want = `
    Time  #  End     State        On               Basis
0.000000  1  client  SYN_SENT     send SYN         sent
0.010000  2  client  ESTABLISHED  recv SYN,ACK     proved
0.010000  2  server  SYN_RCVD     send SYN,ACK     sent
0.020000  3  server  ESTABLISHED  recv ACK of SYN  proved
0.500000  7  client  FIN_WAIT_1   send FIN         sent
0.600000  8  client  TIME_WAIT?   recv FIN,ACK     proved
0.600000  8  server  LAST_ACK     send FIN         corrected
0.610000     server  CLOSED       2MSL over        timer`
	if text := "\n" + strings.Join(got, "\n"); text != want {
		t.Errorf("the history is%s\nwant%s", text, want)
	}
}
