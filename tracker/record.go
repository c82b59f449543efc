package tracker

import (
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// An End names one of the two ends of a connection.
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
	Assumed Certainty = iota // it follows if what was seen on the wire arrived
	Settled                  // nothing contradicted it for longer than a retransmission would have taken, or a timer says so
	Proved                   // the end's own segments show it
)

func (c Certainty) String() string { return [...]string{"assumed", "settled", "proved"}[c] }

// Basis says why a step in an end's history was taken.
type Basis uint8

const (
	BySending    Basis = iota // the end's own segment
	ByAssumption              // the peer's segment was seen, and so taken as received
	ByProof                   // the end's own later segments show it
	ByCorrection              // in the place of a step that later packets refuted
	ByTimer                   // a timer of the end's stack
)

func (b Basis) String() string {
	return [...]string{"sent", "assumed", "proved", "corrected", "timer"}[b]
}

// A Step is one state in the history of an end.
type Step struct {
	Time   tcp.Time
	Packet int // the frame that caused it; 0 for a timer
	State  tcp.State
	Inputs tcp.InputSet // what happened; empty where it was first seen there, midway
	Basis  Basis
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
)

func (c ClosedBy) String() string {
	return [...]string{"", "client", "server", "both", "client-reset", "server-reset", "refused", "unreachable", "timeout"}[c]
}

// A Timer is one that runs at an end, in trace time.
type Timer struct {
	Kind      string        // "2msl", "fin-wait-2", "syn", "syn-ack", "fin"; "" where none runs
	Remaining time.Duration // until it fires
}

// An EndRecord is what is known of one end of a connection.
type EndRecord struct {
	Addr      netip.AddrPort
	State     tcp.State // the assumed view
	Certainty Certainty
	Proved    tcp.State    // the proved view; Unknown where the packets cannot tell
	Possible  tcp.StateSet // where more than one state remains possible, all of them; else empty

	Packets            uint64 // segments sent, capture duplicates not counted
	Bytes              uint64 // payload octets sent, each sequence number counted once
	Retransmits        uint64 // of Packets, those that carry only what was sent before
	RetransmittedBytes uint64 // payload octets sent again
	Unacked            uint64 // octets sent and not acknowledged yet: netstat's Send-Q

	ISN         tcp.Seq // initial sequence number; meaningful with HasISN
	HasISN      bool
	MSS         uint16 // from its SYN; 0: none seen
	WindowScale int    // shift that it announced for its windows; -1: none seen
	SACK        bool   // its SYN permitted SACK
	Timestamps  bool   // it sent timestamps
	Window      uint64 // the window it advertised last, scaled, in octets
	Listener    bool   // it answered a SYN with SYN+ACK

	Timer   Timer
	History []Step
}

// A Record is what is known of one connection at one moment.
type Record struct {
	Conn         int // from 1, in the order of first packets
	Incarnation  int // 1 for the first connection seen on its addresses and ports
	Ends         [2]EndRecord
	Origin       Origin
	ClosedBy     ClosedBy
	HandshakeRTT time.Duration // from the SYN to the ACK that ends the handshake, at the tap; 0: not seen, or a SYN was repeated
	Start, End   tcp.Time      // its first and last packet
	Anomalies    []Anomaly
}

// Clone returns a copy that the tracker does not write to again.
func (r *Record) Clone() *Record {
	c := *r
	for e := range c.Ends {
		c.Ends[e].History = append([]Step(nil), r.Ends[e].History...)
	}
	c.Anomalies = append([]Anomaly(nil), r.Anomalies...)
	return &c
}
