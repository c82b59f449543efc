package conn

import (
	"slices"
	"unsafe"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The history of a connection is also its memory: the assumed state of an end
// is where its steps lead from its start. To take back an input that later
// packets refute is to strike it out of the steps and walk them again.

// MaxSteps bounds the history that hostile traffic can make a connection keep.
const MaxSteps = 64

// A cause is what makes an end move: a segment or a timer.
type cause struct {
	at     tcp.Time
	packet int // 0: a timer
	basis  tcp.Basis
	sure   bool // see history.Step.Sure
}

// apply lets the inputs happen to an end in the assumed view and takes down
// the step, if there is one.
func (m *Machine) apply(c *Conn, e tcp.Endpoint, ins tcp.InputSet, why cause) {
	before := c.Ends[e].Assumed
	if after := before.After(ins); after != before {
		m.enter(c, e, ins, after, why)
	}
}

// enter is the one place that moves the assumed view on.
func (m *Machine) enter(c *Conn, e tcp.Endpoint, ins tcp.InputSet, after tcp.StateSet, why cause) {
	subject := &c.Ends[e]
	before := subject.Assumed
	subject.Enter(after)
	ins = before.Effective(ins)
	if why.basis == tcp.ByAssumption && c.Rare != nil && c.Rare.refuted[e]&ins != 0 {
		why.basis = tcp.ByCorrection
	}
	if ins&(tcp.SndSYN.Set()|tcp.SndSYNACK.Set()|tcp.SndFIN.Set()) != 0 {
		subject.SetClock(why.at, false)
	} else if to := after.Shown(); to == tcp.TimeWait || to == tcp.FinWait2 {
		subject.Clock = endpoint.TickOf(why.at)
	}
	if before.Shown() == after.Shown() {
		subject.BeganIn(after) // still undecided: nothing to tell yet
	} else if len(c.Steps()) < MaxSteps {
		m.keep(c, history.New(why.at, why.packet, e, ins, after.Shown(), why.basis, why.sure))
	}
	m.moved(c, e, before, after, ins, why)
}

// Steps returns the history. It is the connection's own, to be changed in place.
func (c *Conn) Steps() history.Steps { return unsafe.Slice(c.first, c.room)[:c.have] }

func (c *Conn) setSteps(list []history.Step) {
	c.form = 0
	c.first, c.have, c.room = unsafe.SliceData(list), uint8(len(list)), uint8(cap(list))
}

// keep appends a step.
func (m *Machine) keep(c *Conn, st history.Step) {
	steps := c.Steps()
	if len(steps) == cap(steps) {
		m.rare -= history.Beyond(cap(steps))
		steps = m.rooms.Grow(steps)
		m.rare += history.Beyond(cap(steps))
	}
	c.setSteps(append(steps, st))
	c.Past |= Past(st.Inputs())
}

// moved tells the caller of a move, and sets the connection's alarm.
func (m *Machine) moved(c *Conn, e tcp.Endpoint, before, after tcp.StateSet, ins tcp.InputSet, why cause) {
	m.tellMove(c, e, before, after, ins, false, why)
}

func (m *Machine) tellMove(c *Conn, e tcp.Endpoint, before, after tcp.StateSet, ins tcp.InputSet, refuted bool, why cause) {
	if from, to := before.Shown(), after.Shown(); from != to && !c.Provisional() {
		m.moving = Move{At: why.at, Packet: why.packet, End: e, From: from, To: to, Inputs: ins, Refuted: refuted, Basis: why.basis, Sure: why.sure}
		m.listener.Moved(c, &m.moving)
	}
	m.arm(c)
}

// pickUp narrows what an end may be in to the states of allowed, where more
// than one was possible. It is how a connection that was open before the
// capture comes to a state.
func (m *Machine) pickUp(c *Conn, e tcp.Endpoint, allowed tcp.StateSet, why cause) {
	subject := &c.Ends[e]
	if narrowed := subject.Proved & allowed; subject.Proved.Len() > 1 && narrowed != 0 {
		subject.Show(narrowed)
	}
	narrowed := subject.Assumed & allowed
	if subject.Assumed.Len() < 2 || narrowed == 0 || narrowed == subject.Assumed {
		return
	}
	before := subject.Assumed
	subject.FoundIn(narrowed)
	if narrowed.Shown() != tcp.Unknown && narrowed.Shown() != before.Shown() {
		m.keep(c, history.New(why.at, why.packet, e, 0, narrowed.Shown(), why.basis, false))
	}
	m.moved(c, e, before, narrowed, 0, why)
}

// pickUpSecond narrows, in the assumed view, what an end may be in that sends its
// FIN s and acknowledges that of its peer with it, which did not acknowledge this
// one: it closes second. That its FIN is a copy, and the two crossed before the
// capture began, is possible, but not likely.
func (m *Machine) pickUpSecond(c *Conn, s *tcp.Segment, from tcp.Endpoint, why cause) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	if !rcv.Has(endpoint.HasFIN) || s.Ack != rcv.FIN.Add(1) || rcv.Acked != s.End()-1 {
		return
	}
	proved := snd.Proved
	m.pickUp(c, from, tcp.CloseWait.Set(), why)
	snd.Show(proved)
}

// pastInputs has a bit for each input that may be among the steps.
type pastInputs uint16

var _ [16 - int(tcp.NumInputs)]struct{} // it has room for all, or this does not compile

// Past is the bits of the inputs.
func Past(ins tcp.InputSet) pastInputs { return pastInputs(ins) }

// Find returns the newest step by which the input happened to the end.
func (c *Conn) Find(e tcp.Endpoint, in tcp.Input) (history.Step, bool) {
	if c.Past&Past(in.Set()) == 0 {
		return history.Step{}, false
	}
	return c.Steps().Find(e, in)
}

// Happened reports whether the input is part of the end's history.
func (c *Conn) Happened(e tcp.Endpoint, in tcp.Input) bool {
	_, ok := c.Find(e, in)
	return ok
}

// refute takes the inputs back out of the end's history, as if they had never
// happened, and reports whether any was there.
func (m *Machine) refute(c *Conn, e tcp.Endpoint, ins tcp.InputSet, why cause) bool {
	struck := m.unlearn(c, e, ins, why)
	if struck != 0 {
		c.RareState().refuted[e] |= struck
	}
	return struck != 0
}

// unlearn is refute that leaves no trace of it, for what is too common to spend
// memory on. It returns the inputs that were there.
func (m *Machine) unlearn(c *Conn, e tcp.Endpoint, ins tcp.InputSet, why cause) tcp.InputSet {
	subject := &c.Ends[e]
	left, set, struck := c.Steps().Strike(e, subject.Initial, ins)
	if struck == 0 {
		return 0
	}
	c.setSteps(left)
	before := subject.Assumed
	subject.Enter(set)
	if struck&(tcp.GiveUp.Set()|tcp.GiveUpPassive.Set()|tcp.Timeout2MSL.Set()) != 0 {
		subject.BackOff(why.at) // it lives: its timer was set anew
	}
	if before != set {
		why.basis = tcp.ByCorrection
		m.tellMove(c, e, before, set, struck, true, why)
	}
	return struck
}

// erase forgets the end's history: it had no part in this connection.
func (m *Machine) erase(c *Conn, e tcp.Endpoint, to tcp.State, why cause) {
	subject := &c.Ends[e]
	before := subject.Assumed
	c.setSteps(slices.DeleteFunc(c.Steps(), func(st history.Step) bool { return st.End() == e }))
	subject.FoundIn(to.Set())
	why.basis = tcp.ByCorrection
	m.moved(c, e, before, subject.Assumed, tcp.NoTCB.Set(), why)
}

// Frames returns the frames of the steps by which the inputs happened to the
// end, without those that did not.
func (c *Conn) Frames(e tcp.Endpoint, ins ...tcp.Input) []int {
	var list []int
	for _, in := range ins {
		if st, ok := c.Find(e, in); ok && st.Packet() != 0 {
			list = append(list, st.Packet())
		}
	}
	return list
}
