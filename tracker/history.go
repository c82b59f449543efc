package tracker

import (
	"slices"
	"unsafe"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The history of a connection is also its memory: the assumed state of an end
// is where its steps lead from its start. To take back an input that later
// packets refute is to strike it out of the steps and walk them again.

// A step is a Step packed into 16 bytes: a connection keeps about ten.
type step struct {
	at   tcp.Time
	bits uint64 // packet number, inputs, state, basis, end, maybe, from the low bits
}

const (
	stepPacketBits = 34 // 17 billion packets: beyond, the steps of a capture cite the wrong frames
	stepInputBits  = 21
	stepInputsAt   = stepPacketBits
	stepStateAt    = stepInputsAt + stepInputBits
	stepBasisAt    = stepStateAt + 4
	stepEndAt      = stepBasisAt + 3
	stepMaybeAt    = stepEndAt + 1
)

// A step has room for all inputs, states and bases, or this does not compile.
var (
	_ [stepInputBits - int(tcp.NumInputs)]struct{}
	_ [1<<(stepBasisAt-stepStateAt) - int(tcp.NumStates)]struct{}
	_ [1<<(stepEndAt-stepBasisAt) - int(tcp.ByTimer) - 1]struct{}
	_ [63 - stepMaybeAt]struct{}
)

func newStep(at tcp.Time, packet int, e tcp.Endpoint, ins tcp.InputSet, to tcp.State, b tcp.Basis, maybe bool) step {
	bits := uint64(packet)&(1<<stepPacketBits-1) | uint64(ins)<<stepInputsAt | uint64(to)<<stepStateAt |
		uint64(b)<<stepBasisAt | uint64(e)<<stepEndAt
	if maybe {
		bits |= 1 << stepMaybeAt
	}
	return step{at, bits}
}

func (st step) packet() int { return int(st.bits & (1<<stepPacketBits - 1)) }
func (st step) inputs() tcp.InputSet {
	return tcp.InputSet(st.bits >> stepInputsAt & (1<<stepInputBits - 1))
}
func (st step) state() tcp.State  { return tcp.State(st.bits >> stepStateAt & 15) }
func (st step) basis() tcp.Basis  { return tcp.Basis(st.bits >> stepBasisAt & 7) }
func (st step) end() tcp.Endpoint { return tcp.Endpoint(st.bits >> stepEndAt & 1) }

// maybe reports whether the inputs may or may not have happened, so that the
// state before remains possible.
func (st step) maybe() bool { return st.bits>>stepMaybeAt&1 == 1 }

// reopens reports whether it is the step by which a new connection ended
// TIME-WAIT.
func (st step) reopens() bool { return st.inputs().Has(tcp.Reopened) }

func (st step) set(ins tcp.InputSet, to tcp.State, b tcp.Basis) step {
	return newStep(st.at, st.packet(), st.end(), ins, to, b, st.maybe())
}

// maxSteps bounds the history that hostile traffic can make a connection keep.
const maxSteps = 64

// A cause is what makes an end move: a segment or a timer.
type cause struct {
	at     tcp.Time
	packet int // 0: a timer
	basis  tcp.Basis
}

// apply lets the inputs happen to an end in the assumed view and takes down
// the step, if there is one.
func (t *Machine) apply(c *Conn, e tcp.Endpoint, ins tcp.InputSet, why cause) {
	before := c.ends[e].assumed
	if after := before.After(ins); after != before {
		t.enter(c, e, ins, after, why, false)
	}
}

// applyMaybe is apply for inputs of which no packet tells whether they
// happened.
func (t *Machine) applyMaybe(c *Conn, e tcp.Endpoint, ins tcp.InputSet, why cause) {
	before := c.ends[e].assumed
	if after := before | before.After(ins); after != before {
		t.enter(c, e, ins, after, why, true)
	}
}

// enter is the one place that moves the assumed view on.
func (t *Machine) enter(c *Conn, e tcp.Endpoint, ins tcp.InputSet, after tcp.StateSet, why cause, maybe bool) {
	x := &c.ends[e]
	before := x.assumed
	x.enter(after)
	ins = before.Effective(ins)
	if why.basis == tcp.ByAssumption && c.odd != nil && c.odd.refuted[e]&ins != 0 {
		why.basis = tcp.ByCorrection
	}
	if ins&(tcp.SndSYN.Set()|tcp.SndSYNACK.Set()|tcp.SndFIN.Set()) != 0 {
		x.setClock(why.at, false)
	} else if to := after.Shown(); to == tcp.TimeWait || to == tcp.FinWait2 {
		x.clock = tickOf(why.at)
	}
	if before.Shown() == after.Shown() {
		x.beganIn(after) // still undecided: nothing to tell yet
	} else if len(c.steps()) < maxSteps {
		c.keep(newStep(why.at, why.packet, e, ins, after.Shown(), why.basis, maybe))
	}
	t.moved(c, e, before, after, ins, why)
}

// steps returns the history. It is the connection's own, to be changed in place.
func (c *Conn) steps() []step { return unsafe.Slice(c.first, c.room)[:c.have] }

func (c *Conn) setSteps(list []step) {
	c.first, c.have, c.room = unsafe.SliceData(list), uint8(len(list)), uint8(cap(list))
}

// keep appends a step, growing to what a lone SYN needs, then to what an open
// connection does, and then to what one that is closed does.
func (c *Conn) keep(st step) {
	steps := c.steps()
	if len(steps) == cap(steps) {
		most := 10
		switch n := len(steps); {
		case n < 2:
			most = 2
		case n < 4:
			most = 4
		case n >= 10:
			most = n + 6
		}
		grown := make([]step, len(steps), most)
		copy(grown, steps)
		steps = grown
	}
	c.setSteps(append(steps, st))
	c.past |= past(st.inputs())
}

// moved tells the caller of a move, and sets the connection's alarm.
func (t *Machine) moved(c *Conn, e tcp.Endpoint, before, after tcp.StateSet, ins tcp.InputSet, why cause) {
	t.tellMove(c, e, before, after, ins, false, why)
}

func (t *Machine) tellMove(c *Conn, e tcp.Endpoint, before, after tcp.StateSet, ins tcp.InputSet, refuted bool, why cause) {
	if from, to := before.Shown(), after.Shown(); from != to && !c.provisional() {
		t.moving = Move{At: why.at, Packet: why.packet, End: e, From: from, To: to, Inputs: ins, Refuted: refuted, Basis: why.basis}
		t.listener.Moved(c, &t.moving)
	}
	t.arm(c)
}

// pickUp narrows what an end may be in to the states of allowed, where more
// than one was possible. It is how a connection that was open before the
// capture comes to a state.
func (t *Machine) pickUp(c *Conn, e tcp.Endpoint, allowed tcp.StateSet, why cause) {
	x := &c.ends[e]
	if narrowed := x.proved & allowed; x.proved.Len() > 1 && narrowed != 0 {
		x.show(narrowed)
	}
	narrowed := x.assumed & allowed
	if x.assumed.Len() < 2 || narrowed == 0 || narrowed == x.assumed {
		return
	}
	before := x.assumed
	x.foundIn(narrowed)
	if narrowed.Shown() != tcp.Unknown && narrowed.Shown() != before.Shown() {
		c.keep(newStep(why.at, why.packet, e, 0, narrowed.Shown(), why.basis, false))
	}
	t.moved(c, e, before, narrowed, 0, why)
}

// pastInputs has a bit for each input that may be among the steps.
type pastInputs uint16

var _ [16 - int(tcp.NumInputs)]struct{} // it has room for all, or this does not compile

func past(ins tcp.InputSet) pastInputs { return pastInputs(ins) }

// find returns the newest step by which the input happened to the end.
func (c *Conn) find(e tcp.Endpoint, in tcp.Input) (step, bool) {
	if c.past&past(in.Set()) == 0 {
		return step{}, false
	}
	for _, st := range slices.Backward(c.steps()) {
		if st.end() == e && st.inputs().Has(in) {
			return st, true
		}
	}
	return step{}, false
}

// happened reports whether the input is part of the end's history.
func (c *Conn) happened(e tcp.Endpoint, in tcp.Input) bool {
	_, ok := c.find(e, in)
	return ok
}

// refute takes the inputs back out of the end's history, as if they had never
// happened, and reports whether any was there.
func (t *Machine) refute(c *Conn, e tcp.Endpoint, ins tcp.InputSet, why cause) bool {
	x := &c.ends[e]
	set, first, struck := x.initial, 0, tcp.InputSet(0)
	for i, st := range c.steps() {
		if st.end() == e && st.inputs() == 0 {
			first = i + 1 // picked up midway: start is what it was then
		}
	}
	kept := c.steps()[:first]
	for _, st := range c.steps()[first:] {
		if st.end() != e {
			kept = append(kept, st)
			continue
		}
		left, basis := st.inputs()&^ins, st.basis()
		struck |= st.inputs() & ins
		after := set.After(left)
		if st.maybe() {
			after |= set
		}
		if after == set {
			continue
		}
		if after.Shown() != st.state() {
			basis = tcp.ByCorrection
		}
		kept = append(kept, st.set(left, after.Shown(), basis))
		set = after
	}
	if struck == 0 {
		return false
	}
	c.setSteps(kept)
	c.oddments().refuted[e] |= struck
	before := x.assumed
	x.enter(set)
	if struck&(tcp.GiveUp.Set()|tcp.GiveUpPassive.Set()|tcp.Timeout2MSL.Set()) != 0 {
		x.backOff(why.at) // it lives: its timer was set anew
	}
	if before != set {
		why.basis = tcp.ByCorrection
		t.tellMove(c, e, before, set, struck, true, why)
	}
	return true
}

// confirm marks the steps by which the inputs happened as proved.
func (c *Conn) confirm(e tcp.Endpoint, ins tcp.InputSet) {
	steps := c.steps()
	for i, st := range steps {
		if st.end() == e && st.inputs()&ins != 0 && st.basis() == tcp.ByAssumption {
			steps[i] = st.set(st.inputs(), st.state(), tcp.ByProof)
		}
	}
}

// erase forgets the end's history: it had no part in this connection.
func (t *Machine) erase(c *Conn, e tcp.Endpoint, to tcp.State, why cause) {
	x := &c.ends[e]
	before := x.assumed
	c.setSteps(slices.DeleteFunc(c.steps(), func(st step) bool { return st.end() == e }))
	x.foundIn(to.Set())
	why.basis = tcp.ByCorrection
	t.moved(c, e, before, x.assumed, tcp.NoTCB.Set(), why)
}

// frames returns the frames of the steps by which the inputs happened to the
// end, without those that did not.
func (c *Conn) frames(e tcp.Endpoint, ins ...tcp.Input) []int {
	var list []int
	for _, in := range ins {
		if st, ok := c.find(e, in); ok && st.packet() != 0 {
			list = append(list, st.packet())
		}
	}
	return list
}
