package record

import (
	"bytes"
	"fmt"
	"slices"
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
	{tcp.Kernel.String(), "the kernel of the end's own host says so (live --processes)"},
	{tcp.Proved.String(), "the end's own segments show it"},
	{tcp.Observed.String(), "the capture was made on the end's own host, and what changed the state came in there"},
	{tcp.Settled.String(), "nothing contradicted it for longer than a retransmission would have taken, or a timer of a known stack implies it"},
	{tcp.Assumed.String(), "it holds if the captured segments arrived; tables mark it with ?"},
}

// Confidences are how sure an anomaly is.
var Confidences = []Word{
	{anomaly.ConfidenceProved.String(), "the packets alone show it"},
	{anomaly.ConfidenceAssumed.String(), "it holds if the captured segments arrived"},
	{anomaly.ConfidenceAmbiguous.String(), "the same packets have other explanations"},
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
	{tcp.ByBoth.String(), "both at the same time: neither FIN acknowledges the other"},
	{tcp.ByClientReset.String(), "the client aborted with a RST"},
	{tcp.ByServerReset.String(), "the server aborted with a RST"},
	{tcp.ByRefusal.String(), "a RST answered the SYN"},
	{tcp.ByUnreachable.String(), "an ICMP error ended the attempt"},
	{tcp.ByTimeoutOfEnd.String(), "it got no answer"},
	{tcp.BySuperseded.String(), "a new connection took its addresses and ports while it was open"},
	{tcp.ByMiddlebox.String(), "a forged RST: neither end sent it"},
}

var resetBys = []Word{
	{tcp.ResetByClient.String(), ""},
	{tcp.ResetByServer.String(), ""},
	{tcp.ResetByMiddlebox.String(), "something between the ends forged it"},
}

var bases = []Word{
	{tcp.BySending.String(), "the end's own segment"},
	{tcp.ByAssumption.String(), "the peer's segment was captured, so it is assumed to be received"},
	{tcp.ByProof.String(), "the end's own later segments show it"},
	{tcp.ByCorrection.String(), "it replaces an entry that later packets refuted"},
	{tcp.ByArrival.String(), "the peer's segment came in on the end's own host, where the capture was made"},
	{tcp.ByTimer.String(), "a timer of the end's stack"},
}

var stackCertainties = []Word{
	{tcp.StackUnknown.String(), "no SYN of the end was captured, or it matches no profile"},
	{tcp.StackGuessed.String(), "its SYN matches that profile better than others"},
	{tcp.StackKnown.String(), "its SYN matches only that profile"},
	{tcp.StackNamed.String(), "--stack sets it"},
}

var timers = []Word{
	{"2msl", "TIME_WAIT ends"},
	{"fin-wait-2", "an orphaned FIN_WAIT_2 ends"},
	{"syn", "it gives up after it has retransmitted the SYN"},
	{"syn-ack", "it gives up after it has retransmitted the SYN+ACK"},
	{"fin", "it gives up after it has retransmitted the FIN"},
}

var severities = []Word{
	{anomaly.Info.String(), "normal, but worth a mention"},
	{anomaly.Notice.String(), "unusual, harmless alone"},
	{anomaly.Warning.String(), "a fault of resources, robustness or policy"},
	{anomaly.Error.String(), "a connection failed, data may be wrong, or what TIME_WAIT guards against happened"},
}

var ownerSources = []Word{
	{tcp.FromSocket.String(), "the process has the connection's socket open"},
	{tcp.FromListener.String(), "the process has the listening socket open to which the connection came"},
	{tcp.FromEvent.String(), "the process was seen to open or close the connection (eBPF)"},
	{tcp.FromFile.String(), "the capture says so beside the packets (macOS)"},
}

var endpoints = []Word{{tcp.Client.String(), ""}, {tcp.Server.String(), ""}}

// stateWords are the states, and what stands where none is known.
func stateWords() (list []Word) {
	for _, s := range tcp.States() {
		list = append(list, Word{s.String(), ""})
	}
	return append(list, Word{tcp.Unknown.String(), "no packet shows it"})
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

	notAsked = "it is on another host, or not known"
	noSocket = "no socket of it was found"
)

// typeIs is the first field of every line of jsonl.
func typeIs(what string) FieldDoc {
	return FieldDoc{Name: "type", Type: "string", Is: "the type of the line", Words: []Word{{what, ""}}}
}

// Groups returns what is said of all records.
func Groups() []Group {
	return []Group{
		{"connection", "a connection, at the end of the capture or at --at", connectionDocs()},
		{"end", "an end of a connection: client (sent the first SYN) or server", endDocs()},
		{"history", "a state that an end went through; without LISTEN and without refuted entries", historyDocs()},
		{"anomaly", "an anomaly: in its connection; with --events also as a separate line with type and conn, or in the list anomalies of json", anomalyDocs()},
		{"tap", "where a packet is of captures that --tap names", []FieldDoc{tapDoc, tapPacketDoc, peerPacketDoc}},
		{"transition", "a change of state, as it happens (--events)", transitionDocs()},
		{"refused", "a segment that its receiver does not accept, as it happens (--events)", refusedDocs()},
		{"summary", "the whole capture: the last line", summaryDocs()},
		{"services", "the connections to one server address and port; in hosts, those of one client host; in processes, those of one program", servicesDocs()},
		{"capture", "one of several captures (--tap), in their order on the path from most clients to most servers, and what happened between it and the one before", captureDocs()},
		{"step", "a moment at which a clock was set, or began to run at another speed", stepDocs()},
		{"direction", "what happened to the packets of one direction between two captures", directionDocs()},
		{"rewriting", "a connection whose addresses or ports were translated between two captures", rewritingDocs()},
		{"lossy", "a connection that lost packets between two captures", lossyDocs()},
		{"not_opened", "one header of those that are not opened, and how many packets were passed over for it", passedDocs()},
		{"limit", "a limit of what is kept, and how much was left out to stay within it", limitDocs()},
	}
}

func connectionDocs() []FieldDoc {
	return []FieldDoc{
		typeIs("connection"),
		{Name: "conn", Type: "number", Is: "its number, from 1, in order of first packets", More: "A new connection on the same addresses and ports has a new number."},
		{Name: "community_id", Type: "string", Is: "Community ID v1, as in Zeek and Suricata"},
		{Name: "incarnation", Type: "number", Is: "its number among the connections on these ports"},
		{Name: "client", Type: "object", Is: "the end that sent the first SYN", More: "If no SYN was captured, the more likely of the two: see `origin`.", Holds: "end"},
		{Name: "server", Type: "object", Is: "the other end", Holds: "end"},
		{Name: "origin", Type: "string", Is: "how the connection was first seen", Words: origins},
		{Name: "closed_by", Type: "string", Is: "who ended it", Words: closedBys, Absent: "it is still open"},
		{Name: "reset_by", Type: "string", Is: "the sender of the RST that ended it", More: "It can differ from `closed_by`.", Words: resetBys, Absent: "no RST ended it"},
		{Name: "handshake_rtt", Type: "number", Unit: ofSeconds, Is: "from the SYN to the ACK of the SYN+ACK", Absent: "the handshake was not fully captured, or a SYN was retransmitted"},
		{Name: "start", Type: "string", Unit: ofTime, Is: "its first packet"},
		{Name: "end", Type: "string", Unit: ofTime, Is: "its last packet"},
		{Name: "duration", Type: "number", Unit: ofSeconds, Is: "from start to end"},
		{Name: "anomalies", Type: "array", Is: "its anomalies", More: "Empty if there are none.", Holds: "anomaly"},
	}
}

func endDocs() []FieldDoc {
	return []FieldDoc{
		{Name: "addr", Type: "string", Is: "IP address"},
		{Name: "name", Type: "string", Is: "the host's name, from DNS, TLS or HTTP", More: "Nothing is looked up.", Absent: "the capture shows none"},
		{Name: "port", Type: "number", Is: "TCP port"},
		{Name: "state", Type: "string", Is: "its state, if the captured segments arrived", Words: stateWords()},
		{Name: "possible", Type: "array", Unit: "states", Is: "all states that it may be in", Absent: "only one is possible"},
		{Name: "certainty", Type: "string", Is: "how sure the state is", Words: Certainties},
		{Name: "proved_state", Type: "string", Is: "the state that its own segments show", More: "Time alone never changes it.", Words: stateWords()},
		{Name: "since", Type: "string", Unit: ofTime, Is: "when it entered state, or was first seen in it", Absent: "its history does not show it"},
		{Name: "time_in_state", Type: "number", Unit: ofSeconds, Is: "how long it has been in state", Absent: "as for `since`, and in CLOSED"},
		{Name: "packets", Type: "number", Unit: "segments", Is: "segments that it sent", More: "Packets captured twice count once."},
		{Name: "bytes", Type: "number", Unit: ofBytes, Is: "payload that it sent, each byte counted once"},
		{Name: "retransmits", Type: "number", Unit: "segments", Is: "retransmitted segments, also counted in packets"},
		{Name: "retransmitted_bytes", Type: "number", Unit: ofBytes, Is: "payload that it retransmitted", More: "Together with `bytes`, all payload of this end in the capture."},
		{Name: "isn", Type: "number", Is: "initial sequence number, absolute", Absent: "no segment shows it"},
		{Name: "mss", Type: "number", Unit: ofBytes, Is: "maximum segment size that its SYN announced", Absent: "no SYN with that option was captured"},
		{Name: "window_scale", Type: "number", Unit: "bits", Is: "window scale (shift) that its SYN announced", Absent: "no SYN with that option was captured"},
		{Name: "sack", Type: "boolean", Is: "its SYN permitted SACK", Absent: "no SYN was captured"},
		{Name: "timestamps", Type: "boolean", Is: "it sent TCP timestamps", Absent: "no SYN and no timestamp was captured"},
		{Name: "stack", Type: "string", Is: "its TCP stack profile", Words: stackWords(), Absent: "`stack_certainty` is unknown"},
		{Name: "stack_certainty", Type: "string", Is: "how sure the stack is", Words: stackCertainties},
		{Name: "stack_reason", Type: "string", Is: "how the stack was recognised", Absent: "it was not recognised"},
		{Name: "on_host", Type: "boolean", Is: "the capture was made on its host (--tap-on)", Absent: "it was not, or the packets do not show it"},
		{Name: "process.name", Type: "string", Is: "the program that has the connection", More: "This and what follows, up to `socket.window`, is what the kernel of its host says (live --processes).", Absent: notAsked},
		{Name: "process.pid", Type: "number", Is: "its process ID", Absent: notAsked + ", or several processes share a listening socket"},
		{Name: "process.source", Type: "string", Is: "how the program is known", Words: ownerSources, Absent: notAsked},
		{Name: "user", Type: "string", Is: "the user who opened the socket", Absent: notAsked},
		{Name: "unit", Type: "string", Is: "its systemd unit", Absent: "it has none, or runs in a container"},
		{Name: "container", Type: "string", Is: "its container: twelve digits of the ID", Absent: "it does not run in a container"},
		{Name: "pod", Type: "string", Is: "its Kubernetes pod: namespace/name", More: "Its UID if the names cannot be read.", Absent: "it does not run in a pod"},
		{Name: "kernel_state", Type: "string", Is: "its state, as the kernel says", Words: stateWords(), Absent: "nobody asked for it since its last packet"},
		{Name: "kernel_differs", Type: "boolean", Is: "`kernel_state` is not what the packets show", Absent: "they agree, or were not compared"},
		{Name: "socket.recv_queue", Type: "number", Unit: ofBytes, Is: "what the program has not read", Absent: "as for `kernel_state`"},
		{Name: "socket.send_queue", Type: "number", Unit: ofBytes, Is: "what the peer has not acknowledged", Absent: "as for `kernel_state`"},
		{Name: "socket.rtt", Type: "number", Unit: ofSeconds, Is: "the smoothed round-trip time", Absent: noSocket},
		{Name: "socket.retransmits", Type: "number", Unit: "segments", Is: "retransmitted segments, as the kernel counts them", Absent: noSocket},
		{Name: "socket.window", Type: "number", Unit: "segments", Is: "the congestion window", Absent: noSocket},
		{Name: "timer.kind", Type: "string", Is: "the running timer: what happens when it fires", Words: timers, Absent: "no timer runs"},
		{Name: "timer.remaining", Type: "number", Unit: ofSeconds, Is: "until that timer fires", Absent: "no timer runs"},
		{Name: "history", Type: "array", Is: "the states that it went through", More: "Oldest first.", Holds: "history"},
	}
}

func historyDocs() []FieldDoc {
	return []FieldDoc{
		{Name: "ts", Type: "string", Unit: ofTime, Is: "when"},
		{Name: "packet", Type: "number", Unit: ofFrames, Is: "the packet that changed the state", More: "With --tap, its number in the order of all captures.", Absent: "a timer did"},
		tapDoc, tapPacketDoc, peerPacketDoc,
		{Name: "state", Type: "string", Is: "the state that it entered", Words: stateWords()},
		{Name: "event", Type: "string", Is: "what happened, such as recv FIN", More: "Named as in `tcpwatch states`, several separated by commas; `seen` if it was first seen in the state."},
		{Name: "basis", Type: "string", Is: "what shows it", Words: bases},
	}
}

// Where a packet is of captures that --tap names.
var (
	tapDoc        = FieldDoc{Name: "tap", Type: "string", Is: "the first capture that has the packet (--tap)", Absent: "one capture was read, or a timer did it"}
	tapPacketDoc  = FieldDoc{Name: "tap_packet", Type: "number", Unit: ofFrames, Is: "its number in that capture", Absent: "as for `tap`"}
	peerPacketDoc = FieldDoc{Name: "peer_packet", Type: "number", Unit: ofFrames, Is: "its number in the last other capture", Absent: "no other capture has it"}
)

func anomalyDocs() []FieldDoc {
	return []FieldDoc{
		{Name: "kind", Type: "string", Is: "its name in tcpwatch anomalies"},
		{Name: "severity", Type: "string", Is: "how serious it is", Words: severities},
		{Name: "cause", Type: "string", Is: "how it happened", More: "`tcpwatch anomalies KIND` lists the causes.", Absent: "the kind has only one cause, or the cause is unknown"},
		{Name: "certainty", Type: "string", Is: "how sure it is", Words: Confidences},
		{Name: "ts", Type: "string", Unit: ofTime, Is: "when it was first found"},
		{Name: "packet", Type: "number", Unit: ofFrames, Is: "the packet that showed it", Absent: "a timer or the end of the capture showed it"},
		{Name: "endpoint", Type: "string", Is: "the end that it is about", Words: endpoints, Absent: "it is about many connections"},
		{Name: "evidence", Type: "array", Unit: "frames", Is: "the packets that show it", More: "With --tap, their numbers in the order of all captures."},
		{Name: "evidence_taps", Type: "array", Is: "where these packets are, in that order", Holds: "tap", Absent: "one capture was read"},
		{Name: "text", Type: "string", Is: "the sentence for people"},
		{Name: "next", Type: "string", Is: "what to check or do next", Absent: "no advice fits every case"},
		{Name: "reference", Type: "string", Is: "the RFC section that describes it", Absent: "there is none"},
		{Name: "since", Type: "string", Unit: ofTime, Is: "when it first happened, same as ts", Absent: "it happened once"},
		{Name: "until", Type: "string", Unit: ofTime, Is: "when it last happened", Absent: "it happened once"},
		{Name: "addr", Type: "string", Is: "the host that it is about", Absent: "it is about one connection, or the capture"},
		{Name: "port", Type: "number", Is: "the port of that host", Absent: "as for `addr`, or it is not about one port"},
		{Name: "count", Type: "number", Is: "how often, or for how many connections", Absent: "it happened once, to one connection"},
		{Name: "samples", Type: "array", Unit: "conn", Is: "some of the connections", Absent: "it is about one connection"},
		{Name: "supersedes", Type: "array", Unit: "kinds", Is: "kinds that it explains better", Absent: "it explains none"},
		{Name: "withdrawn", Type: "boolean", Is: "later packets refuted it; it is withdrawn", More: "Only in lines of `jsonl`.", Absent: "it still holds"},
	}
}

// eventDocs are the fields of a thing that happened to an end.
func eventDocs(first FieldDoc, endpoint string, rest ...FieldDoc) []FieldDoc {
	return append([]FieldDoc{
		first,
		{Name: "ts", Type: "string", Unit: ofTime, Is: "when"},
		{Name: "packet", Type: "number", Unit: ofFrames, Is: "which packet", Absent: "a timer caused it"},
		{Name: "conn", Type: "number", Is: "number of the connection"},
		{Name: "endpoint", Type: "string", Is: endpoint, Words: endpoints},
	}, rest...)
}

func transitionDocs() []FieldDoc {
	return eventDocs(typeIs("transition"), "the end that changed its state",
		FieldDoc{Name: "from", Type: "string", Is: "the state that it left", Words: stateWords()},
		FieldDoc{Name: "to", Type: "string", Is: "the state that it entered", Words: stateWords()},
		FieldDoc{Name: "event", Type: "string", Is: "what happened, as in history", More: "`not: ` before it means that it is withdrawn."},
		FieldDoc{Name: "basis", Type: "string", Is: "what shows it", Words: bases})
}

func refusedDocs() []FieldDoc {
	kind := FieldDoc{Name: "type", Type: "string", Is: "what happened to it", Words: []Word{
		{"refused", "the receiver drops it"},
		{"held", "later packets must show whether the receiver accepted it"},
	}}
	return eventDocs(kind, "the end that sent it",
		FieldDoc{Name: "refused", Type: "string", Is: "the reason, as explain prints it"},
		FieldDoc{Name: "rfc", Type: "string", Is: "the RFC section that requires this", More: "May be empty."})
}

func summaryDocs() []FieldDoc {
	return []FieldDoc{
		typeIs("summary"),
		{Name: "packets", Type: "number", Unit: "packets", Is: "packets in the capture"},
		{Name: "tcp_packets", Type: "number", Unit: "packets", Is: "of these, TCP"},
		{Name: "bytes", Type: "number", Unit: ofBytes, Is: "bytes of the packets on the wire"},
		{Name: "connections", Type: "number", Is: "connections that were selected"},
		{Name: "states.STATE.client", Type: "number", Is: "clients in that state", Absent: "no end is in it"},
		{Name: "states.STATE.server", Type: "number", Is: "servers in that state", Absent: "no end is in it"},
		{Name: "anomalies.KIND", Type: "number", Is: "anomalies of that kind", Absent: "there are none"},
		{Name: "first", Type: "string", Unit: ofTime, Is: "the first packet", More: "null in a capture without packets."},
		{Name: "last", Type: "string", Unit: ofTime, Is: "the last packet", More: "null in a capture without packets."},
		{Name: "truncated", Type: "boolean", Is: "the capture is cut off mid-packet"},
		{Name: "dropped", Type: "number", Unit: "packets", Is: "packets that the capture reports as lost"},
		{Name: "not_opened", Type: "array", Is: "packets without known TCP, by the outermost header that is not opened", Holds: "not_opened"},
		{Name: "undecodable", Type: "number", Unit: "packets", Is: "packets whose headers could not be read"},
		{Name: "misdated", Type: "number", Unit: "packets", Is: "packets whose wrong timestamps were corrected"},
		{Name: "reordered", Type: "number", Unit: "packets", Is: "packets that were out of order in their file, and were put in the order of their timestamps"},
		{Name: "evicted", Type: "number", Is: "connections evicted to stay within --max-connections or --max-memory"},
		{Name: "limits", Type: "array", Is: "the limits by which something was left out", More: "Empty if nothing was. `tcpwatch help limits` lists all.", Holds: "limit"},
		{Name: "services", Type: "array", Is: "connections by server address and port", Holds: "services"},
		{Name: "hosts", Type: "array", Is: "connections by client host", Holds: "services"},
		{Name: "processes", Type: "array", Is: "connections by program, of the ends whose program is known (live --processes)", Holds: "services", Absent: "none is known"},
		{Name: "kernel.compared", Type: "number", Is: "how often the state of an end was compared with what the kernel says (live --processes)", Absent: "the kernel was not asked"},
		{Name: "kernel.differed", Type: "number", Is: "how often they differed", Absent: "the kernel was not asked"},
		{Name: "taps", Type: "array", Is: "the captures, and what happened between them", Holds: "capture", Absent: "there is one capture"},
	}
}

// clockDocs describe how a clock runs; first is when nothing is said of it.
func clockDocs(first string) []FieldDoc {
	unbounded := "the packets do not bound it"
	if first != "" {
		unbounded = first + ", or " + unbounded
	}
	return []FieldDoc{
		{Name: "ahead_seconds", Type: "number", Unit: ofSeconds, Is: "how far its clock is ahead of that of the tap before; below 0: behind", Absent: first},
		{Name: "within_seconds", Type: "number", Unit: ofSeconds, Is: "`ahead_seconds` is wrong by no more", Absent: unbounded},
		{Name: "drift_ppm", Type: "number", Unit: "ppm", Is: "how much faster its clock runs", Absent: first},
	}
}

func captureDocs() []FieldDoc {
	const first = "it is the first"
	return slices.Concat([]FieldDoc{
		{Name: "name", Type: "string", Is: "its name"},
		{Name: "files", Type: "array", Unit: "paths", Is: "the files of the capture"},
	}, clockDocs(first+", or nothing shows it"), []FieldDoc{
		{Name: "steps", Type: "array", Is: "when its clock changed", Holds: "step", Absent: first + ", or nothing shows how its clock runs"},
		{Name: "connections", Type: "number", Is: "connections that either capture has", Absent: first},
		{Name: "rewritten", Type: "number", Is: "connections whose addresses or ports were translated", Absent: first},
		{Name: "forward", Type: "object", Is: "what went from the tap before to this one", Holds: "direction", Absent: first},
		{Name: "back", Type: "object", Is: "what went from this tap to the one before", Holds: "direction", Absent: first},
		{Name: "rewritings", Type: "array", Is: "the first 64 of `rewritten`", Holds: "rewriting", Absent: first},
		{Name: "worst", Type: "array", Is: "the connections that lost the most, at most 64", Holds: "lossy", Absent: first},
	})
}

func stepDocs() []FieldDoc {
	return slices.Concat([]FieldDoc{
		{Name: "ts", Type: "string", Unit: ofTime, Is: "when, by the clock itself"},
		{Name: "by_seconds", Type: "number", Unit: ofSeconds, Is: "by how much it was set forward; below 0: back; 0: it only began to run at another speed"},
	}, clockDocs(""))
}

func directionDocs() []FieldDoc {
	const conn, none = "in a connection", "no packet is in both captures"
	return []FieldDoc{
		{Name: "from", Type: "string", Is: "the tap that packets come by first", Absent: conn},
		{Name: "to", Type: "string", Is: "the other tap", Absent: conn},
		{Name: "sent", Type: "number", Unit: "packets", Is: "packets that came by the first tap"},
		{Name: "arrived", Type: "number", Unit: "packets", Is: "packets that came by the other"},
		{Name: "lost", Type: "number", Unit: "packets", Is: "packets that were sent and did not arrive"},
		{Name: "missed_from", Type: "number", Unit: "packets", Is: "packets that passed the first tap, although its capture lacks them"},
		{Name: "missed_to", Type: "number", Unit: "packets", Is: "packets that arrived, although the other capture lacks them"},
		{Name: "copied", Type: "number", Unit: "packets", Is: "packets that arrived more often than they were sent"},
		{Name: "reordered", Type: "number", Unit: "packets", Is: "packets that arrived after some that were sent later"},
		{Name: "changed", Type: "number", Unit: "packets", Is: "packets that were changed, apart from addresses, ports and TTL"},
		{Name: "forged", Type: "number", Unit: "packets", Is: "packets that arrived and were not sent"},
		{Name: "unknown", Type: "number", Unit: "packets", Is: "packets that only one capture can have"},
		{Name: "changes.WHAT", Type: "number", Unit: "packets", Is: "packets in which that was changed: mss, window_scale, sack_permitted, timestamps, options, window, numbers, ecn, id, dont_fragment, payload", Absent: conn + ", and if there are none"},
		{Name: "hops", Type: "number", Is: "by how much the TTL of the newest packet was decreased", Absent: conn},
		{Name: "delay.count", Type: "number", Unit: "packets", Is: "packets that are in both captures", Absent: none},
		{Name: "delay.min", Type: "number", Unit: ofSeconds, Is: "the shortest one-way delay", Absent: none},
		{Name: "delay.p50", Type: "number", Unit: ofSeconds, Is: "half of them took at most this long", Absent: none},
		{Name: "delay.p90", Type: "number", Unit: ofSeconds, Is: "90 % of them took at most this long", Absent: none},
		{Name: "delay.p99", Type: "number", Unit: ofSeconds, Is: "99 % of them took at most this long", Absent: none},
		{Name: "delay.max", Type: "number", Unit: ofSeconds, Is: "the longest one-way delay", Absent: none},
		{Name: "delay.within", Type: "number", Unit: ofSeconds, Is: "each delay is wrong by no more, as far as the clocks are known", Absent: none + ", or nothing bounds the clocks"},
	}
}

func rewritingDocs() []FieldDoc {
	return []FieldDoc{
		{Name: "near.client", Type: "string", Is: "address and port of the client, at the tap before"},
		{Name: "near.server", Type: "string", Is: "address and port of the server there"},
		{Name: "far.client", Type: "string", Is: "address and port of the client, at this tap"},
		{Name: "far.server", Type: "string", Is: "address and port of the server here"},
	}
}

func lossyDocs() []FieldDoc {
	return []FieldDoc{
		{Name: "client", Type: "string", Is: "address and port of the client"},
		{Name: "server", Type: "string", Is: "address and port of the server"},
		{Name: "from_client", Type: "object", Is: "what happened to the packets of the client", Holds: "direction"},
		{Name: "from_server", Type: "object", Is: "what happened to the packets of the server", Holds: "direction"},
	}
}

func servicesDocs() []FieldDoc {
	const some, none = "in the row for all others", "there are none"
	return []FieldDoc{
		{Name: "addr", Type: "string", Is: "IP address", Absent: "in processes, and " + some},
		{Name: "port", Type: "number", Is: "TCP port", Absent: "in hosts and processes, and " + some},
		{Name: "process", Type: "string", Is: "program", Absent: "in services and hosts, and " + some},
		{Name: "names", Type: "array", Unit: "names", Is: "host names in the capture, at most ten", Absent: none},
		{Name: "others", Type: "number", Is: "how many share this last row", Absent: "the row is for one"},
		{Name: "connections", Type: "number", Is: "connections"},
		{Name: "open", Type: "number", Is: "of these, those that are still open"},
		{Name: "close_wait.client", Type: "number", Is: "clients in CLOSE_WAIT"},
		{Name: "close_wait.server", Type: "number", Is: "servers in CLOSE_WAIT"},
		{Name: "close_wait.oldest", Type: "number", Unit: ofSeconds, Is: "how long the oldest of them has been in it", Absent: none},
		{Name: "peer_closed.client", Type: "number", Is: "clients whose server closed first"},
		{Name: "peer_closed.server", Type: "number", Is: "servers whose client closed first"},
		{Name: "time_wait.client", Type: "number", Is: "clients in TIME_WAIT"},
		{Name: "time_wait.server", Type: "number", Is: "servers in TIME_WAIT"},
		{Name: "refused", Type: "number", Is: "attempts that a RST or an ICMP error ended"},
		{Name: "timed_out", Type: "number", Is: "attempts that got no answer"},
		{Name: "reset_by.client", Type: "number", Is: "connections that a RST of the client ended"},
		{Name: "reset_by.server", Type: "number", Is: "connections that a RST of the server ended"},
		{Name: "reset_by.middlebox", Type: "number", Is: "connections that a middlebox reset"},
		{Name: "closed_by.client", Type: "number", Is: "connections that the client closed first"},
		{Name: "closed_by.server", Type: "number", Is: "connections that the server closed first"},
		{Name: "closed_by.both", Type: "number", Is: "connections that both closed at the same time"},
		{Name: "packets", Type: "number", Unit: "segments", Is: "segments of both ends"},
		{Name: "retransmits", Type: "number", Unit: "segments", Is: "retransmitted segments, also counted in packets"},
		{Name: "retransmitted_share", Type: "number", Is: "retransmits / packets, from 0 to 1"},
		{Name: "handshake_rtt.count", Type: "number", Is: "handshakes with a known round-trip time", Absent: none},
		{Name: "handshake_rtt.p50", Type: "number", Unit: ofSeconds, Is: "half of them took at most this long", Absent: none},
		{Name: "handshake_rtt.p99", Type: "number", Unit: ofSeconds, Is: "99 % of them took at most this long", Absent: none},
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
	for _, g := range Groups()[:7] {
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

func limitDocs() []FieldDoc {
	return []FieldDoc{
		{Name: "limit", Type: "string", Is: "its name"},
		{Name: "cut", Type: "number", Is: "how many were left out"},
		{Name: "text", Type: "string", Is: "of what, and what became of them"},
	}
}

func passedDocs() []FieldDoc {
	return []FieldDoc{
		{Name: "header", Type: "string", Is: "the header"},
		{Name: "why", Type: "string", Is: "not opened, encrypted, in pieces, or compressed"},
		{Name: "packets", Type: "number", Unit: "packets", Is: "packets"},
	}
}
