package record

import (
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Of most records the JSON differs in numbers, times and addresses alone. What stands
// between these is made once for all records of a shape: to go through the list of fields
// each time took most of the time that a record took.

// A shape is what decides which fields a record has, and which words are in them.
type shape struct {
	ends     [2]endShape
	origin   tcp.Origin
	closedBy tcp.ClosedBy
	resetBy  tcp.ResetBy
	hasRTT   bool
}

type endShape struct {
	timer                              string
	possible                           tcp.StateSet
	state, proved                      tcp.State
	certainty                          tcp.Certainty
	stack                              tcp.StackID
	stackCertainty                     tcp.StackCertainty
	hasSince, hasISN, hasMSS, hasScale bool
	sack, timestamps, onHost           bool
}

// shapeOf returns the shape of a record. One with names, or with sockets, has none: these
// are words that differ in each.
func shapeOf(r *tracker.Record) (s shape, ok bool) {
	s.origin, s.closedBy, s.resetBy, s.hasRTT = r.Origin, r.ClosedBy, r.ResetBy, r.HandshakeRTT != 0
	for i := range r.Ends {
		e := &r.Ends[i]
		if e.Name != "" || e.Socket != nil {
			return s, false
		}
		s.ends[i] = endShape{
			timer: e.Timer.Kind, possible: e.Possible, state: e.State, proved: e.Proved, certainty: e.Certainty,
			stack: e.Stack, stackCertainty: e.StackCertainty,
			hasSince: e.Since != 0, hasISN: e.HasISN, hasMSS: e.MSS != 0, hasScale: e.WindowScale >= 0,
			sack: e.SACK, timestamps: e.Timestamps, onHost: e.OnHost,
		}
	}
	return s, true
}

// A skeleton is the JSON of the records of a shape.
type skeleton []piece

// A piece is text, and the value that follows it; nil: none does.
type piece struct {
	text  string
	value func(*tracker.Record) value
}

// skeletons are those that were made.
type skeletons map[shape]skeleton

// maxSkeletons bounds them. The rules make few hundred.
const maxSkeletons = 1 << 12

// appendConnection appends the record of a connection.
func (k *skeletons) appendConnection(b []byte, r *tracker.Record) []byte {
	s, ok := shapeOf(r)
	if !ok {
		return skeletonOf(r).append(b, r)
	}
	of := (*k)[s]
	if of == nil {
		if of = skeletonOf(r); *k == nil || len(*k) >= maxSkeletons {
			*k = make(skeletons)
		}
		(*k)[s] = of
	}
	return of.append(b, r)
}

func (k skeleton) append(b []byte, r *tracker.Record) []byte {
	for i := range k {
		b = append(b, k[i].text...)
		if k[i].value != nil {
			v := k[i].value(r)
			b = v.appendJSON(b)
		}
	}
	return b
}

// skeletonOf makes the skeleton of the record's shape.
func skeletonOf(r *tracker.Record) (k skeleton) {
	b := []byte{'{'}
	var open []string // the objects that the last field stood in
	said := 0         // of b, in pieces
	for i := range fields {
		f := &fields[i]
		if f.derived {
			continue
		}
		v := f.value(r)
		if v.kind == absent {
			continue
		}
		b = appendNesting(b, open, f.parents)
		open = f.parents
		b = appendKey(b, f.leaf)
		switch {
		case v.kind == name && !f.each, v.kind == truth, v.kind == state, v.kind == states:
			b = v.appendJSON(b)
		default:
			k = append(k, piece{string(b[said:]), f.value})
			b = append(b, '0') // so that a comma follows
			said = len(b)
		}
	}
	b = appendNesting(b, open, nil)
	return append(k, piece{text: string(append(b[said:], '}'))})
}
