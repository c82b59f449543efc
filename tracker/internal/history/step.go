// Package history keeps the steps of an end in little room.
package history

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// A Step is one of the history of an end, packed into 16 bytes: a connection
// keeps about ten.
type Step struct {
	At   tcp.Time
	bits uint64 // packet number, inputs, state, basis, end, sure, from the low bits
}

const (
	stepPacketBits = 34 // 17 billion packets: beyond, the steps of a capture cite the wrong frames
	stepInputBits  = 21
	stepInputsAt   = stepPacketBits
	stepStateAt    = stepInputsAt + stepInputBits
	stepBasisAt    = stepStateAt + 4
	stepEndAt      = stepBasisAt + 3
	stepSureAt     = stepEndAt + 1
)

// A step has room for all inputs, states and bases, or this does not compile.
var (
	_ [stepInputBits - int(tcp.NumInputs)]struct{}
	_ [1<<(stepBasisAt-stepStateAt) - int(tcp.NumStates)]struct{}
	_ [1<<(stepEndAt-stepBasisAt) - int(tcp.NumBases)]struct{}
	_ [63 - stepSureAt]struct{}
	_ [32 - (stepSureAt + 1 - stepPacketBits)]struct{} // see Kind
)

// New returns the step that the inputs made, or that had none, to the state.
func New(at tcp.Time, packet int, e tcp.Endpoint, ins tcp.InputSet, to tcp.State, b tcp.Basis, sure bool) Step {
	bits := uint64(packet)&(1<<stepPacketBits-1) | uint64(ins)<<stepInputsAt | uint64(to)<<stepStateAt |
		uint64(b)<<stepBasisAt | uint64(e)<<stepEndAt
	if sure {
		bits |= 1 << stepSureAt
	}
	return Step{at, bits}
}

// Packet, Inputs, State, Basis and End are as in tracker.Step.
func (st Step) Packet() int { return int(st.bits & (1<<stepPacketBits - 1)) }
func (st Step) Inputs() tcp.InputSet {
	return tcp.InputSet(st.bits >> stepInputsAt & (1<<stepInputBits - 1))
}
func (st Step) State() tcp.State  { return tcp.State(st.bits >> stepStateAt & 15) }
func (st Step) Basis() tcp.Basis  { return tcp.Basis(st.bits >> stepBasisAt & 7) }
func (st Step) End() tcp.Endpoint { return tcp.Endpoint(st.bits >> stepEndAt & 1) }

// Sure reports, of a step by a timer, whether that is known to be the end's own;
// of one by an ACK that is assumed to have arrived, whether it counted if it did.
func (st Step) Sure() bool { return st.bits>>stepSureAt&1 == 1 }

// Reopens reports whether it is the step by which a new connection ended
// TIME-WAIT.
func (st Step) Reopens() bool { return st.Inputs().Has(tcp.Reopened) }

// With returns the step with other inputs, state and basis.
func (st Step) With(ins tcp.InputSet, to tcp.State, b tcp.Basis) Step {
	return New(st.At, st.Packet(), st.End(), ins, to, b, st.Sure())
}

// Kind is all of the step but its time and its packet.
func (st Step) Kind() uint32 { return uint32(st.bits >> stepPacketBits) }

// Of returns the step of that kind.
func Of(kind uint32, at tcp.Time, packet int) Step {
	return Step{at, uint64(packet)&(1<<stepPacketBits-1) | uint64(kind)<<stepPacketBits}
}
