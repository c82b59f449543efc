// Package holes keeps what the capture lacks of the octets of an end: those that were
// passed over, and those that were acknowledged before they were captured.
package holes

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// A Hole is a stretch [From, To) of an end's octets that was passed over: not
// captured, or not yet.
type Hole struct {
	From, To tcp.Seq
	Ack      tcp.Seq // what the end had acknowledged before; with HasAck
	HasAck   bool
}

// Most bounds the memory of octets that the capture missed or that came late. The
// oldest is forgotten first.
const Most = 32

// A List is the holes of an end, in the order in which they were passed over.
type List []Hole

// Add adds a hole.
func (l *List) Add(h Hole) {
	*l = append(*l, h)
	l.bound()
}

func (l *List) bound() { *l = (*l)[max(0, len(*l)-Most):] }

// Fill takes [from, to) out of the holes.
func (l *List) Fill(from, to tcp.Seq) {
	var left List
	for _, h := range *l {
		if to.AtMost(h.From) || h.To.AtMost(from) {
			left = append(left, h)
			continue
		}
		if h.From.Before(from) {
			left = append(left, Hole{h.From, from, h.Ack, h.HasAck})
		}
		if to.Before(h.To) {
			left = append(left, Hole{to, h.To, h.Ack, h.HasAck})
		}
	}
	*l = left
	l.bound()
}

// Has reports whether the number lies in a hole.
func (l List) Has(seq tcp.Seq) bool {
	for _, h := range l {
		if seq.In(h.From, h.To) {
			return true
		}
	}
	return false
}

// CutOff forgets the hole that ends at the number, if that is the newest, and returns
// where it begins; the number where there is none.
func (l *List) CutOff(to tcp.Seq) tcp.Seq {
	last := len(*l) - 1
	if last < 0 || (*l)[last].To != to {
		return to
	}
	from := (*l)[last].From
	*l = (*l)[:last]
	return from
}
