package ladder

import (
	"fmt"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What stands under a segment of a ladder: what it moved, and why.

// reasons tell why an end moved, by what the tracker says happened: when the
// cause is the segment itself, when a later segment shows it, and, after "shows
// that", when a segment shows that it did not happen.
var reasons = map[tcp.InputSet]struct{ plain, shown, refuted string }{
	tcp.SndSYN.Set():                          {"it opens with %s", "", ""},
	tcp.SndSYNACK.Set():                       {"it answers the SYN with %s", "", ""},
	tcp.SndFIN.Set():                          {"it closes with %s", "", "it had not sent that FIN yet"},
	tcp.SndRST.Set():                          {"it aborts with %s", "", "it did not send that RST"},
	tcp.RcvSYN.Set():                          {"the SYN arrives with %s", "%s shows that the SYN reached it", "no SYN had reached it"},
	tcp.RcvAckOfSYN.Set():                     {"its SYN is acknowledged by %s", "%s shows that its SYN was acknowledged", "the ACK of its SYN had not reached it"},
	tcp.InputsOf(tcp.RcvSYN, tcp.RcvAckOfSYN): {"its SYN is answered by %s", "%s shows that its SYN was answered", "the answer to its SYN had not reached it"},
	tcp.RcvFIN.Set():                          {"the other end's FIN arrives with %s", "%s shows that the other end's FIN reached it", "the other end's FIN had not reached it"},
	tcp.RcvAckOfFIN.Set():                     {"its FIN is acknowledged by %s", "%s shows that its FIN was acknowledged", "the ACK of its FIN had not reached it"},
	tcp.InputsOf(tcp.RcvAckOfFIN, tcp.RcvFIN): {"its FIN is acknowledged by %s, and the other end's FIN arrives with it", "%s shows that its FIN was acknowledged, and that the other end's FIN reached it", "the FIN and the ACK had not reached it"},
	tcp.RcvRST.Set():                          {"it is reset by %s", "%s shows that it was reset", "it was not reset"},
	tcp.RcvRSTPassive.Set():                   {"it is reset by %s, and listens again", "%s shows that it was reset, and listens again", "it was not reset"},
	tcp.NoTCB.Set():                           {"it has no such connection, as %s shows", "%s shows that it has no such connection", "it still had the connection"},
	tcp.Reopened.Set():                        {"it opens a new connection with %s", "%s shows that it has opened a new connection", ""},
	tcp.Unreachable.Set():                     {"the other end is unreachable, as %s reports", "", "it had not given up"},
	0:                                         {"it is first captured midstream, in %s", "%s shows it midstream", ""},
	tcp.Timeout2MSL.Set():                     {"2 MSL have passed", "", "2 MSL had not passed"},
	tcp.GiveUp.Set():                          {"it got no answer and gave up", "", "it had not given up"},
	tcp.GiveUpPassive.Set():                   {"it got no answer, gave up and listens again", "", "it had not given up"},
}

// reason says why an end moved.
func reason(e *tracker.Event) string {
	frame := fmt.Sprintf("#%d", e.Packet)
	if e.To == tcp.Unknown {
		return "it never sent a segment, so its state is unknown"
	}
	ways := e.Inputs.Parts()
	if e.Refuted && e.Inputs.Has(tcp.SndFIN) {
		ways = []tcp.InputSet{tcp.SndFIN.Set()} // the rest followed from it
	}
	if e.Inputs == 0 {
		ways = []tcp.InputSet{0}
	}
	after := e.Basis == tcp.ByCorrection && e.Inputs != 0 && e.Inputs.First().Received()
	var parts []string
	for _, way := range ways {
		r := reasons[way]
		switch {
		case e.Refuted:
			parts = append(parts, r.refuted)
		case (e.Basis == tcp.ByProof || e.Basis == tcp.ByCorrection && !after) && r.shown != "":
			parts = append(parts, fmt.Sprintf(r.shown, frame))
		case after:
			parts = append(parts, strings.NewReplacer(" with %s", "", " by %s", "").Replace(r.plain))
		default:
			parts = append(parts, strings.ReplaceAll(r.plain, "%s", frame))
		}
	}
	text := strings.Join(parts, ", ")
	switch {
	case e.Refuted && e.Packet == 0:
		return "it did not answer, as if " + text
	case e.Refuted:
		return frame + " shows that " + text
	case after:
		return text + " after all"
	}
	return text
}

// note tells of a move: client FIN_WAIT_2?: its FIN is acknowledged by #9. As
// in tables a "?" marks what holds if what was seen arrived.
func note(e *tracker.Event) string {
	mark := ""
	if e.Basis == tcp.ByAssumption || e.Refuted && e.Packet == 0 {
		mark = text.AssumedMark
	}
	return fmt.Sprintf("%v %v%s: %s", e.End, e.To, mark, reason(e))
}

// A drawnNote is what stands under a segment: of one connection, or of none.
type drawnNote struct {
	conn int
	text string
}

// notes tells of the moves of a rung; with conn only of those of that connection,
// else of all.
func (r *rung) notes(conn int) (list []drawnNote) {
	for i := range r.events {
		e := &r.events[i]
		if e.Kind == tracker.EventTransition && (conn == 0 || e.Conn == conn) {
			list = append(list, drawnNote{e.Conn, note(e)})
		}
	}
	if r.waits && len(list) == 0 {
		list = append(list, drawnNote{text: "this SYN opens no connection yet: it may be old or forged, and an open connection refuses it (RFC 5961 §4)"})
	}
	if r.skipped != tcp.NotSkipped {
		list = append(list, drawnNote{text: remark(r.skipped)})
	}
	return list
}

// remark says why a segment was not taken in, and by which rule.
func remark(s tcp.Skip) string {
	switch {
	case s.Refused():
		return fmt.Sprintf("refused: %v (%s)", s, s.RFC())
	case s.RFC() != "":
		return fmt.Sprintf("%v (%s)", s, s.RFC())
	}
	return s.String() + ": ignored"
}

// odd returns the anomalies of a rung; with conn only those of that connection.
func (r *rung) odd(conn int) (list []*tracker.Event) {
	for i := range r.events {
		if e := &r.events[i]; e.Kind == tracker.EventAnomaly && (conn == 0 || e.Conn == conn) {
			list = append(list, e)
		}
	}
	return list
}

// heading tells of a connection in one line, as known at the end of the
// capture.
func heading(r *tracker.Record) string {
	client, server := &r.Ends[tcp.Client], &r.Ends[tcp.Server]
	parts := []string{
		fmt.Sprintf("conn %d", r.Conn),
		fmt.Sprintf("%v %s", client.Addr, text.State(client)),
		fmt.Sprintf("%v %s", server.Addr, text.State(server)),
	}
	if r.ClosedBy != tcp.NotClosed {
		parts = append(parts, ending(r.ClosedBy))
	} else {
		parts = append(parts, "open")
	}
	if r.Origin != tcp.FromSYN {
		parts = append(parts, "seen from its "+strings.NewReplacer("syn-ack", "SYN,ACK on", "midstream", "middle on").Replace(r.Origin.String()))
	}
	segments := text.Plural(client.Packets+server.Packets, "segment", "segments")
	return strings.Join(append(parts, segments+" in "+text.Human(r.End.Sub(r.Start))), text.Gap)
}

// ending says how a connection ended.
func ending(c tcp.ClosedBy) string {
	switch c {
	case tcp.ByClientReset:
		return "reset by client"
	case tcp.ByServerReset:
		return "reset by server"
	case tcp.ByTimeoutOfEnd:
		return "timed out"
	case tcp.ByMiddlebox:
		return "reset by a middlebox"
	case tcp.ByRefusal, tcp.ByUnreachable, tcp.BySuperseded:
		return c.String()
	}
	return "closed by " + c.String()
}
