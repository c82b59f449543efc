package tracker

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

	numStates
)

var stateNames = [numStates]string{
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
	for s := Closed; s < numStates; s++ {
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
	for s := range numStates {
		if strings.ReplaceAll(stateNames[s], "_", "") == fold {
			return s, nil
		}
	}
	return Unknown, fmt.Errorf("%q is no TCP state (%s)", name, strings.Join(stateNames[1:], ", "))
}

// A StateSet is a set of states: those that an end may be in.
// The zero StateSet is empty.
type StateSet uint16

// setOf returns the set of one state, which the compiler knows as a constant:
// a set of several, looped over, cost 4 % of a short connection.
func setOf(s State) StateSet { return 1 << s }

// Has reports whether s is in the set.
func (set StateSet) Has(s State) bool { return set&(1<<s) != 0 }

// Len returns the number of states in the set.
func (set StateSet) Len() int { return bits.OnesCount16(uint16(set)) }

// List returns the states of the set in their order.
func (set StateSet) List() []State {
	var list []State
	for s := range numStates {
		if set.Has(s) {
			list = append(list, s)
		}
	}
	return list
}

// only returns the set's one state, or Unknown where it has none or several.
func (set StateSet) only() State {
	if set.Len() != 1 {
		return Unknown
	}
	return State(bits.TrailingZeros16(uint16(set)))
}
