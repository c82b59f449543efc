package conn

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// endStates are the states of an end in the two views. More than one state is
// in a set only where the packets cannot decide. They are written here and
// nowhere else. Where an input takes them is told by the table (tcp.StateSet.After)
// alone; what else can happen is that it becomes known in which states the end
// has been all along (foundIn), or in which it began (beganIn).
type endStates struct {
	Assumed tcp.StateSet
	Proved  tcp.StateSet
	Initial tcp.StateSet // the assumed view before its first input
}

// begin is in these states in both views, and nothing has happened yet.
func (v *endStates) begin(in tcp.StateSet) { v.Initial, v.Assumed, v.Proved = in, in, in }

// enter is where inputs lead in the assumed view: from where it was, or, when
// some were taken back, from its start.
func (v *endStates) enter(to tcp.StateSet) { v.Assumed = to }

// show goes on in the proved view to where the end's own segments show it.
func (v *endStates) show(to tcp.StateSet) { v.Proved = to }

// foundIn has been in these states in the assumed view from the start: what
// leads there are no inputs, but what becomes known of it.
func (v *endStates) foundIn(in tcp.StateSet) { v.Initial, v.Assumed = in, in }

// beganIn says that the assumed view began there; the inputs since are to be
// walked again.
func (v *endStates) beganIn(in tcp.StateSet) { v.Initial = in }
