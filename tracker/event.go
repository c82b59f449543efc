package tracker

import (
	"net/netip"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// EventKind is what an Event reports.
type EventKind uint8

const (
	EventTransition EventKind = iota // an end changed its state in the assumed view
	EventAnomaly                     // an anomaly was found
	EventConnection                  // a connection will not change any more
	EventOpen                        // a connection came into sight
	EventRefused                     // the receiver of a segment refuses it, or was not seen to take it yet; End sent it, Skipped says why
	EventSegment                     // if Config.Segments: a segment, or a timer of a connection, was seen to; it follows all that came of it
)

// An Event is what the tracker tells its caller. It is a flat value: who
// keeps one copies it.
type Event struct {
	Kind   EventKind
	Time   tcp.Time
	Packet int // the frame that caused it; 0 for a timer
	Conn   int // the connection's number; 0 for an anomaly over many connections, and while a SYN that was seen may yet prove forged or old

	Client, Server netip.AddrPort // of the connection

	End tcp.Endpoint // that moved, or sent

	// Of an EventTransition. Bytes are the payload octets that each end had sent.
	Bytes    [2]uint64
	From, To tcp.State
	Inputs   tcp.InputSet // what happened to the end; empty where it was first seen there, midway
	Refuted  bool         // it did not happen: Inputs are taken back
	Basis    tcp.Basis

	// Of an EventOpen, in which End sent the first segment.
	Origin      tcp.Origin
	Incarnation int       // as in Record
	Flags       tcp.Flags // of that segment
	Seq, Ack    tcp.Seq   // of that segment
	ID          uint16    // of that segment

	// Of an EventSegment, and Skipped of an EventRefused: what both hosts then have on the connection's addresses
	// and ports, which after a new SYN may be an older connection still.
	Ends    [2]tcp.Views
	Skipped tcp.Skip // why the segment was not taken in

	Anomaly *anomaly.Anomaly // of an EventAnomaly
	Record  *Record          // of an EventConnection; lent for the call only, see Record.Clone
}
