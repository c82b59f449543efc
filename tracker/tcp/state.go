package tcp

import (
	"fmt"
	"math/bits"
	"strings"
)

// State is the state of one end of a connection (RFC 9293 §3.3.2).
type State uint8

// The eleven states, and Unknown, the zero State, for an end of which no
// packet tells.
const (
	Unknown State = iota
	Closed
	Listen
	SynSent
	SynReceived
	Established
	FinWait1
	FinWait2
	CloseWait
	Closing
	LastAck
	TimeWait

	NumStates
)

var stateNames = [NumStates]string{
	"UNKNOWN", "CLOSED", "LISTEN", "SYN_SENT", "SYN_RCVD", "ESTABLISHED",
	"FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT", "CLOSING", "LAST_ACK", "TIME_WAIT",
}

// String returns the state as BSD's netstat spells it: "FIN_WAIT_1".
func (s State) String() string { return stateNames[s] }

// RFC returns the state as RFC 9293 spells it: "FIN-WAIT-1", "SYN-RECEIVED".
func (s State) RFC() string {
	if s == SynReceived {
		return "SYN-RECEIVED"
	}
	return strings.ReplaceAll(stateNames[s], "_", "-")
}

// MarshalText returns the state as String does.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// States returns the eleven states in the order of RFC 9293 §3.3.2.
func States() []State {
	var all []State
	for s := Closed; s < NumStates; s++ {
		all = append(all, s)
	}
	return all
}

// ParseState understands every usual spelling of a state, in any case:
// FIN_WAIT_1, FIN-WAIT-1 and FIN_WAIT1, SYN_RECV and SYN_RCVD, ESTAB, LISTENING.
func ParseState(name string) (State, error) {
	fold := strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToUpper(name))
	switch fold {
	case "SYNRECV", "SYNRECEIVED":
		return SynReceived, nil
	case "ESTAB":
		return Established, nil
	case "LISTENING":
		return Listen, nil
	case "CLOSE", "UNCONN":
		return Closed, nil
	}
	for s := range NumStates {
		if strings.ReplaceAll(stateNames[s], "_", "") == fold {
			return s, nil
		}
	}
	return Unknown, fmt.Errorf("%q is not a TCP state (%s)", name, strings.Join(stateNames[1:], ", "))
}

// A StateSet is a set of states: those that an end may be in.
// The zero StateSet is empty.
type StateSet uint16

// Set returns the set of the state alone. The compiler knows it as a constant.
func (s State) Set() StateSet { return 1 << s }

// Has reports whether s is in the set.
func (set StateSet) Has(s State) bool { return set&(1<<s) != 0 }

// Len returns the number of states in the set.
func (set StateSet) Len() int { return bits.OnesCount16(uint16(set)) }

// List returns the states of the set in their order.
func (set StateSet) List() []State {
	var list []State
	for s := range NumStates {
		if set.Has(s) {
			list = append(list, s)
		}
	}
	return list
}

// Only returns the set's one state, or Unknown where it has none or several.
func (set StateSet) Only() State {
	if set.Len() != 1 {
		return Unknown
	}
	return State(bits.TrailingZeros16(uint16(set)))
}

// defaults are the states shown for sets of more than one: the likelier one.
// Such a state is never more than assumed, and the record lists the others.
// For all other sets it is Unknown.
var defaults = []struct {
	among StateSet
	shown State
}{
	{TimeWait.Set() | Closed.Set(), TimeWait},
	{Established.Set() | CloseWait.Set(), Established},
	{Established.Set() | FinWait1.Set() | FinWait2.Set(), Established},
	{Closing.Set() | TimeWait.Set(), TimeWait},
}

// Shown returns the one state by which the set is named in tables.
func (set StateSet) Shown() State {
	if one := set.Only(); one != Unknown {
		return one
	}
	for _, d := range defaults {
		if d.among == set {
			return d.shown
		}
	}
	return Unknown
}

// Within reports whether the set has states, all of them of the other.
func (set StateSet) Within(of StateSet) bool { return set != 0 && set&^of == 0 }

// AnyState are all eleven: nothing is known.
const AnyState = StateSet(1<<NumStates - 2)

// WithoutFIN returns where an end in these states would be if it had not received
// the FIN of its peer.
func (set StateSet) WithoutFIN() (was StateSet) {
	for _, s := range set.List() {
		switch s {
		case CloseWait:
			s = Established
		case LastAck, Closing:
			s = FinWait1
		case TimeWait:
			s = FinWait2
		}
		was |= s.Set()
	}
	return was
}
