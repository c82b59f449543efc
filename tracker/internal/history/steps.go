package history

import (
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Steps are those of both ends of a connection, in their order.
type Steps []Step

// Find returns the newest step by which the input happened to the end.
func (s Steps) Find(e tcp.Endpoint, in tcp.Input) (Step, bool) {
	for _, st := range slices.Backward(s) {
		if st.End() == e && st.Inputs().Has(in) {
			return st, true
		}
	}
	return Step{}, false
}

// Before returns those of the inputs that happened to the end before a time.
func (s Steps) Before(t tcp.Time, e tcp.Endpoint, ins tcp.InputSet) (old tcp.InputSet) {
	for _, st := range s {
		if st.End() == e && st.At < t {
			old |= st.Inputs() & ins
		}
	}
	return old
}

// Newest returns when an end last changed its state, a new connection in its place left
// aside; 0: none did.
func (s Steps) Newest() tcp.Time {
	for _, st := range slices.Backward(s) {
		if !st.Reopens() {
			return st.At
		}
	}
	return 0
}

// Passed reports whether the end went through the state.
func (s Steps) Passed(e tcp.Endpoint, through tcp.State) bool {
	return slices.ContainsFunc(s, func(st Step) bool { return st.End() == e && st.State() == through })
}

// Confirm marks the steps by which the inputs happened to the end as proved.
func (s Steps) Confirm(e tcp.Endpoint, ins tcp.InputSet) {
	s.confirm(e, func(st Step) bool { return st.Inputs()&ins != 0 })
}

// ConfirmInto marks the steps that led the end to the state as proved.
func (s Steps) ConfirmInto(e tcp.Endpoint, to tcp.State) {
	s.confirm(e, func(st Step) bool { return st.State() == to })
}

func (s Steps) confirm(e tcp.Endpoint, is func(Step) bool) {
	for i, st := range s {
		if st.End() == e && st.Basis() == tcp.ByAssumption && is(st) {
			s[i] = st.With(st.Inputs(), st.State(), tcp.ByProof)
		}
	}
}

// Strike takes the inputs out of the steps of the end, which began in initial, and walks
// them again. It returns what is left of the steps, in their place, where they lead the
// end now, and which of the inputs were there; if none was, nothing is changed.
func (s Steps) Strike(e tcp.Endpoint, initial tcp.StateSet, ins tcp.InputSet) (left Steps, to tcp.StateSet, struck tcp.InputSet) {
	first := 0
	for i, st := range s {
		if st.End() == e && st.Inputs() == 0 {
			first = i + 1 // picked up midway: initial is what it was then
		}
	}
	left, to = s[:first], initial
	for _, st := range s[first:] {
		if st.End() != e {
			left = append(left, st)
			continue
		}
		stays, basis := st.Inputs()&^ins, st.Basis()
		struck |= st.Inputs() & ins
		after := to.After(stays)
		if after == to {
			continue
		}
		if after.Shown() != st.State() {
			basis = tcp.ByCorrection
		}
		left = append(left, st.With(stays, after.Shown(), basis))
		to = after
	}
	return left, to, struck
}
