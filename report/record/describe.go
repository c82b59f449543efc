package record

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What records are made of, for people: one table, of which the page of this room
// and the help of the command line are written. A test holds it against what
// json and jsonl write.

// A Word is one of the words that a field can have, and what it means; "" where
// it says so itself.
type Word struct{ Name, Means string }

// A FieldDoc says what a field is.
type FieldDoc struct {
	Name   string // its path in its Group
	Type   string // in JSON: string, number, boolean, array, object, or what is there instead
	Unit   string // of a number or string
	Is     string // what it is: half a line
	More   string // what there is to say besides
	Words  []Word // all that it can be; nil: anything of its type
	Absent string // when a record has none; "": never
	Holds  string // the title of the Group of the objects in it
}

// A Group is what is said of the fields of one sort of object.
type Group struct {
	Title  string
	Is     string
	Fields []FieldDoc
}

// Certainties are how sure a state is.
var Certainties = []Word{
	{tcp.Proved.String(), "the end's own segments show it"},
	{tcp.Settled.String(), "nothing contradicted it for longer than a retransmission would have taken, or a timer of a known stack says so"},
	{tcp.Assumed.String(), "it follows if what was captured also arrived: ? in tables"},
}

// Confidences are how sure an anomaly is.
var Confidences = []Word{
	{anomaly.ConfidenceProved.String(), "the packets alone show it"},
	{anomaly.ConfidenceAssumed.String(), "it follows if what was captured also arrived"},
	{anomaly.ConfidenceAmbiguous.String(), "other readings of the same packets remain"},
}

var origins = []Word{
	{tcp.FromSYN.String(), "its SYN was captured"},
	{tcp.FromSYNACK.String(), "the first segment captured was its SYN+ACK"},
	{tcp.FromMidstream.String(), "it was open when the capture began"},
}

// closedBys are who ended a connection.
var closedBys = []Word{
	{tcp.ByClient.String(), "the client sent the first FIN"},
	{tcp.ByServer.String(), "the server sent the first FIN"},
	{tcp.ByBoth.String(), "at once: neither FIN acknowledges the other"},
	{tcp.ByClientReset.String(), "the client aborted with a RST"},
	{tcp.ByServerReset.String(), "the server aborted with a RST"},
	{tcp.ByRefusal.String(), "a RST answered the SYN"},
	{tcp.ByUnreachable.String(), "an ICMP error ended the attempt"},
	{tcp.ByTimeoutOfEnd.String(), "nobody answered"},
	{tcp.BySuperseded.String(), "a new connection took its addresses and ports while it was open"},
	{tcp.ByMiddlebox.String(), "a RST that the end it names did not send"},
}

var resetBys = []Word{
	{tcp.ResetByClient.String(), ""},
	{tcp.ResetByServer.String(), ""},
	{tcp.ResetByMiddlebox.String(), "something between the ends sent it in the name of one"},
}

var bases = []Word{
	{tcp.BySending.String(), "the end's own segment"},
	{tcp.ByAssumption.String(), "the peer's segment was captured, and so taken as received"},
	{tcp.ByProof.String(), "the end's own later segments show it"},
	{tcp.ByCorrection.String(), "in the place of an entry that later packets refuted"},
	{tcp.ByTimer.String(), "a timer of the end's stack"},
}

var stackCertainties = []Word{
	{tcp.StackUnknown.String(), "no SYN of the end was captured, or it fits no profile"},
	{tcp.StackGuessed.String(), "its SYN fits that profile better than others"},
	{tcp.StackKnown.String(), "its SYN fits that profile alone"},
	{tcp.StackNamed.String(), "--stack names it"},
}

var timers = []Word{
	{"2msl", "TIME_WAIT ends"},
	{"fin-wait-2", "an orphaned FIN_WAIT_2 ends"},
	{"syn", "the SYN has been repeated often enough"},
	{"syn-ack", "the SYN+ACK has been"},
	{"fin", "the FIN has been"},
}

var severities = []Word{
	{anomaly.Info.String(), "normal, but worth a line"},
	{anomaly.Notice.String(), "unusual, harmless alone"},
	{anomaly.Warning.String(), "a fault of resources, robustness or policy"},
	{anomaly.Error.String(), "a connection failed, data may be wrong, or what TIME_WAIT guards against happened"},
}

var endpoints = []Word{{tcp.Client.String(), ""}, {tcp.Server.String(), ""}}

// stateWords are the states, and what stands where none is known.
func stateWords() (list []Word) {
	for _, s := range tcp.States() {
		list = append(list, Word{s.String(), ""})
	}
	return append(list, Word{tcp.Unknown.String(), "no packet tells"})
}

func stackWords() (list []Word) {
	for _, name := range tcp.Stacks() {
		list = append(list, Word{name, ""})
	}
	return list
}

const (
	ofTime    = "RFC 3339"
	ofSeconds = "s"
	ofBytes   = "bytes"
	ofFrames  = "frame"
)

// typeIs is the first field of every line of jsonl.
func typeIs(what string) FieldDoc {
	return FieldDoc{Name: "type", Type: "string", Is: "what the line is", Words: []Word{{what, ""}}}
}

// Groups returns what is said of all records.
func Groups() []Group {
	return []Group{
		{"connection", "a connection, as it is at the end of the capture or at --at", connectionDocs()},
		{"end", "an end of a connection: client, which sent the first SYN, and server", endDocs()},
		{"history", "a state that an end went through; LISTEN is not listed, and what was refuted is gone", historyDocs()},
		{"anomaly", "an anomaly: in its connection, and with type and conn as a line of its own with --events, or in the list anomalies of json", anomalyDocs()},
		{"transition", "a change of state, as it happens (--events)", transitionDocs()},
		{"refused", "a segment that its receiver does not take, as it happens (--events)", refusedDocs()},
		{"summary", "the whole capture: the last line", summaryDocs()},
		{"services", "the connections to one server address and port; in hosts those of one client host", servicesDocs()},
	}
}

func connectionDocs() []FieldDoc {
	return []FieldDoc{
		typeIs("connection"),
		{Name: "conn", Type: "number", Is: "its number, from 1, by first packet", More: "A new connection on the same addresses and ports has a new number."},
		{Name: "community_id", Type: "string", Is: "Community ID v1, as in Zeek and Suricata"},
		{Name: "incarnation", Type: "number", Is: "which connection on these ports it is, from 1"},
		{Name: "client", Type: "object", Is: "the end that sent the first SYN", More: "Where no SYN was captured, the likelier of the two: see `origin`.", Holds: "end"},
		{Name: "server", Type: "object", Is: "the other end", Holds: "end"},
		{Name: "origin", Type: "string", Is: "how the connection came into sight", Words: origins},
		{Name: "closed_by", Type: "string", Is: "who ended it", Words: closedBys, Absent: "while nobody has"},
		{Name: "reset_by", Type: "string", Is: "whose RST ended it, whoever closed first", Words: resetBys, Absent: "no RST ended it"},
		{Name: "handshake_rtt", Type: "number", Unit: ofSeconds, Is: "from the SYN to the ACK of the SYN+ACK", Absent: "the handshake was not captured whole, or a SYN was repeated"},
		{Name: "start", Type: "string", Unit: ofTime, Is: "its first packet"},
		{Name: "end", Type: "string", Unit: ofTime, Is: "its last packet"},
		{Name: "duration", Type: "number", Unit: ofSeconds, Is: "from start to end"},
		{Name: "anomalies", Type: "array", Is: "what was odd about it", More: "Empty if nothing was.", Holds: "anomaly"},
	}
}

func endDocs() []FieldDoc {
	return []FieldDoc{
		{Name: "addr", Type: "string", Is: "IP address"},
		{Name: "name", Type: "string", Is: "the host's name, from DNS, TLS or HTTP", More: "Nothing is looked up.", Absent: "the capture tells none"},
		{Name: "port", Type: "number", Is: "TCP port"},
		{Name: "state", Type: "string", Is: "its state, if what was captured also arrived", Words: stateWords()},
		{Name: "possible", Type: "array", Unit: "states", Is: "all states that it may be in", Absent: "only one is possible"},
		{Name: "certainty", Type: "string", Is: "how sure state is", Words: Certainties},
		{Name: "proved_state", Type: "string", Is: "the state that its own segments show", More: "Time alone never moves it.", Words: stateWords()},
		{Name: "since", Type: "string", Unit: ofTime, Is: "when it entered state, or was first seen in it", Absent: "its history does not say"},
		{Name: "time_in_state", Type: "number", Unit: ofSeconds, Is: "how long it has been in state", Absent: "as `since`, and in CLOSED"},
		{Name: "packets", Type: "number", Unit: "segments", Is: "segments that it sent", More: "Packets that the capture has twice count once."},
		{Name: "bytes", Type: "number", Unit: ofBytes, Is: "payload that it sent, each byte counted once"},
		{Name: "retransmits", Type: "number", Unit: "segments", Is: "of packets, those that repeat what was sent"},
		{Name: "retransmitted_bytes", Type: "number", Unit: ofBytes, Is: "payload that it sent again", More: "With `bytes`, all payload of this end that the capture holds."},
		{Name: "isn", Type: "number", Is: "initial sequence number, absolute", Absent: "no segment tells"},
		{Name: "mss", Type: "number", Unit: ofBytes, Is: "maximum segment size that its SYN announced", Absent: "no SYN with that option was captured"},
		{Name: "window_scale", Type: "number", Unit: "bits", Is: "shift of its windows that its SYN announced", Absent: "no SYN with that option was captured"},
		{Name: "sack", Type: "boolean", Is: "its SYN permitted SACK", Absent: "no SYN was captured"},
		{Name: "timestamps", Type: "boolean", Is: "it sent TCP timestamps", Absent: "no SYN was captured, and no timestamp"},
		{Name: "stack", Type: "string", Is: "TCP stack profile that it is taken to have", Words: stackWords(), Absent: "`stack_certainty` is unknown"},
		{Name: "stack_certainty", Type: "string", Is: "how sure stack is", Words: stackCertainties},
		{Name: "stack_reason", Type: "string", Is: "by what stack was recognised", Absent: "it was not recognised"},
		{Name: "timer.kind", Type: "string", Is: "the timer that runs: what happens when it fires", Words: timers, Absent: "no timer runs"},
		{Name: "timer.remaining", Type: "number", Unit: ofSeconds, Is: "until that timer fires", Absent: "no timer runs"},
		{Name: "history", Type: "array", Is: "the states that it went through", More: "Oldest first.", Holds: "history"},
	}
}

func historyDocs() []FieldDoc {
	return []FieldDoc{
		{Name: "ts", Type: "string", Unit: ofTime, Is: "when"},
		{Name: "packet", Type: "number", Unit: ofFrames, Is: "which packet moved it", Absent: "a timer did"},
		{Name: "state", Type: "string", Is: "the state that it entered", Words: stateWords()},
		{Name: "event", Type: "string", Is: "what happened, such as recv FIN", More: "As `tcpwatch states` names it, several with commas between; `seen` where it was first seen in the state."},
		{Name: "basis", Type: "string", Is: "why that is believed", Words: bases},
	}
}

func anomalyDocs() []FieldDoc {
	return []FieldDoc{
		{Name: "kind", Type: "string", Is: "its name in tcpwatch anomalies"},
		{Name: "severity", Type: "string", Is: "how grave it is", Words: severities},
		{Name: "cause", Type: "string", Is: "how it came about", More: "`tcpwatch anomalies KIND` lists the causes.", Absent: "the kind has one cause, or none is known"},
		{Name: "certainty", Type: "string", Is: "how sure it is", Words: Confidences},
		{Name: "ts", Type: "string", Unit: ofTime, Is: "when it was first found"},
		{Name: "packet", Type: "number", Unit: ofFrames, Is: "the packet that showed it", Absent: "a timer did, or the end of the capture"},
		{Name: "endpoint", Type: "string", Is: "the end that it is about", Words: endpoints, Absent: "it is about many connections"},
		{Name: "evidence", Type: "array", Unit: "frames", Is: "the packets that it rests on"},
		{Name: "text", Type: "string", Is: "the sentence for people"},
		{Name: "next", Type: "string", Is: "what to look at, or to do", Absent: "nothing helps in every case"},
		{Name: "reference", Type: "string", Is: "where an RFC describes it", Absent: "none does"},
		{Name: "since", Type: "string", Unit: ofTime, Is: "when it happened first, as ts", Absent: "it happened once"},
		{Name: "until", Type: "string", Unit: ofTime, Is: "when it happened last", Absent: "it happened once"},
		{Name: "addr", Type: "string", Is: "the host that it is about", Absent: "it is about one connection, or the capture"},
		{Name: "port", Type: "number", Is: "the port of that host", Absent: "as `addr`, and where it is about no one port"},
		{Name: "count", Type: "number", Is: "how often, or over how many connections", Absent: "it happened once, to one connection"},
		{Name: "samples", Type: "array", Unit: "conn", Is: "some of the connections", Absent: "it is about one connection"},
		{Name: "supersedes", Type: "array", Unit: "kinds", Is: "kinds that it explains better", Absent: "it explains none"},
		{Name: "withdrawn", Type: "boolean", Is: "later packets refute it: it is taken back", More: "Of lines of `jsonl` only.", Absent: "not so"},
	}
}

// eventDocs are the fields of a thing that happened to an end.
func eventDocs(first FieldDoc, endpoint string, rest ...FieldDoc) []FieldDoc {
	return append([]FieldDoc{
		first,
		{Name: "ts", Type: "string", Unit: ofTime, Is: "when"},
		{Name: "packet", Type: "number", Unit: ofFrames, Is: "which packet", Absent: "a timer did it"},
		{Name: "conn", Type: "number", Is: "number of the connection"},
		{Name: "endpoint", Type: "string", Is: endpoint, Words: endpoints},
	}, rest...)
}

func transitionDocs() []FieldDoc {
	return eventDocs(typeIs("transition"), "the end that moved",
		FieldDoc{Name: "from", Type: "string", Is: "the state that it left", Words: stateWords()},
		FieldDoc{Name: "to", Type: "string", Is: "the state that it entered", Words: stateWords()},
		FieldDoc{Name: "event", Type: "string", Is: "what happened, as in history", More: "With `not: ` before it where that is taken back."},
		FieldDoc{Name: "basis", Type: "string", Is: "why that is believed", Words: bases})
}

func refusedDocs() []FieldDoc {
	kind := FieldDoc{Name: "type", Type: "string", Is: "what became of it", Words: []Word{
		{"refused", "the receiver drops it"},
		{"held", "what follows is to show whether the receiver took it"},
	}}
	return eventDocs(kind, "the end that sent it",
		FieldDoc{Name: "refused", Type: "string", Is: "the reason, as explain prints it"},
		FieldDoc{Name: "rfc", Type: "string", Is: "where an RFC asks for that", More: "May be empty."})
}

func summaryDocs() []FieldDoc {
	return []FieldDoc{
		typeIs("summary"),
		{Name: "packets", Type: "number", Unit: "packets", Is: "packets in the capture"},
		{Name: "tcp_packets", Type: "number", Unit: "packets", Is: "of these, TCP"},
		{Name: "bytes", Type: "number", Unit: ofBytes, Is: "what the packets measured on the wire"},
		{Name: "connections", Type: "number", Is: "connections that were selected"},
		{Name: "states.STATE.client", Type: "number", Is: "clients in that state", Absent: "no end is in it"},
		{Name: "states.STATE.server", Type: "number", Is: "servers in that state", Absent: "no end is in it"},
		{Name: "anomalies.KIND", Type: "number", Is: "anomalies of that kind", Absent: "there are none"},
		{Name: "first", Type: "string", Unit: ofTime, Is: "the first packet", More: "null in a capture without packets."},
		{Name: "last", Type: "string", Unit: ofTime, Is: "the last packet", More: "null in a capture without packets."},
		{Name: "truncated", Type: "boolean", Is: "the capture is cut off in mid-packet"},
		{Name: "dropped", Type: "number", Unit: "packets", Is: "packets that the capture says it lost"},
		{Name: "undecodable", Type: "number", Unit: "packets", Is: "packets whose headers could not be read"},
		{Name: "misdated", Type: "number", Unit: "packets", Is: "packets with a wrong time, which was put right"},
		{Name: "evicted", Type: "number", Is: "connections evicted to bound the memory"},
		{Name: "services", Type: "array", Is: "connections by server address and port", Holds: "services"},
		{Name: "hosts", Type: "array", Is: "connections by client host", Holds: "services"},
	}
}

func servicesDocs() []FieldDoc {
	const some, none = "of the row that has all others", "there are none"
	return []FieldDoc{
		{Name: "addr", Type: "string", Is: "IP address", Absent: some},
		{Name: "port", Type: "number", Is: "TCP port", Absent: "in hosts, and " + some},
		{Name: "names", Type: "array", Unit: "names", Is: "host names that the capture tells, ten at most", Absent: none},
		{Name: "others", Type: "number", Is: "how many share this row, the last", Absent: "the row is of one"},
		{Name: "connections", Type: "number", Is: "connections"},
		{Name: "open", Type: "number", Is: "of these, those that nothing has ended"},
		{Name: "close_wait.client", Type: "number", Is: "clients in CLOSE_WAIT"},
		{Name: "close_wait.server", Type: "number", Is: "servers in CLOSE_WAIT"},
		{Name: "close_wait.oldest", Type: "number", Unit: ofSeconds, Is: "how long the oldest of them has been there", Absent: none},
		{Name: "peer_closed.client", Type: "number", Is: "clients whose server closed first"},
		{Name: "peer_closed.server", Type: "number", Is: "servers whose client closed first"},
		{Name: "time_wait.client", Type: "number", Is: "clients in TIME_WAIT"},
		{Name: "time_wait.server", Type: "number", Is: "servers in TIME_WAIT"},
		{Name: "refused", Type: "number", Is: "attempts that a RST or an ICMP error ended"},
		{Name: "timed_out", Type: "number", Is: "attempts that nobody answered"},
		{Name: "reset_by.client", Type: "number", Is: "connections that a RST of the client ended"},
		{Name: "reset_by.server", Type: "number", Is: "connections that a RST of the server ended"},
		{Name: "reset_by.middlebox", Type: "number", Is: "connections that a middlebox reset"},
		{Name: "closed_by.client", Type: "number", Is: "connections that the client closed first"},
		{Name: "closed_by.server", Type: "number", Is: "connections that the server closed first"},
		{Name: "closed_by.both", Type: "number", Is: "connections that both closed at once"},
		{Name: "packets", Type: "number", Unit: "segments", Is: "segments of both ends"},
		{Name: "retransmits", Type: "number", Unit: "segments", Is: "of packets, those that repeat what was sent"},
		{Name: "retransmitted_share", Type: "number", Is: "retransmits / packets, from 0 to 1"},
		{Name: "handshake_rtt.count", Type: "number", Is: "handshakes whose round trip is known", Absent: none},
		{Name: "handshake_rtt.p50", Type: "number", Unit: ofSeconds, Is: "half of them took no longer", Absent: none},
		{Name: "handshake_rtt.p99", Type: "number", Unit: ofSeconds, Is: "99 % of them took no longer", Absent: none},
		{Name: "anomalies.KIND", Type: "number", Is: "anomalies of that kind", Absent: none},
	}
}

// FieldsMarkdown writes all that is said of the fields as GitHub tables.
func FieldsMarkdown() []byte {
	var b bytes.Buffer
	for i, g := range Groups() {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "### %s\n\n%s.\n\n| field | type | unit | what it is | absent |\n| --- | --- | --- | --- | --- |\n", g.Title, strings.ToUpper(g.Is[:1])+g.Is[1:])
		for _, f := range g.Fields {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.Name, f.Type, f.Unit, f.sentences(), f.Absent)
		}
	}
	return b.Bytes()
}

// sentences says all of a field but its type and when it is absent.
func (f *FieldDoc) sentences() string {
	text := f.Is
	if f.Holds != "" {
		text += fmt.Sprintf(" ([%s](#%[1]s))", f.Holds)
	}
	var words []string
	for _, w := range f.Words {
		word := "`" + w.Name + "`"
		if w.Means != "" {
			word += " (" + w.Means + ")"
		}
		words = append(words, word)
	}
	if len(words) > 0 {
		text += ": " + strings.Join(words, ", ")
	}
	if f.More != "" {
		text += ". " + f.More
	}
	return text
}

// shortTypes are the types in a column of help.
var shortTypes = map[string]string{"boolean": "bool", "array": "list", ofTime: "time", ofSeconds: "seconds"}

// FieldsText writes what each field of the records is, a line each: of
// connections, their ends, histories and anomalies, and of what --events adds.
func FieldsText() string {
	var b strings.Builder
	for _, g := range Groups()[:6] {
		fmt.Fprintf(&b, "%s\n", g.Title)
		for _, f := range g.Fields {
			of := f.Type
			if f.Unit == ofTime || f.Unit == ofSeconds || f.Unit == ofBytes {
				of = f.Unit
			}
			if short := shortTypes[of]; short != "" {
				of = short
			}
			fmt.Fprintf(&b, "  %-20s%-9s%s\n", f.Name, of, f.Is)
		}
	}
	return b.String()
}
