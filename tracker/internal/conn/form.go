package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A form is a connection without its numbers: what the rules ask of it but for times,
// sequence numbers, windows and counts. Two connections of one form are moved alike by
// segments of one class (classOf). Only an ordinary one has a form.
type form struct {
	steady bool // open in every view, as in a long flow: then this, and the next, is all
	legs   bool // captures of two places have it
	bits   connBits
	past   pastInputs
	have   uint8
	ends   [2]endpoint.Form
	steps  [maxFormSteps]uint32 // of its history, without times and frames
}

// maxFormSteps is how long a history a form has. An ordinary connection makes ten steps.
const maxFormSteps = 12

const (
	formless    = isProvisional | OriginSYNACK | OriginMidstream | gone | amongStale | challenged | awaited | copied | holding | skewed | swapped
	formlessIns = tcp.InputSet(1<<tcp.RcvRST | 1<<tcp.RcvRSTPassive | 1<<tcp.NoTCB | 1<<tcp.SndRST | 1<<tcp.Timeout2MSL |
		1<<tcp.GiveUp | 1<<tcp.GiveUpPassive | 1<<tcp.Unreachable | 1<<tcp.Reopened)
)

// formOf returns the connection's form, if it has one.
func formOf(c *Conn) (f form, ok bool) {
	if c.Rare != nil || c.Bits&formless != 0 || c.have > maxFormSteps || c.Incarnation != 1 || c.Past&Past(formlessIns) != 0 {
		return form{steady: true, legs: c.hasLegs()}, c.steady()
	}
	f.bits, f.past, f.have = c.Bits&^ClientIsLow, c.Past, c.have
	for e := range c.Ends {
		if f.ends[e], ok = c.Ends[e].Form(); !ok {
			return f, false
		}
	}
	for i, st := range c.Steps() {
		f.steps[i] = st.Kind()
	}
	return f, true
}

// LikeFormOf makes what is known of the form of c what it is of o, and what c was last
// found to take, so that the two can be compared; for tests. The rules look at no form, and
// an edge does not weigh.
func (c *Conn) LikeFormOf(o *Conn) {
	if c.form = o.form; c.Rare != nil && o.Rare != nil {
		c.Rare.weighed = o.Rare.weighed
	}
}

// is reports whether the connection, which had the form, has it still: a timer, an ICMP
// error or another connection may have changed it. Its history changes nowhere without
// taking the form from it.
func (f *form) is(c *Conn) bool {
	if f.steady {
		return c.steady() && c.hasLegs() == f.legs
	}
	return c.Rare == nil && c.Bits&^ClientIsLow == f.bits && c.have == f.have && c.Ends[0].IsStill(&f.ends[0]) && c.Ends[1].IsStill(&f.ends[1])
}

// steady reports whether the connection is open in every view, and nothing else is going
// on in it. The rules ask no more of it then to take in the next segment of an end:
// it has no part in what moved it there.
func (c *Conn) steady() bool {
	const odd = isProvisional | amongStale | challenged | awaited | holding | gone
	return c.Ends[0].Steady() && c.Ends[1].Steady() && c.Bits&odd == 0 && (c.Rare == nil || c.Rare.whole())
}

// moving are the flags by which a segment may move an end.
const moving = tcp.SYN | tcp.FIN | tcp.RST | tcp.ACK | tcp.URG

// inTurn reports whether a segment with an ACK, and no SYN or RST, comes as expected:
// the next of its sender, with nothing odd about it.
func (m *Machine) inTurn(c *Conn, s *tcp.Segment, from tcp.Endpoint) bool {
	return c.Ends[from].InTurn(&c.Ends[from.Peer()], s, c.ScaleKnown()) && m.health.Plain(s)
}

// classOf returns the class of a segment that comes as expected; ok is false for every
// other: the rules must look at it. Segments without FIN in a steady
// connection have that of openClass.
//
// What is asked here and by package endpoint is asked by the rules too, by choose, Read,
// accept, triggersOf, weighFIN, take and the checks. What would make one of them act
// otherwise, and is no part of the class, or of the form, is refused.
func (m *Machine) classOf(c *Conn, s *tcp.Segment, from tcp.Endpoint) (class uint32, ok bool) {
	x, y := &c.Ends[from], &c.Ends[from.Peer()]
	switch s.Flags & moving {
	case tcp.SYN:
		class, ok = x.ClassOfSYN(y, s)
	case tcp.SYN | tcp.ACK:
		class, ok = x.ClassOfSYNACK(y, s)
	case tcp.ACK, tcp.FIN | tcp.ACK:
		if !m.inTurn(c, s, from) {
			return 0, false
		}
		class, ok = x.ClassOf(y, s, m.Now)
	}
	if from == tcp.Server {
		class |= endpoint.FromServer
	}
	return class, ok && m.health.Plain(s)
}

// whole reports whether none of the octets of either end is missing.
func (o *rareState) whole() bool {
	for e := range tcp.Endpoint(2) {
		if o.early[e].Waits || len(o.holes[e]) > 0 || o.Gaps[e].Is != 0 {
			return false
		}
	}
	return true
}
