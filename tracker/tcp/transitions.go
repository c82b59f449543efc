package tcp

import (
	"fmt"
	"math/bits"
	"strings"
)

// An Input is something that happens to an end and may move it to another
// state. The user's calls of RFC 9293 §3.10.1 to 3.10.5 show only as what they
// send; exceptions are inputs of their own, so that nothing has to override
// the table after the look-up.
//
// One segment may be several inputs. They are applied in the order of these
// constants, which is the order in which RFC 9293 §3.10.7.4 checks a segment:
// RST, SYN, ACK, FIN. So a SYN,ACK takes SYN-SENT through SYN-RECEIVED to
// ESTABLISHED, and a FIN that acknowledges ours takes FIN-WAIT-1 through
// FIN-WAIT-2 to TIME-WAIT, without rows of their own.
type Input uint8

const (
	RcvRST        Input = iota // an acceptable RST arrived
	RcvRSTPassive              // the same, at an end that came from LISTEN
	NoTCB                      // the end showed that it has no connection here: a RST in reply, or a new life
	Reopened                   // a SYN that it sent, or that reached it, opens a new connection in the place of this
	RcvSYN
	RcvAckOfSYN
	RcvAckOfFIN
	RcvFIN
	SndRST
	SndSYN
	SndSYNACK
	SndFIN
	Timeout2MSL   // TIME-WAIT is over
	GiveUp        // a retransmission or user timeout, or that of an orphaned FIN-WAIT-2
	GiveUpPassive // the same, at an end that came from LISTEN
	Unreachable   // an ICMP error ended the attempt

	NumInputs
)

var inputNames = [NumInputs]string{
	"recv RST", "recv RST (passive open)", "has no connection", "connection reopened", "recv SYN", "recv ACK of SYN",
	"recv ACK of FIN", "recv FIN", "send RST", "send SYN", "send SYN,ACK", "send FIN",
	"2MSL over", "gave up", "gave up (passive open)", "ICMP unreachable",
}

func (in Input) String() string { return inputNames[in] }

// An InputSet is a set of inputs: those that one segment or timer is. The zero
// InputSet is empty.
type InputSet uint32

// Set returns the set of the input alone, a constant to the compiler.
func (in Input) Set() InputSet { return 1 << in }

// Has reports whether the input is in the set.
func (set InputSet) Has(in Input) bool { return set&(1<<in) != 0 }

// InputsOf returns the set of the inputs.
func InputsOf(list ...Input) (set InputSet) {
	for _, in := range list {
		set |= 1 << in
	}
	return set
}

// together are inputs that one segment often is, with the name of that segment.
var together = []struct {
	set  InputSet
	name string
}{
	{RcvSYN.Set() | RcvAckOfSYN.Set(), "recv SYN,ACK"},
	{RcvAckOfFIN.Set() | RcvFIN.Set(), "recv FIN,ACK"},
}

// Parts divides the set into what people name by itself: the inputs, or a
// SYN,ACK or FIN,ACK if the set is one. They are in the order of the inputs.
func (set InputSet) Parts() []InputSet {
	for _, t := range together {
		if t.set == set {
			return []InputSet{set}
		}
	}
	var list []InputSet
	for rest := set; rest != 0; rest &= rest - 1 {
		list = append(list, rest&-rest)
	}
	return list
}

// First returns the first input of the set, which must not be empty.
func (set InputSet) First() Input { return Input(bits.TrailingZeros32(uint32(set))) }

// Received reports whether the input is a segment that arrived.
func (in Input) Received() bool { return in <= RcvRSTPassive || RcvSYN <= in && in <= RcvFIN }

// String names the set as people would: "recv SYN,ACK". The name of the empty
// set is "seen": nothing happened, but the state that the end is in was seen.
func (set InputSet) String() string {
	if set == 0 {
		return "seen"
	}
	if set&(set-1) == 0 {
		return inputNames[set.First()]
	}
	for _, t := range together {
		if t.set == set {
			return t.name
		}
	}
	var names []string
	for _, part := range set.Parts() {
		names = append(names, inputNames[part.First()])
	}
	return strings.Join(names, ", ")
}

// A Transition is one row of the table: in state From, On takes the end to To.
type Transition struct {
	From State
	On   Input
	To   State
	RFC  string // where it is written; a bare section is RFC 9293's
}

// transitions is the whole machine. Everything that speaks of states (the
// tracker, the table and diagram of its README) reads it. An input that has no row
// for a state leaves the state as it is.
var transitions = []Transition{
	// Opening.
	{Closed, SndSYN, SynSent, "3.10.1"},
	{Listen, SndSYN, SynSent, "3.10.1"},
	{Closed, SndSYNACK, SynReceived, "3.10.7.2"}, // it listens again, unseen
	{Listen, RcvSYN, SynReceived, "3.10.7.2"},
	{SynSent, RcvSYN, SynReceived, "3.10.7.3"},
	{SynReceived, RcvAckOfSYN, Established, "3.10.7.4"},

	// Closing.
	{SynReceived, SndFIN, FinWait1, "3.10.4"},
	{Established, SndFIN, FinWait1, "3.10.4"},
	{CloseWait, SndFIN, LastAck, "3.10.4"},
	{Established, RcvFIN, CloseWait, "3.10.7.4"}, // from SYN-RECEIVED the FIN's own ACK leads here first
	{FinWait1, RcvFIN, Closing, "3.10.7.4"},
	{FinWait2, RcvFIN, TimeWait, "3.10.7.4"},
	{FinWait1, RcvAckOfFIN, FinWait2, "3.10.7.4"},
	{Closing, RcvAckOfFIN, TimeWait, "3.10.7.4"},
	{LastAck, RcvAckOfFIN, Closed, "3.10.7.4"},
	{TimeWait, Timeout2MSL, Closed, "3.10.8"},

	// Aborting. RFC 9293 §3.5.2 would have the side that resets enter
	// TIME-WAIT; its own §3.10.5, and every stack read, go to CLOSED.
	{SynSent, SndRST, Closed, "3.10.5"},
	{SynReceived, SndRST, Closed, "3.10.5"},
	{Established, SndRST, Closed, "3.10.5"},
	{FinWait1, SndRST, Closed, "3.10.5"},
	{FinWait2, SndRST, Closed, "3.10.5"},
	{CloseWait, SndRST, Closed, "3.10.5"},
	{Closing, SndRST, Closed, "3.10.5"},
	{LastAck, SndRST, Closed, "3.10.5"},
	{TimeWait, SndRST, Closed, "3.10.5"},

	// Being reset.
	{SynSent, RcvRST, Closed, "3.10.7.3"},
	{SynReceived, RcvRST, Closed, "3.10.7.4"},
	{SynReceived, RcvRSTPassive, Listen, "3.10.7.4"},
	{Established, RcvRST, Closed, "3.10.7.4"},
	{FinWait1, RcvRST, Closed, "3.10.7.4"},
	{FinWait2, RcvRST, Closed, "3.10.7.4"},
	{CloseWait, RcvRST, Closed, "3.10.7.4"},
	{Closing, RcvRST, Closed, "3.10.7.4"},
	{LastAck, RcvRST, Closed, "3.10.7.4"},
	{TimeWait, RcvRST, Closed, "3.10.7.4"},

	// Found gone: a stack without the connection answers with RST
	// (§3.10.7.1), and one that opens anew has left the old one.
	{SynSent, NoTCB, Closed, "3.10.7.1"},
	{SynReceived, NoTCB, Closed, "3.10.7.1"},
	{Established, NoTCB, Closed, "3.5.1"},
	{FinWait1, NoTCB, Closed, "3.10.7.1"},
	{FinWait2, NoTCB, Closed, "3.10.7.1"},
	{CloseWait, NoTCB, Closed, "3.5.1"},
	{Closing, NoTCB, Closed, "3.10.7.1"},
	{LastAck, NoTCB, Closed, "3.10.7.1"},
	{TimeWait, NoTCB, Closed, "3.10.7.1"},

	// Left for a new connection, with no state between.
	{TimeWait, Reopened, Closed, "3.6.1"},

	// Giving up.
	{SynSent, GiveUp, Closed, "3.8.3"},
	{SynSent, Unreachable, Closed, "3.9.2.2"},
	{SynReceived, GiveUp, Closed, "3.8.3"},
	{Established, GiveUp, Closed, "3.8.3"},
	{CloseWait, GiveUp, Closed, "3.8.3"},
	{SynReceived, GiveUpPassive, Listen, "3.8.3"},
	{FinWait1, GiveUp, Closed, "3.8.3"},
	{FinWait2, GiveUp, Closed, "3.6"}, // no RFC has this timer; most stacks do, for orphans
	{Closing, GiveUp, Closed, "3.8.3"},
	{LastAck, GiveUp, Closed, "3.8.3"},
}

// Transitions returns the rows of the table that the tracker runs.
func Transitions() []Transition { return append([]Transition(nil), transitions...) }

// next is the table compiled: next[state][input].
var next = compile(transitions)

func compile(rows []Transition) (table [NumStates][NumInputs]State) {
	for s := range NumStates {
		for in := range NumInputs {
			table[s][in] = s
		}
	}
	for _, row := range rows {
		if table[row.From][row.On] != row.From {
			panic(fmt.Sprintf("tcp: two rows for %v on %v", row.From, row.On))
		}
		table[row.From][row.On] = row.To
	}
	return table
}

// acts[state] are the inputs that have a row for the state.
var acts = func() (set [NumStates]InputSet) {
	for _, row := range transitions {
		set[row.From] |= 1 << row.On
	}
	return set
}()

// After returns where the inputs take each state of the set: the machine
// itself. It is the only reader of the table.
func (set StateSet) After(ins InputSet) StateSet {
	if set&(set-1) == 0 { // one state, as nearly always
		s := State(bits.TrailingZeros16(uint16(set)))
		for ins&acts[s] != 0 {
			in := Input(bits.TrailingZeros32(uint32(ins & acts[s])))
			s = next[s][in]
			ins &^= 1<<(in+1) - 1 // those before it had no effect
		}
		return 1 << s
	}
	for in := range NumInputs {
		if !ins.Has(in) {
			continue
		}
		var moved StateSet
		for s := Unknown; s < NumStates; s++ {
			if set.Has(s) {
				moved |= 1 << next[s][in]
			}
		}
		set = moved
	}
	return set
}

// Effective returns those of the inputs that move the set, applied in order.
func (set StateSet) Effective(ins InputSet) InputSet {
	var moving InputSet
	if set&(set-1) == 0 { // as in After
		s := State(bits.TrailingZeros16(uint16(set)))
		for ins&acts[s] != 0 {
			in := Input(bits.TrailingZeros32(uint32(ins & acts[s])))
			s = next[s][in]
			moving |= 1 << in
			ins &^= 1<<(in+1) - 1
		}
		return moving
	}
	for in := range NumInputs {
		if !ins.Has(in) {
			continue
		}
		if moved := set.After(1 << in); moved != set {
			set, moving = moved, moving|1<<in
		}
	}
	return moving
}
