package html

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// An arrow of the diagram counts every end that took it, also on the way
// through another state.
func TestArrowCounts(t *testing.T) {
	counts := make(arrowCounts)
	for range 2 {
		counts.count([]tracker.Step{
			{State: tcp.SynSent, Inputs: tcp.SndSYN.Set()},
			{State: tcp.Established, Inputs: tcp.InputsOf(tcp.RcvSYN, tcp.RcvAckOfSYN), Basis: tcp.ByAssumption},
			{State: tcp.FinWait1, Inputs: tcp.SndFIN.Set()},
			{State: tcp.TimeWait, Inputs: tcp.InputsOf(tcp.RcvAckOfFIN, tcp.RcvFIN), Basis: tcp.ByProof},
			{State: tcp.Established}, // by no row
		})
	}
	var got []string
	for _, row := range counts.rows() {
		got = append(got, fmt.Sprintf("%s %s %s %d/%d", row.From, row.On, row.To, row.Taken, row.Assumed))
	}
	want := []string{
		"CLOSED send SYN SYN_SENT 2/0", "SYN_SENT recv SYN SYN_RCVD 2/2", "SYN_RCVD recv ACK of SYN ESTABLISHED 2/2",
		"ESTABLISHED send FIN FIN_WAIT_1 2/0", "FIN_WAIT_1 recv ACK of FIN FIN_WAIT_2 2/0", "FIN_WAIT_2 recv FIN TIME_WAIT 2/0",
	}
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for _, w := range want {
		if !strings.Contains(strings.Join(got, "\n"), w) {
			t.Errorf("got %q, want among them %q", got, w)
		}
	}
}
