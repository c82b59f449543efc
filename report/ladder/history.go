package ladder

import (
	"slices"
	"strconv"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// History lays out the states that both ends went through, in the order of time:
//
//	    Time  #  End     State        On            Basis
//	0.000000  1  client  SYN_SENT     send SYN      sent
//	0.010200  2  client  ESTABLISHED  recv SYN,ACK  proved
//
// Times count from the connection's first packet, as those of a ladder.
func History(r *tracker.Record) *text.Grid {
	type step struct {
		*tracker.Step
		end   tcp.Endpoint
		state string
	}
	var steps []step
	for e := range tcp.Endpoint(2) {
		x := &r.Ends[e]
		for i := range x.History {
			s := &x.History[i]
			assumed := s.Basis == tcp.ByAssumption
			if i == len(x.History)-1 && s.State == x.State {
				assumed = x.Certainty == tcp.Assumed // by now more may be known
			}
			state := s.State.String()
			if assumed {
				state += text.AssumedMark
			}
			steps = append(steps, step{s, e, state})
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int { return int(a.Time.Sub(b.Time)) })
	g := &text.Grid{Columns: []text.Column{
		{Title: "Time", Right: true}, {Title: "#", Right: true}, {Title: "End"}, {Title: "State", Color: text.StateColor}, {Title: "On"}, {Title: "Basis", Drop: 1},
	}}
	for _, s := range steps {
		frame := ""
		if s.Packet > 0 {
			frame = strconv.Itoa(s.Packet)
		}
		g.Rows = append(g.Rows, []string{
			strconv.FormatFloat(s.Time.Sub(r.Start).Seconds(), 'f', 6, 64), frame, s.end.String(), s.state, s.Inputs.String(), s.Basis.String()})
	}
	return g
}
