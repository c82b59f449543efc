package history

import (
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// An input that is struck out takes with it what it led to; what another end did, and
// what went before, stays.
func TestStrike(t *testing.T) {
	client, server := tcp.Client, tcp.Server
	steps := Steps{
		New(1, 1, client, tcp.SndSYN.Set(), tcp.SynSent, tcp.BySending, true),
		New(2, 2, server, tcp.RcvSYN.Set(), tcp.SynReceived, tcp.ByAssumption, true),
		New(3, 3, client, tcp.RcvSYN.Set()|tcp.RcvAckOfSYN.Set(), tcp.Established, tcp.ByAssumption, true),
		New(4, 4, client, tcp.RcvFIN.Set(), tcp.CloseWait, tcp.ByAssumption, true),
	}
	left, to, struck := append(Steps(nil), steps...).Strike(client, tcp.Closed.Set(), tcp.RcvFIN.Set())
	if len(left) != 3 || left[1] != steps[1] || to != tcp.Established.Set() || struck != tcp.RcvFIN.Set() {
		t.Errorf("%d steps are left, to %v, and %v was struck", len(left), to, struck)
	}
	left, to, struck = append(Steps(nil), steps...).Strike(client, tcp.Closed.Set(), tcp.RcvRST.Set())
	if len(left) != 4 || to != tcp.CloseWait.Set() || struck != 0 {
		t.Errorf("%d steps are left, to %v, and %v was struck; nothing was to", len(left), to, struck)
	}
	left, to, _ = append(Steps(nil), steps...).Strike(client, tcp.Closed.Set(), tcp.RcvSYN.Set()|tcp.RcvAckOfSYN.Set())
	if to != tcp.SynSent.Set() || len(left) != 2 {
		t.Errorf("%d steps are left, to %v, want 2 to SYN-SENT", len(left), to)
	}
}

func TestStepsAreFound(t *testing.T) {
	steps := Steps{
		New(1, 1, tcp.Client, tcp.RcvFIN.Set(), tcp.CloseWait, tcp.ByAssumption, true),
		New(2, 2, tcp.Server, tcp.RcvFIN.Set(), tcp.CloseWait, tcp.ByAssumption, true),
		New(3, 3, tcp.Client, tcp.RcvFIN.Set(), tcp.CloseWait, tcp.ByAssumption, true),
	}
	if st, ok := steps.Find(tcp.Client, tcp.RcvFIN); !ok || st.Packet() != 3 {
		t.Errorf("found %d, %v, want the newest", st.Packet(), ok)
	}
	if _, ok := steps.Find(tcp.Server, tcp.RcvRST); ok {
		t.Error("found what did not happen")
	}
	if got := steps.Before(2, tcp.Server, tcp.RcvFIN.Set()); got != 0 {
		t.Errorf("%v happened before it did", got)
	}
	if got := steps.Before(2, tcp.Client, tcp.RcvFIN.Set()); got != tcp.RcvFIN.Set() {
		t.Errorf("%v happened before, want RCV FIN", got)
	}
	steps.Confirm(tcp.Server, tcp.RcvFIN.Set())
	if steps[1].Basis() != tcp.ByProof || steps[0].Basis() != tcp.ByAssumption || !steps.Passed(tcp.Server, tcp.CloseWait) || steps.Passed(tcp.Server, tcp.LastAck) {
		t.Error("the step of the server is to be proved, and no other")
	}
}
