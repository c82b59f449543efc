package tracker

import (
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Step is one state in the history of an end.
type Step struct {
	Time   tcp.Time
	Packet int // the frame that caused it; 0 for a timer
	State  tcp.State
	Inputs tcp.InputSet // what happened; empty where it was first seen there, midway
	Basis  tcp.Basis
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
	Certainty tcp.Certainty
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
	Origin       tcp.Origin
	ClosedBy     tcp.ClosedBy
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

// fill makes r tell what is known of the connection now. It reuses what r
// holds.
func (t *Tracker) fill(r *Record, c *Conn) {
	*r = Record{
		Conn:        int(c.id),
		Incarnation: int(c.incarnation),
		Ends:        r.Ends,
		Origin:      c.origin(),
		ClosedBy:    c.closedBy(),
		Start:       c.start,
		End:         c.last(),
		Anomalies:   r.Anomalies[:0],
	}
	for e := range tcp.Endpoint(2) {
		t.fillEnd(&r.Ends[e], c, e)
	}
	if up, ok := c.find(tcp.Server, tcp.RcvAckOfSYN); ok && c.odd.openedOnce() && c.ends[tcp.Client].has(sentSYN) {
		if syn, ok := c.find(tcp.Client, tcp.SndSYN); ok && syn.basis() == tcp.BySending {
			r.HandshakeRTT = up.at.Sub(syn.at)
		}
	}
	r.Anomalies = append(r.Anomalies, t.book.Of(c)...)
}

func (t *Tracker) fillEnd(r *EndRecord, c *Conn, e tcp.Endpoint) {
	x, y := &c.ends[e], &c.ends[e.Peer()]
	*r = EndRecord{
		Addr:        c.addr(e),
		State:       x.assumed.Shown(),
		Certainty:   c.certainty(e, t.machine.now),
		Proved:      x.proved.Only(),
		Packets:     uint64(x.packets),
		Bytes:       x.bytes,
		ISN:         x.iss,
		HasISN:      x.has(hasISS),
		MSS:         x.mss,
		WindowScale: -1,
		SACK:        x.has(sackOK),
		Timestamps:  x.has(hasTS),
		Window:      x.window(y),
		Listener:    x.has(sentSYNACK) && !x.has(sentSYN),
		History:     r.History[:0],
	}
	if x.has(hasShift) {
		r.WindowScale = int(x.shift())
	}
	if x.seen() && y.has(hasAcked) && y.acked.Before(x.nxt) {
		r.Unacked = uint64(x.nxt.Minus(y.acked))
	}
	if c.odd != nil {
		r.Retransmits, r.RetransmittedBytes = c.odd.retransmits[e], c.odd.retransmittedBytes[e]
	}
	if due, kind := t.machine.deadline(c, e); kind != "" && due > t.machine.now {
		r.Timer = Timer{Kind: kind, Remaining: due.Sub(t.machine.now).Round(10 * time.Microsecond)}
	}
	r.Possible = c.possible(e, r.Certainty)
	for _, st := range c.steps() {
		if st.end() == e {
			r.History = append(r.History, Step{Time: st.at, Packet: st.packet(), State: st.state(), Inputs: st.inputs(), Basis: st.basis()})
		}
	}
}
