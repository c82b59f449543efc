package endpoint

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// States are the states of an end in the two views. More than one state is
// in a set only where the packets cannot decide. They are written here and
// nowhere else. Where an input takes them is told by the table (tcp.StateSet.After)
// alone; what else can happen is that it becomes known in which states the end
// has been all along (FoundIn), or in which it began (BeganIn).
type States struct {
	Assumed tcp.StateSet
	Proved  tcp.StateSet
	Initial tcp.StateSet // the assumed view before its first input
}

// Begin is in these states in both views, and nothing has happened yet.
func (v *States) Begin(in tcp.StateSet) { v.Initial, v.Assumed, v.Proved = in, in, in }

// Enter is where inputs lead in the assumed view: from where it was, or, when
// some were taken back, from its start.
func (v *States) Enter(to tcp.StateSet) { v.Assumed = to }

// Show goes on in the proved view to where the end's own segments show it.
func (v *States) Show(to tcp.StateSet) { v.Proved = to }

// FoundIn has been in these states in the assumed view from the start: what
// leads there are no inputs, but what becomes known of it.
func (v *States) FoundIn(in tcp.StateSet) { v.Initial, v.Assumed = in, in }

// BeganIn says that the assumed view began there; the inputs since are to be
// walked again.
func (v *States) BeganIn(in tcp.StateSet) { v.Initial = in }

// Follow goes where the rules led another end before it (learned).
func (v *States) Follow(to States) { *v = to }
