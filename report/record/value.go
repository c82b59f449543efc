package record

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// kind says of what sort a value is: how it is written and compared.
type kind uint8

const (
	absent    kind = iota // not known, or not applicable
	number                // num
	truth                 // num, 0 or 1
	seconds               // num, in nanoseconds
	instant               // num, a tcp.Time
	name                  // text: a word of ours, never one of a packet's
	state                 // num, a tcp.State
	address               // addr
	states                // num, a tcp.StateSet
	steps                 // steps, num of them
	anomalies             // odd, num of them
	phrase                // text: anything
	phrases               // words
	numbers               // ints
	places                // where
)

// A value is what a field of one record holds. The zero value is absent.
type value struct {
	kind  kind
	num   int64
	text  string
	addr  netip.Addr
	steps *[]tracker.Step
	odd   *[]anomaly.Anomaly
	ints  *[]int
	words *[]string
	where *[]tcp.Place
}

func count[N int | uint16 | uint32 | uint64](n N) value {
	return value{kind: number, num: int64(n)}
}

func word(s string) value {
	if s == "" {
		return value{}
	}
	return value{kind: name, text: s}
}

func sentence(s string) value { return value{kind: phrase, text: s} }

func flag(b bool) value {
	if b {
		return value{kind: truth, num: 1}
	}
	return value{kind: truth}
}

func span(d time.Duration) value { return value{kind: seconds, num: int64(d)} }

func moment(t tcp.Time) value { return value{kind: instant, num: int64(t)} }

func stateValue(s tcp.State) value { return value{kind: state, num: int64(s)} }

// unless returns v, or nothing if it is known to mean nothing.
func (v value) unless(unknown bool) value {
	if unknown {
		return value{}
	}
	return v
}

// appendText appends v as CSV has it: a list is its items with a blank between
// them, of steps the states and of anomalies the kinds.
func (v *value) appendText(b []byte) []byte {
	switch v.kind {
	case number:
		return strconv.AppendInt(b, v.num, 10)
	case truth:
		return strconv.AppendBool(b, v.num != 0)
	case seconds:
		return text.AppendSeconds(b, time.Duration(v.num))
	case instant:
		return text.AppendTime(b, tcp.Time(v.num))
	case name:
		return append(b, v.text...)
	case phrase:
		return append(b, text.Escape(v.text)...)
	case state:
		return append(b, tcp.State(v.num).String()...)
	case address:
		return v.addr.AppendTo(b)
	case states:
		for i, s := range tcp.StateSet(v.num).List() {
			b = append(appendBlank(b, i), s.String()...)
		}
	case steps:
		for i := range *v.steps {
			b = append(appendBlank(b, i), (*v.steps)[i].State.String()...)
		}
	case anomalies:
		for i := range *v.odd {
			b = append(appendBlank(b, i), (*v.odd)[i].Kind...)
		}
	}
	return b
}

// human writes v for people. Instants are in that style; first is that of the
// capture's first packet.
func (v value) human(style text.TimeStyle, first tcp.Time) string {
	switch v.kind {
	case absent:
		return "-"
	case seconds:
		return text.Human(time.Duration(v.num))
	case instant:
		return style.Format(tcp.Time(v.num), first)
	}
	var buf [32]byte
	return string(v.appendText(buf[:0]))
}

// appendBlank appends what stands before item i of a list.
func appendBlank(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ' ')
	}
	return b
}

// appendJSON appends v as the value of a JSON key. An absent value has none.
func (v *value) appendJSON(b []byte) []byte {
	switch v.kind {
	case instant, name, state, address: // text without anything to escape
		b = append(b, '"')
		return append(v.appendText(b), '"')
	case phrase:
		return text.AppendString(b, v.text)
	case phrases:
		b = append(b, '[')
		for _, s := range *v.words {
			b = text.AppendString(text.AppendComma(b), s)
		}
		return append(b, ']')
	case numbers:
		return appendInts(b, *v.ints)
	case places:
		b = append(b, '[')
		for i := range *v.where {
			b = append(appendParts(append(text.AppendComma(b), '{'), placeFields, &(*v.where)[i]), '}')
		}
		return append(b, ']')
	case states:
		b = append(b, '[')
		for _, s := range tcp.StateSet(v.num).List() {
			b = text.AppendString(text.AppendComma(b), s.String())
		}
		return append(b, ']')
	case steps:
		b = append(b, '[')
		for i := range *v.steps {
			b = appendStep(text.AppendComma(b), &(*v.steps)[i])
		}
		return append(b, ']')
	case anomalies:
		b = append(b, '[')
		for i := range *v.odd {
			b = append(text.AppendComma(b), '{')
			b = append(appendAnomaly(b, &(*v.odd)[i]), '}')
		}
		return append(b, ']')
	}
	return v.appendText(b)
}

// compare orders two values of one field: numbers and times by size, states in
// the order of RFC 9293, addresses as netip does, lists by their length, and
// names by their letters.
func (v value) compare(w value) int {
	switch v.kind {
	case name, phrase:
		return strings.Compare(v.text, w.text)
	case address:
		return v.addr.Compare(w.addr)
	case states:
		return cmp.Compare(tcp.StateSet(v.num).Len(), tcp.StateSet(w.num).Len())
	}
	return cmp.Compare(v.num, w.num)
}

// appendKey appends octets that are ordered as compare orders values.
func (v value) appendKey(b []byte) []byte {
	switch v.kind {
	case name, phrase:
		for i := range len(v.text) {
			if b = append(b, v.text[i]); v.text[i] == 0 {
				b = append(b, 1)
			}
		}
		return append(b, 0, 0) // it ends before all that goes on
	case address:
		as16 := v.addr.As16()
		b = append(append(b, byte(v.addr.BitLen())), as16[:]...)
		return append(append(b, v.addr.Zone()...), 0)
	case states:
		return append(b, byte(tcp.StateSet(v.num).Len()))
	}
	return appendNumber(b, v.num)
}

// appendNumber appends octets that are ordered as numbers are.
func appendNumber(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(n)^1<<63)
}
