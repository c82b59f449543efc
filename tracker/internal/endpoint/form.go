package endpoint

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// A Form is an end without its numbers: what the rules ask of an ordinary one but for
// times, sequence numbers, windows and counts.
type Form struct {
	States
	Bits   Bits
	Stack  tcp.StackID
	Copies uint8 // of its SYN or FIN: the first, or none
}

// formBits are the bits that are no numbers, and tell of none.
const formBits = HasISS | HasAcked | HasFIN | SentSYN | SentSYNACK | StillReads | Lossy | Answered | Signs | IgnoresSYN

// Form returns the end's form, if it has one: what was repeated is a matter of times.
func (e *End) Form() (f Form, ok bool) {
	if e.Gap != 0 || e.Copies > 1 || e.Has(HasFIN) && e.FIN.Add(1) != e.Nxt {
		return f, false
	}
	return e.form(), true
}

func (e *End) form() Form { return Form{e.States, e.Bits & formBits, e.StackID(), e.Copies} }

// IsStill reports whether the end, which had the form, has it still.
func (e *End) IsStill(f *Form) bool { return e.form() == *f }

// Become gives the end the form, but not its count of copies. Its numbers are noted.
func (e *End) Become(f *Form) {
	e.States.Follow(f.States)
	e.Bits = e.Bits&^formBits | f.Bits
}
