package tcp

// An Endpoint is one of the two ends of a connection.
type Endpoint uint8

const (
	Client Endpoint = iota // opened actively: sent the first SYN, as far as was seen
	Server
)

func (e Endpoint) String() string { return [...]string{"client", "server"}[e] }

// Peer returns the other end.
func (e Endpoint) Peer() Endpoint { return 1 - e }

// Origin says how a connection came into sight.
type Origin uint8

const (
	FromSYN       Origin = iota // its SYN was captured
	FromSYNACK                  // the first segment captured was its SYN+ACK
	FromMidstream               // it was open when the capture began
)

func (o Origin) String() string { return [...]string{"syn", "syn-ack", "midstream"}[o] }

// Certainty says how sure a state is.
type Certainty uint8

const (
	Assumed  Certainty = iota // it follows if what was seen on the wire arrived
	Settled                   // nothing contradicted it for longer than a retransmission would have taken, or a timer says so
	Observed                  // the capture was made on the end's host, and shows what came in there
	Proved                    // the end's own segments show it
	Kernel                    // the kernel of the end's host says so, see Socket

	NumCertainties
)

func (c Certainty) String() string {
	return [...]string{"assumed", "settled", "observed", "proved", "kernel"}[c]
}

// Basis says why a step in an end's history was taken.
type Basis uint8

const (
	BySending    Basis = iota // the end's own segment
	ByAssumption              // the peer's segment was seen, and so taken as received
	ByProof                   // the end's own later segments show it
	ByCorrection              // in the place of a step that later packets refuted
	ByArrival                 // the peer's segment was seen to come in on the end's host, which must take it
	ByTimer                   // a timer of the end's stack

	NumBases
)

func (b Basis) String() string {
	return [...]string{"sent", "assumed", "proved", "corrected", "observed", "timer"}[b]
}

// ClosedBy says who ended a connection. The zero ClosedBy means that nobody
// has yet.
type ClosedBy uint8

const (
	NotClosed ClosedBy = iota
	ByClient           // the client sent the first FIN
	ByServer
	ByBoth        // simultaneous close: neither FIN acknowledges the other (RFC 9293 §3.6)
	ByClientReset // the client aborted
	ByServerReset
	ByRefusal      // the SYN was answered by a RST
	ByUnreachable  // an ICMP error ended the attempt
	ByTimeoutOfEnd // nobody answered
	BySuperseded   // it was open when a new connection took its addresses and ports

	ByMiddlebox // a RST that the end it names did not send

	NumClosedBy // how many there are
)

func (c ClosedBy) String() string {
	return [...]string{"", "client", "server", "both", "client-reset", "server-reset", "refused", "unreachable", "timeout", "superseded", "middlebox"}[c]
}

// Swapped returns it for the client taken as the server, and the server as the
// client.
func (c ClosedBy) Swapped() ClosedBy {
	switch c {
	case ByClient, ByClientReset:
		return c + 1
	case ByServer, ByServerReset:
		return c - 1
	}
	return c
}

// ResetBy says whose RST ended a connection, by the best reading. The zero ResetBy
// means that none did.
type ResetBy uint8

const (
	NotReset ResetBy = iota
	ResetByClient
	ResetByServer
	ResetByMiddlebox // sent in the name of an end by something between the two

	NumResetBy // how many there are
)

func (r ResetBy) String() string { return [...]string{"", "client", "server", "middlebox"}[r] }

// Views is the state of one end in both views.
type Views struct {
	State  State // the assumed view
	Proved State // the proved view; Unknown where the packets cannot tell
}

// A Skip is why a segment was not taken in. The zero Skip says that it was.
type Skip uint8

const (
	NotSkipped      Skip = iota
	CapturedTwice        // it is a second record of a packet
	BadChecksum          // it was damaged on the way: its receiver drops it, as what follows
	UnsignedSegment      // it lacks the signature that both ends agreed on
	OldTimestamp         // its timestamp is older than one that its receiver has taken (PAWS)
	OutsideWindow        // its numbers lie outside what its receiver accepts
	NoACK                // it lacks the ACK bit
	AckOfUnsent          // it acknowledges what its receiver never sent
	AckTooOld            // it acknowledges less than a window ago
	InexactRST           // a RST whose number is not the next that its receiver expects
	UnaskedRST           // a RST that does not acknowledge the SYN
	IgnoredRST           // a RST that its receiver ignores in that state
	NothingToReset       // a RST whose receiver has no connection
	StrayICMP            // an ICMP error about a segment that is not on its way
	Held                 // what follows is to show whether its receiver takes it
	DoubtedRST           // the same of a RST

	NumSkips
)

// skips has a name and the words for each, and where the refusal is asked for.
var skips = [NumSkips]struct{ name, text, rfc string }{
	NotSkipped:      {},
	CapturedTwice:   {"captured-twice", "captured twice", ""},
	BadChecksum:     {"bad-checksum", "its checksum is wrong", "RFC 9293 §3.1"},
	UnsignedSegment: {"unsigned-segment", "it lacks the signature that both SYNs carry", "RFC 2385 §2.0, RFC 5925 §7.3"},
	OldTimestamp:    {"old-timestamp", "its receiver has echoed a newer timestamp", "RFC 7323 §5.3"},
	OutsideWindow:   {"outside-window", "its sequence number is outside the window", "RFC 9293 §3.10.7.4"},
	NoACK:           {"no-ack", "it lacks the ACK flag", "RFC 9293 §3.10.7.4"},
	AckOfUnsent:     {"ack-of-unsent", "it acknowledges what its receiver never sent", "RFC 5961 §5"},
	AckTooOld:       {"ack-too-old", "its ACK number is more than a window old", "RFC 5961 §5"},
	InexactRST:      {"inexact-rst", "its sequence number is not the next", "RFC 5961 §3"},
	UnaskedRST:      {"unasked-rst", "it does not acknowledge the SYN", "RFC 9293 §3.10.7.3"},
	IgnoredRST:      {"ignored-rst", "its receiver ignores RSTs in this state", "RFC 1337 §3"},
	NothingToReset:  {"nothing-to-reset", "its receiver has no connection", "RFC 9293 §3.10.7.1, §3.10.7.2"},
	DoubtedRST:      {"doubted-rst", "its sequence number is not the next, but its receiver may accept it: the next segment of the receiver shows", "RFC 5961 §3"},
	StrayICMP:       {"stray-icmp", "it quotes a sequence number that is not in flight", "RFC 5927 §4.1"},
	Held:            {"held-fin", "held until a later segment shows whether its receiver accepted it", "RFC 9293 §3.10.7.4"},
}

func (s Skip) String() string { return skips[s].text }

// Name is the reason in a word, as ladders have it; "" for none.
func (s Skip) Name() string { return skips[s].name }

// Refused reports whether it is the receiver that does not take the segment.
func (s Skip) Refused() bool { return s > CapturedTwice && s < Held }

// RFC is where a receiver is told to refuse the segment; "" where none does.
func (s Skip) RFC() string { return skips[s].rfc }
