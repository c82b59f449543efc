package report

import (
	"bufio"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// JSON is appended by hand to a buffer that is reused, which allocates nothing
// and writes some 200 MB a second. Keys follow the order of the list in
// fields.go and are never renamed.

// jsonObject prints the format json: one object, with a line for each record
// in it.
type jsonObject struct {
	out       *bufio.Writer
	by        order
	rows      []jsonRow
	anomalies []jsonAnomaly
	events    *eventLines
	written   [][]byte // the events, as events gives them
	buf       []byte
}

// A jsonRow is a connection, encoded.
type jsonRow struct {
	key
	text []byte
}

// A jsonAnomaly is an anomaly, encoded.
type jsonAnomaly struct {
	time tcp.Time
	conn int
	text []byte
}

func newJSON(out *bufio.Writer, o *Options, by order) format {
	p := &jsonObject{out: out, by: by}
	if o.Events {
		p.events = newEventLines(o, func(line []byte) error {
			p.written = append(p.written, slices.Clone(line))
			return nil
		})
	}
	return p
}

func (p *jsonObject) connection(r *tracker.Record) error {
	p.buf = appendConnection(p.buf[:0], r)
	p.rows = append(p.rows, jsonRow{p.by.key(r), slices.Clone(p.buf)})
	for i := range r.Anomalies {
		p.many(&r.Anomalies[i])
	}
	return p.events.decide(r.Conn, true)
}

func (p *jsonObject) skip(conn int) error { return p.events.decide(conn, false) }

func (p *jsonObject) many(a *anomaly.Anomaly) error {
	p.buf = appendAnomalyLine(p.buf[:0], a)
	p.anomalies = append(p.anomalies, jsonAnomaly{a.Time, a.Conn, slices.Clone(p.buf)})
	return nil
}

func (p *jsonObject) moved(e *tracker.Event) error {
	p.buf = appendTransition(p.buf[:0], e)
	return p.events.add(e.Conn, p.buf)
}

// odd keeps the anomaly. One that is taken back goes with what it takes back: this
// is read when all is over.
func (p *jsonObject) odd(a *anomaly.Anomaly) error {
	if a.Withdrawn {
		return nil
	}
	p.buf = appendAnomalyLine(p.buf[:0], a)
	return p.events.add(a.Conn, p.buf)
}

func (p *jsonObject) close(s *Summary, t *tally) error {
	p.events.finish()
	slices.SortFunc(p.rows, func(a, b jsonRow) int { return p.by.compare(a.key, b.key) })
	slices.SortStableFunc(p.anomalies, func(a, b jsonAnomaly) int {
		return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.conn, b.conn))
	})
	p.out.WriteString(`{"connections":[`)
	for i, r := range p.rows {
		p.item(i, r.text)
	}
	p.out.WriteString("],\n\"anomalies\":[")
	for i, a := range p.anomalies {
		p.item(i, a.text)
	}
	if p.events != nil {
		p.out.WriteString("],\n\"events\":[")
		for i, text := range p.written {
			p.item(i, text)
		}
	}
	p.out.WriteString("],\n\"summary\":")
	p.out.Write(appendSummary(p.buf[:0], s, t))
	_, err := p.out.WriteString("}\n")
	return err
}

// item writes item i of an array, on a line of its own.
func (p *jsonObject) item(i int, text []byte) {
	if i > 0 {
		p.out.WriteByte(',')
	}
	p.out.WriteByte('\n')
	p.out.Write(text)
}

// appendConnection appends the record of a connection.
func appendConnection(b []byte, r *tracker.Record) []byte {
	b = append(b, '{')
	var open []string // the objects that the last field stood in
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
		b = v.appendJSON(appendKey(b, f.leaf))
	}
	b = appendNesting(b, open, nil)
	return append(b, '}')
}

// appendNesting closes the objects of from that are not in to, and opens those
// of to that are not in from.
func appendNesting(b []byte, from, to []string) []byte {
	same := 0
	for same < len(from) && same < len(to) && from[same] == to[same] {
		same++
	}
	for range from[same:] {
		b = append(b, '}')
	}
	for _, group := range to[same:] {
		b = append(appendKey(b, group), '{')
	}
	return b
}

// appendStep appends one entry of an end's history.
func appendStep(b []byte, s *tracker.Step) []byte {
	return append(appendParts(append(b, '{'), stepFields, s), '}')
}

// appendTransition appends an EventTransition.
func appendTransition(b []byte, e *tracker.Event) []byte {
	b = append(b, `{"type":"transition"`...)
	b = appendWhen(b, e.Time, e.Packet)
	b = appendInt(appendKey(b, "conn"), e.Conn)
	b = appendString(appendKey(b, "endpoint"), e.End.String())
	b = appendString(appendKey(b, "from"), e.From.String())
	b = appendString(appendKey(b, "to"), e.To.String())
	b = appendString(appendKey(b, "event"), happened(e))
	b = appendString(appendKey(b, "basis"), e.Basis.String())
	return append(b, '}')
}

// appendAnomalyLine appends an anomaly that stands by itself.
func appendAnomalyLine(b []byte, a *anomaly.Anomaly) []byte {
	b = append(b, `{"type":"anomaly"`...)
	if a.Conn > 0 {
		b = appendInt(appendKey(b, "conn"), a.Conn)
	}
	return append(appendAnomaly(b, a), '}')
}

// appendAnomaly appends the fields of an anomaly, without braces.
func appendAnomaly(b []byte, a *anomaly.Anomaly) []byte {
	return appendParts(b, anomalyFields, a)
}

// appendSummary appends the record that ends every jsonl output.
func appendSummary(b []byte, s *Summary, t *tally) []byte {
	b = append(b, `{"type":"summary"`...)
	b = appendUint(appendKey(b, "packets"), s.Packets)
	b = appendUint(appendKey(b, "tcp_packets"), s.TCPPackets)
	b = appendUint(appendKey(b, "bytes"), s.Bytes)
	b = appendInt(appendKey(b, "connections"), t.listed)
	b = append(appendKey(b, "states"), '{')
	for _, state := range t.states.present() {
		b = append(appendKey(b, state.String()), '{')
		b = appendInt(appendKey(b, "client"), t.states[state][tcp.Client])
		b = appendInt(appendKey(b, "server"), t.states[state][tcp.Server])
		b = append(b, '}')
	}
	b = append(appendKey(append(b, '}'), "anomalies"), '{')
	for _, k := range t.byName() {
		b = append(appendString(appendComma(b), k.kind), ':')
		b = appendInt(b, k.n)
	}
	b = append(b, '}')
	for _, when := range []struct {
		key string
		t   tcp.Time
	}{{"first", s.First}, {"last", s.Last}} {
		b = appendKey(b, when.key)
		if s.Packets == 0 {
			b = append(b, "null"...)
		} else {
			b = appendInstant(b, when.t)
		}
	}
	b = strconv.AppendBool(appendKey(b, "truncated"), s.Truncated)
	b = appendUint(appendKey(b, "dropped"), s.Dropped)
	b = appendUint(appendKey(b, "undecodable"), s.Undecodable)
	b = appendUint(appendKey(b, "evicted"), s.Evicted)
	return append(b, '}')
}

// appendWhen appends when something happened, and by which frame; a timer has
// none.
func appendWhen(b []byte, t tcp.Time, packet int) []byte {
	b = appendInstant(appendKey(b, "ts"), t)
	if packet > 0 {
		b = appendInt(appendKey(b, "packet"), packet)
	}
	return b
}

func appendInstant(b []byte, t tcp.Time) []byte {
	return append(appendTime(append(b, '"'), t), '"')
}

func appendInt(b []byte, n int) []byte { return strconv.AppendInt(b, int64(n), 10) }

// appendInts appends an array of numbers.
func appendInts(b []byte, list []int) []byte {
	b = append(b, '[')
	for _, n := range list {
		b = appendInt(appendComma(b), n)
	}
	return append(b, ']')
}

func appendUint(b []byte, n uint64) []byte { return strconv.AppendUint(b, n, 10) }

// appendKey appends a key, and the comma before it if it is not the first. Keys
// are ours and need no escape.
func appendKey(b []byte, key string) []byte {
	b = append(appendComma(b), '"')
	return append(append(b, key...), '"', ':')
}

// appendComma appends the comma between two items, if there is one before.
func appendComma(b []byte) []byte {
	if last := b[len(b)-1]; last == '{' || last == '[' {
		return b
	}
	return append(b, ',')
}

// escapedInJSON reports whether appendString writes r as anything but itself.
func escapedInJSON(r rune) bool {
	switch {
	case r == '"' || r == '\\':
		return true
	case r < utf8.RuneSelf:
		return r < ' ' || r == 0x7f
	}
	return r == utf8.RuneError || unprintable(r)
}

// appendString appends s quoted. What Escape would not let through to a
// terminal is escaped in JSON's own way, and bytes that are no UTF-8 become
// U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	if !strings.ContainsFunc(s, escapedInJSON) {
		return append(append(b, s...), '"')
	}
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case !escapedInJSON(r):
			b = utf8.AppendRune(b, r)
		case r > 0xffff && unprintable(r):
			high, low := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return append(b, '"')
}
