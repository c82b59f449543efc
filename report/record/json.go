package record

import (
	"bufio"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/tcpwatch/tcpwatch/report/internal/scratch"
	"github.com/tcpwatch/tcpwatch/report/services"
	"github.com/tcpwatch/tcpwatch/report/text"
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
	eventLog
	out       *bufio.Writer
	by        Order
	rows      scratch.Lines // by the order
	anomalies scratch.Lines // by their times
	written   scratch.Lines // the events, as the eventLog gives them
	key       []byte        // of a line
	n         uint64        // lines so far
}

// NewJSON makes the format json.
func NewJSON(out *bufio.Writer, o *Options, by Order) Format {
	p := &jsonObject{out: out, by: by}
	for _, l := range []*scratch.Lines{&p.rows, &p.anomalies, &p.written} {
		l.Memory = o.Memory / 4
	}
	if o.Events {
		p.events = newEventLines(o, func(line []byte) error { return p.add(&p.written, p.key[:0], line) })
	}
	return p
}

// add adds a line, behind those that have the same key.
func (p *jsonObject) add(to *scratch.Lines, key, text []byte) error {
	p.n++
	p.key = binary.BigEndian.AppendUint64(key, p.n)
	return to.Add(p.key, text)
}

func (p *jsonObject) Connection(r *tracker.Record) error {
	p.buf = p.lines.appendConnection(p.buf[:0], r)
	if err := p.add(&p.rows, p.by.appendKey(p.key[:0], r), p.buf); err != nil {
		return err
	}
	for i := range r.Anomalies {
		if err := p.Many(&r.Anomalies[i]); err != nil {
			return err
		}
	}
	return p.events.decide(r.Conn, true)
}

func (p *jsonObject) Many(a *anomaly.Anomaly) error {
	p.buf = appendAnomalyLine(p.buf[:0], a)
	return p.add(&p.anomalies, appendNumber(appendNumber(p.key[:0], int64(a.Time)), int64(a.Conn)), p.buf)
}

// Odd keeps the anomaly. One that is taken back goes with what it takes back: this
// is read when all is over.
func (p *jsonObject) Odd(a *anomaly.Anomaly) error {
	if a.Withdrawn {
		return nil
	}
	return p.eventLog.Odd(a)
}

func (p *jsonObject) Close(s *Summary, t *Tally) error {
	err := p.events.finish()
	p.out.WriteString("{")
	err = errors.Join(err, p.array("connections", &p.rows), p.array("anomalies", &p.anomalies))
	if p.events != nil {
		err = errors.Join(err, p.array("events", &p.written))
	}
	if err != nil {
		return err
	}
	p.out.WriteString(`"summary":`)
	p.out.Write(appendSummary(p.buf[:0], s, t))
	_, err = p.out.WriteString("}\n")
	return err
}

// array writes an array, each item on a line of its own, and forgets the items.
func (p *jsonObject) array(name string, items *scratch.Lines) error {
	p.out.WriteString(`"` + name + `":[`)
	between := "\n"
	err := items.Each(func(text []byte) error {
		p.out.WriteString(between)
		between = ",\n"
		_, err := p.out.Write(text)
		return err
	})
	p.out.WriteString("],\n")
	return errors.Join(err, items.Close())
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

// appendStep appends one entry of an end's history. What follows its time and
// packet is the same in millions of them, and is put together once.
func appendStep(b []byte, s *tracker.Step) []byte {
	b = appendParts(append(b, '{'), stepFields[:stepOften], s)
	if s.Place.Packet != 0 {
		b = appendParts(b, placeFields, &s.Place)
	}
	kind := stepKind{s.State, s.Inputs, s.Basis}
	at := &stepRests[kind.place()]
	rest := at.Load()
	if rest == nil || rest.kind != kind {
		rest = &stepRest{kind, string(appendParts([]byte{'{'}, stepFields[stepOften:], s)[1:])}
		at.Store(rest)
	}
	return append(append(text.AppendComma(b), rest.text...), '}')
}

// stepKind is what the rest of an entry depends on. The rules make few hundred.
type stepKind struct {
	state  tcp.State
	inputs tcp.InputSet
	basis  tcp.Basis
}

// place returns where the rest of such entries is kept.
func (k stepKind) place() uint32 {
	return (uint32(k.inputs)*31 + uint32(k.state)*5 + uint32(k.basis)) * 0x9e3779b1 >> (32 - stepRestsBits)
}

// A stepRest is the rest of entries of histories of one kind.
type stepRest struct {
	kind stepKind
	text string
}

const stepRestsBits = 10

// stepRests are the rests, where two want the same place the newer.
var stepRests [1 << stepRestsBits]atomic.Pointer[stepRest]

// appendTransition appends an EventTransition.
func appendTransition(b []byte, e *tracker.Event) []byte {
	b = append(b, `{"type":"transition"`...)
	b = appendWhen(b, e.Time, e.Packet)
	b = appendInt(appendKey(b, "conn"), e.Conn)
	b = text.AppendString(appendKey(b, "endpoint"), e.End.String())
	b = text.AppendString(appendKey(b, "from"), e.From.String())
	b = text.AppendString(appendKey(b, "to"), e.To.String())
	b = text.AppendString(appendKey(b, "event"), happened(e))
	b = text.AppendString(appendKey(b, "basis"), e.Basis.String())
	return append(b, '}')
}

// appendRefused appends an EventRefused. A FIN that waits for what follows is not
// refused yet.
func appendRefused(b []byte, e *tracker.Event) []byte {
	kind := "refused"
	if !e.Skipped.Refused() {
		kind = "held"
	}
	b = append(append(append(b, `{"type":"`...), kind...), '"')
	b = appendWhen(b, e.Time, e.Packet)
	b = appendInt(appendKey(b, "conn"), e.Conn)
	b = text.AppendString(appendKey(b, "endpoint"), e.End.String())
	b = text.AppendString(appendKey(b, "refused"), e.Skipped.String())
	b = text.AppendString(appendKey(b, "rfc"), e.Skipped.RFC())
	return append(b, '}')
}

// happened names what happened to an end, as records of events do.
func happened(e *tracker.Event) string {
	if e.Refuted {
		return "not: " + e.Inputs.String()
	}
	return e.Inputs.String()
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
func appendSummary(b []byte, s *Summary, t *Tally) []byte {
	b = append(b, `{"type":"summary"`...)
	b = appendUint(appendKey(b, "packets"), s.Packets)
	b = appendUint(appendKey(b, "tcp_packets"), s.TCPPackets)
	b = appendUint(appendKey(b, "bytes"), s.Bytes)
	b = appendInt(appendKey(b, "connections"), t.Listed)
	b = append(appendKey(b, "states"), '{')
	for _, state := range t.States.present() {
		b = append(appendKey(b, state.String()), '{')
		b = appendInt(appendKey(b, "client"), t.States[state][tcp.Client])
		b = appendInt(appendKey(b, "server"), t.States[state][tcp.Server])
		b = append(b, '}')
	}
	b = append(appendKey(append(b, '}'), "anomalies"), '{')
	for _, kind := range slices.Sorted(maps.Keys(t.Kinds)) {
		b = append(text.AppendString(text.AppendComma(b), kind), ':')
		b = appendInt(b, t.Kinds[kind])
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
	b = append(appendKey(b, "not_opened"), '[')
	for _, p := range s.Passed {
		b = append(text.AppendComma(b), '{')
		b = text.AppendString(appendKey(b, "header"), p.Header)
		b = text.AppendString(appendKey(b, "why"), p.Why)
		b = append(appendUint(appendKey(b, "packets"), p.Packets), '}')
	}
	b = append(b, ']')
	b = appendUint(appendKey(b, "undecodable"), s.Undecodable)
	b = appendUint(appendKey(b, "misdated"), s.Misdated)
	b = appendUint(appendKey(b, "reordered"), s.Sorted)
	b = appendUint(appendKey(b, "evicted"), s.Evicted)
	b = append(appendKey(b, "limits"), '[')
	for _, l := range s.Limits {
		b = append(text.AppendComma(b), '{')
		b = text.AppendString(appendKey(b, "limit"), l.Name)
		b = appendUint(appendKey(b, "cut"), l.Cut)
		b = append(text.AppendString(appendKey(b, "text"), l.Text), '}')
	}
	b = append(b, ']')
	b = appendServices(appendKey(b, "services"), t.Services.Rows(services.ByServer))
	b = appendServices(appendKey(b, "hosts"), t.Services.Rows(services.ByClient))
	if programs := t.Services.Rows(services.ByProcess); len(programs) > 0 {
		b = appendServices(appendKey(b, "processes"), programs)
	}
	if s.Kernel != nil {
		b = append(appendKey(b, "kernel"), '{')
		b = appendUint(appendKey(b, "compared"), s.Kernel.Compared)
		b = append(appendUint(appendKey(b, "differed"), s.Kernel.Differed), '}')
	}
	if s.Between != nil {
		b = appendTaps(appendKey(b, "taps"), s.Between)
	}
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
	return append(text.AppendTime(append(b, '"'), t), '"')
}

func appendInt(b []byte, n int) []byte { return strconv.AppendInt(b, int64(n), 10) }

// appendInts appends an array of numbers.
func appendInts(b []byte, list []int) []byte {
	b = append(b, '[')
	for _, n := range list {
		b = appendInt(text.AppendComma(b), n)
	}
	return append(b, ']')
}

func appendUint(b []byte, n uint64) []byte { return strconv.AppendUint(b, n, 10) }

// appendKey appends a key, and the comma before it if it is not the first. Keys
// are ours and need no escape.
func appendKey(b []byte, key string) []byte {
	b = append(text.AppendComma(b), '"')
	return append(append(b, key...), '"', ':')
}
