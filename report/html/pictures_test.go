package html

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A move counts as it was made: an end that a SYN,ACK took to ESTABLISHED was never in
// SYN_RCVD.
func TestMoveCounts(t *testing.T) {
	counts := make(moveCounts)
	for range 2 {
		counts.count([]tracker.Step{
			{State: tcp.SynSent, Inputs: tcp.SndSYN.Set()},
			{State: tcp.Established, Inputs: tcp.InputsOf(tcp.RcvSYN, tcp.RcvAckOfSYN), Basis: tcp.ByAssumption},
			{State: tcp.FinWait1, Inputs: tcp.SndFIN.Set()},
			{State: tcp.TimeWait, Inputs: tcp.InputsOf(tcp.RcvAckOfFIN, tcp.RcvFIN), Basis: tcp.ByProof},
			{State: tcp.Established}, // by no row
		})
		counts.count([]tracker.Step{
			{State: tcp.SynReceived, Inputs: tcp.RcvSYN.Set()},
			{State: tcp.Established, Inputs: tcp.InputsOf(tcp.RcvSYN, tcp.RcvAckOfSYN)}, // of which the SYN does nothing
		})
	}
	var got []string
	for _, row := range counts.rows() {
		got = append(got, fmt.Sprintf("%s %s %s %d/%d", row.From, row.On, row.To, row.Made, row.Assumed))
	}
	want := []string{
		"CLOSED send SYN SYN_SENT 2/0", "LISTEN recv SYN SYN_RCVD 2/0", "SYN_RCVD recv ACK of SYN ESTABLISHED 2/0", "ESTABLISHED send FIN FIN_WAIT_1 2/0",
		"SYN_SENT recv SYN,ACK ESTABLISHED 2/2", "FIN_WAIT_1 recv FIN,ACK TIME_WAIT 2/0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	picture := machineSVG(counts)
	for text, n := range map[string]int{"recv SYN,ACK ×2<": 1, "recv FIN,ACK ×2<": 1, "recv SYN ×2<": 1, "recv ACK of FIN ×": 0, ">recv FIN<": 3} {
		if strings.Count(picture, text) != n {
			t.Errorf("the picture has %q %d times, want %d", text, strings.Count(picture, text), n)
		}
	}
}
