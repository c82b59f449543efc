package record

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A field is one field of the connection record. The list of them is the only
// place where one is defined: JSON nests them by their paths, CSV has a column
// for each, sorting takes any, and the tables their numeric columns.
type field struct {
	path  string // in JSON: "client.timer.kind"
	title string // as a column of a table; "" where no table has it
	value func(*tracker.Record) value

	// A derived field is a key to sort by, and not in the record itself.
	derived bool

	// A word that is another in each record.
	each bool

	// A field that counts, or dates, what was captured tells of the connection
	// itself only where all of it was captured.
	whole bool

	parents []string // of the path: client, timer
	leaf    string   // of the path: kind
}

// fields are the fields of a connection record, in the order of JSON.
var fields = makeFields()

func makeFields() []field {
	list := []field{
		{path: "type", value: func(*tracker.Record) value { return word("connection") }},
		{path: "conn", title: "Conn", value: func(r *tracker.Record) value { return count(r.Conn) }},
		{path: "community_id", each: true, value: func(r *tracker.Record) value {
			return word(communityID(r.Ends[tcp.Client].Addr, r.Ends[tcp.Server].Addr))
		}},
		{path: "incarnation", value: func(r *tracker.Record) value { return count(r.Incarnation) }},
	}
	list = append(list, fieldsOfEnd(tcp.Client)...)
	list = append(list, fieldsOfEnd(tcp.Server)...)
	list = append(list, []field{
		{path: "origin", value: func(r *tracker.Record) value { return word(r.Origin.String()) }},
		{path: "closed_by", title: "Closed By", whole: true, value: func(r *tracker.Record) value { return word(r.ClosedBy.String()) }},
		{path: "reset_by", whole: true, value: func(r *tracker.Record) value { return word(r.ResetBy.String()) }},
		{path: "handshake_rtt", title: "RTT", whole: true, value: func(r *tracker.Record) value {
			return span(r.HandshakeRTT).unless(r.HandshakeRTT == 0)
		}},
		{path: "start", title: "Start", whole: true, value: func(r *tracker.Record) value { return moment(r.Start) }},
		{path: "end", whole: true, value: func(r *tracker.Record) value { return moment(r.End) }},
		{path: "duration", title: "Duration", whole: true, value: func(r *tracker.Record) value { return span(r.End.Sub(r.Start)) }},
		{path: "anomalies", value: func(r *tracker.Record) value {
			return value{kind: anomalies, num: int64(len(r.Anomalies)), odd: &r.Anomalies}
		}},

		// What people sort by: both ends together.
		{path: "bytes", derived: true, value: both(func(e *tracker.EndRecord) uint64 { return e.Bytes })},
		{path: "packets", derived: true, value: both(func(e *tracker.EndRecord) uint64 { return e.Packets })},
		{path: "retransmits", derived: true, value: both(func(e *tracker.EndRecord) uint64 { return e.Retransmits })},
	}...)
	for i := range list {
		path := strings.Split(list[i].path, ".")
		list[i].parents, list[i].leaf = path[:len(path)-1], path[len(path)-1]
	}
	return list
}

// both returns the sum of a number over the two ends.
func both(of func(*tracker.EndRecord) uint64) func(*tracker.Record) value {
	return func(r *tracker.Record) value { return count(of(&r.Ends[0]) + of(&r.Ends[1])) }
}

// endFields are the fields of one end. Titles are seen from the client: what
// it sent, and what the server sent.
var endFields = []struct {
	leaf   string
	titles [2]string
	whole  bool
	value  func(*tracker.EndRecord) value
}{
	{"addr", [2]string{}, false, func(e *tracker.EndRecord) value {
		return value{kind: address, addr: e.Addr.Addr()}
	}},
	{"name", [2]string{"Client Name", "Server Name"}, false, func(e *tracker.EndRecord) value { return sentence(e.Name).unless(e.Name == "") }},
	{"port", [2]string{}, false, func(e *tracker.EndRecord) value { return count(e.Addr.Port()) }},
	{"state", [2]string{}, false, func(e *tracker.EndRecord) value { return stateValue(e.State) }},
	{"possible", [2]string{}, false, func(e *tracker.EndRecord) value {
		return value{kind: states, num: int64(e.Possible)}.unless(e.Possible.Len() < 2)
	}},
	{"certainty", [2]string{}, false, func(e *tracker.EndRecord) value { return word(e.Certainty.String()) }},
	{"proved_state", [2]string{"Client Proved", "Server Proved"}, false, func(e *tracker.EndRecord) value { return stateValue(e.Proved) }},
	{"since", [2]string{}, true, func(e *tracker.EndRecord) value { return moment(e.Since).unless(e.Since == 0) }},
	{"time_in_state", [2]string{}, true, func(e *tracker.EndRecord) value {
		return span(e.TimeInState).unless(e.Since == 0 || e.State == tcp.Closed)
	}},
	{"packets", [2]string{"Pkts Sent", "Pkts Rcvd"}, true, func(e *tracker.EndRecord) value { return count(e.Packets) }},
	{"bytes", [2]string{"Sent", "Received"}, true, func(e *tracker.EndRecord) value { return count(e.Bytes) }},
	{"retransmits", [2]string{"Retr Sent", "Retr Rcvd"}, true, func(e *tracker.EndRecord) value { return count(e.Retransmits) }},
	{"retransmitted_bytes", [2]string{}, true, func(e *tracker.EndRecord) value { return count(e.RetransmittedBytes) }},
	{"isn", [2]string{}, false, func(e *tracker.EndRecord) value { return count(uint32(e.ISN)).unless(!e.HasISN) }},
	{"mss", [2]string{}, false, func(e *tracker.EndRecord) value { return count(e.MSS).unless(e.MSS == 0) }},
	{"window_scale", [2]string{}, false, func(e *tracker.EndRecord) value { return count(e.WindowScale).unless(e.WindowScale < 0) }},
	{"sack", [2]string{}, false, func(e *tracker.EndRecord) value { return flag(e.SACK).unless(!e.SACK && !e.HasISN) }},
	{"timestamps", [2]string{}, false, func(e *tracker.EndRecord) value { return flag(e.Timestamps).unless(!e.Timestamps && !e.HasISN) }},
	{"stack", [2]string{}, false, func(e *tracker.EndRecord) value {
		return word(e.Stack.Stack().Name).unless(e.StackCertainty == tcp.StackUnknown)
	}},
	{"stack_certainty", [2]string{}, false, func(e *tracker.EndRecord) value { return word(e.StackCertainty.String()) }},
	{"stack_reason", [2]string{}, false, func(e *tracker.EndRecord) value {
		return word(tcp.StackReason(e.Stack, e.StackCertainty))
	}},
	{"on_host", [2]string{}, false, func(e *tracker.EndRecord) value { return flag(e.OnHost).unless(!e.OnHost) }},
	{"process.name", [2]string{}, false, ofOwner(func(o *tcp.Owner) value { return sentence(o.Program).unless(o.Program == "") })},
	{"process.pid", [2]string{}, false, ofOwner(func(o *tcp.Owner) value { return count(o.PID).unless(o.PID == 0) })},
	{"process.source", [2]string{}, false, ofOwner(func(o *tcp.Owner) value { return word(o.Source.String()) })},
	{"user", [2]string{}, false, ofOwner(func(o *tcp.Owner) value { return sentence(o.User).unless(o.User == "") })},
	{"unit", [2]string{}, false, ofOwner(func(o *tcp.Owner) value { return sentence(o.Unit).unless(o.Unit == "") })},
	{"container", [2]string{}, false, ofOwner(func(o *tcp.Owner) value { return sentence(o.Container).unless(o.Container == "") })},
	{"pod", [2]string{}, false, ofOwner(func(o *tcp.Owner) value { return sentence(o.Pod).unless(o.Pod == "") })},
	{"kernel_state", [2]string{}, false, ofSocket(func(s *tcp.Socket) value { return stateValue(s.State).unless(s.State == tcp.Unknown) })},
	{"kernel_differs", [2]string{}, false, ofSocket(func(s *tcp.Socket) value { return flag(s.Differs).unless(!s.Differs) })},
	{"socket.recv_queue", [2]string{}, false, ofSocket(func(s *tcp.Socket) value {
		return count(s.RecvQueue).unless(s.State == tcp.Unknown || s.State == tcp.Closed)
	})},
	{"socket.send_queue", [2]string{}, false, ofSocket(func(s *tcp.Socket) value {
		return count(s.SendQueue).unless(s.State == tcp.Unknown || s.State == tcp.Closed)
	})},
	{"socket.rtt", [2]string{}, false, ofSocket(func(s *tcp.Socket) value { return span(s.RTT).unless(!s.HasInfo) })},
	{"socket.retransmits", [2]string{}, false, ofSocket(func(s *tcp.Socket) value { return count(s.Retransmits).unless(!s.HasInfo) })},
	{"socket.window", [2]string{}, false, ofSocket(func(s *tcp.Socket) value { return count(s.Window).unless(!s.HasInfo) })},
	{"timer.kind", [2]string{}, false, func(e *tracker.EndRecord) value { return word(e.Timer.Kind) }},
	{"timer.remaining", [2]string{}, false, func(e *tracker.EndRecord) value { return span(e.Timer.Remaining).unless(e.Timer.Kind == "") }},
	{"history", [2]string{}, false, func(e *tracker.EndRecord) value {
		return value{kind: steps, num: int64(len(e.History)), steps: &e.History}
	}},
}

// ofSocket is a field of what the kernel says of an end, absent where it was not asked.
func ofSocket(of func(*tcp.Socket) value) func(*tracker.EndRecord) value {
	return func(e *tracker.EndRecord) value {
		if e.Socket == nil {
			return value{}
		}
		return of(e.Socket)
	}
}

// ofOwner is one of whose its socket is.
func ofOwner(of func(*tcp.Owner) value) func(*tracker.EndRecord) value {
	return ofSocket(func(s *tcp.Socket) value { return of(&s.Owner) })
}

// stepFields are the fields of an entry of an end's history: first, stepOften of
// them, those that hardly two entries have in common.
var stepFields = []part[tracker.Step]{
	{"ts", func(s *tracker.Step) value { return moment(s.Time) }},
	{"packet", func(s *tracker.Step) value { return count(s.Packet).unless(s.Packet == 0) }},
	{"state", func(s *tracker.Step) value { return stateValue(s.State) }},
	{"event", func(s *tracker.Step) value { return sentence(s.Inputs.String()) }},
	{"basis", func(s *tracker.Step) value { return word(s.Basis.String()) }},
}

// stepOften is how many of the stepFields differ in each entry.
const stepOften = 2

// placedSteps are the stepFields and where the packet is found, as expressions have them.
var placedSteps = append(slices.Clone(stepFields), part[tracker.Step]{
	"tap", func(s *tracker.Step) value { return sentence(s.Place.Tap).unless(s.Place.Tap == "") },
})

// placeFields are those of where a packet of captures of several places is found.
var placeFields = []part[tcp.Place]{
	{"tap", func(p *tcp.Place) value { return sentence(p.Tap) }},
	{"tap_packet", func(p *tcp.Place) value { return count(p.Packet) }},
	{"peer_packet", func(p *tcp.Place) value { return count(p.Peer).unless(p.Peer == 0) }},
}

// anomalyFields are the fields of an anomaly.
var anomalyFields = []part[anomaly.Anomaly]{
	{"kind", func(a *anomaly.Anomaly) value { return sentence(a.Kind) }},
	{"severity", func(a *anomaly.Anomaly) value { return word(a.Severity.String()) }},
	{"cause", func(a *anomaly.Anomaly) value { return sentence(a.Cause).unless(a.Cause == "") }},
	{"certainty", func(a *anomaly.Anomaly) value { return word(a.Confidence.String()) }},
	{"ts", func(a *anomaly.Anomaly) value { return moment(a.Time) }},
	{"packet", func(a *anomaly.Anomaly) value { return count(a.Packet).unless(a.Packet == 0) }},
	{"endpoint", func(a *anomaly.Anomaly) value { return word(a.End.String()).unless(a.Conn == 0) }},
	{"evidence", func(a *anomaly.Anomaly) value { return value{kind: numbers, ints: &a.Evidence} }},
	{"evidence_taps", func(a *anomaly.Anomaly) value {
		return value{kind: places, where: &a.Places}.unless(len(a.Places) == 0)
	}},
	{"text", func(a *anomaly.Anomaly) value { return sentence(a.Text) }},
	{"next", func(a *anomaly.Anomaly) value { return sentence(a.Next).unless(a.Next == "") }},
	{"reference", func(a *anomaly.Anomaly) value { return sentence(a.RFC).unless(a.RFC == "") }},
	{"since", func(a *anomaly.Anomaly) value { return moment(a.Time).unless(a.Until == 0) }},
	{"until", func(a *anomaly.Anomaly) value { return moment(a.Until).unless(a.Until == 0) }},
	{"addr", func(a *anomaly.Anomaly) value { return value{kind: address, addr: a.Addr}.unless(!a.Addr.IsValid()) }},
	{"port", func(a *anomaly.Anomaly) value { return count(a.Port).unless(a.Port == 0) }},
	{"count", func(a *anomaly.Anomaly) value { return count(a.Count).unless(a.Count <= 1 && a.Conn != 0) }},
	{"samples", func(a *anomaly.Anomaly) value {
		return value{kind: numbers, ints: &a.Samples}.unless(len(a.Samples) == 0)
	}},
	{"supersedes", func(a *anomaly.Anomaly) value {
		return value{kind: phrases, words: &a.Supersedes}.unless(len(a.Supersedes) == 0)
	}},
	{"withdrawn", func(a *anomaly.Anomaly) value { return flag(a.Withdrawn).unless(!a.Withdrawn) }},
}

// A part is one field of what a record holds a list of.
type part[T any] struct {
	name  string
	value func(*T) value
}

// appendParts appends the fields of v, without braces.
func appendParts[T any](b []byte, parts []part[T], v *T) []byte {
	for i := range parts {
		if field := parts[i].value(v); field.kind != absent {
			b = field.appendJSON(appendKey(b, parts[i].name))
		}
	}
	return b
}

// fieldsOfEnd returns the fields of one end as fields of the record.
func fieldsOfEnd(end tcp.Endpoint) []field {
	var list []field
	for _, f := range endFields {
		of := f.value
		list = append(list, field{
			path:  end.String() + "." + f.leaf,
			title: f.titles[end],
			whole: f.whole,
			value: func(r *tracker.Record) value { return of(&r.Ends[end]) },
		})
	}
	return list
}

// fieldAt returns the field of that path, or nil.
func fieldAt(path string) *field {
	i := slices.IndexFunc(fields, func(f field) bool { return f.path == path })
	if i < 0 {
		return nil
	}
	return &fields[i]
}

// Titled returns the title that the field of that path has as a column of a
// table, and what writes it for people: "-" where a record lacks it.
func Titled(path string) (title string, write func(r *tracker.Record, style text.TimeStyle, first tcp.Time) string) {
	f := fieldAt(path)
	return f.title, func(r *tracker.Record, style text.TimeStyle, first tcp.Time) string {
		return f.value(r).human(style, first)
	}
}

// SortFields returns the paths that Options.Sort takes.
func SortFields() []string {
	var paths []string
	for _, f := range fields {
		if f.path != "type" {
			paths = append(paths, f.path)
		}
	}
	return paths
}

// An Order is how connections are sorted. The zero order is by conn.
type Order struct {
	by      *field
	reverse bool
}

// ParseOrder reads Options.Sort.
func ParseOrder(path string) (Order, error) {
	if path == "" {
		return Order{}, nil
	}
	path, reverse := strings.CutPrefix(path, "-")
	if by := fieldAt(path); by != nil && by.path != "type" {
		return Order{by: by, reverse: reverse}, nil
	}
	return Order{}, fmt.Errorf("unknown field %q to sort by (%s)", text.Escape(path), strings.Join(SortFields(), ", "))
}

// A Key is what a connection is sorted by.
type Key struct {
	Conn  int
	value value // of the order's field; lists are reduced to their length
}

// Key returns the key of r.
func (o Order) Key(r *tracker.Record) Key {
	k := Key{Conn: r.Conn}
	if o.by != nil {
		k.value = o.by.value(r)
		k.value.steps, k.value.odd = nil, nil
	}
	return k
}

// appendKey appends octets that are ordered as Compare orders the keys of connections.
func (o Order) appendKey(b []byte, r *tracker.Record) []byte {
	if k := o.Key(r); k.value.kind == absent {
		b = append(b, 1)
	} else {
		b = append(b, 0)
		begin := len(b)
		b = k.value.appendKey(b)
		for i := begin; o.reverse && i < len(b); i++ {
			b[i] = ^b[i]
		}
	}
	return appendNumber(b, int64(r.Conn))
}

// Compare orders two keys: what is absent comes last in either direction, and
// what is equal stays in the order of conn.
func (o Order) Compare(a, b Key) int {
	known := func(v value) int {
		if v.kind == absent {
			return 1
		}
		return 0
	}
	if c := known(a.value) - known(b.value); c != 0 {
		return c
	}
	c := a.value.compare(b.value)
	if o.reverse {
		c = -c
	}
	if c == 0 {
		c = a.Conn - b.Conn
	}
	return c
}
