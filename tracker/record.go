package tracker

import (
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/certain"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/halfclosed"
	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Step is one state in the history of an end.
type Step struct {
	Time   tcp.Time
	Packet int       // the frame that caused it; 0 for a timer
	Place  tcp.Place // of that, where captures of several places are followed, if who reads them has set it
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
	Name      string    // of the host, if who reads the capture has set it; the tracker knows none
	State     tcp.State // the assumed view
	Certainty tcp.Certainty
	Proved    tcp.State    // the proved view; Unknown where the packets cannot tell
	Possible  tcp.StateSet // where more than one state remains possible, all of them; else empty

	// Since is when the end entered State, or was first seen in it; 0 where no step
	// of its history says so. TimeInState is how long it has been in it when the
	// Record is taken; 0 for one that is CLOSED: its connection is gone.
	Since       tcp.Time
	TimeInState time.Duration

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
	Listener    bool   // it accepted a SYN, as its SYN+ACK shows or what followed
	OnHost      bool   // the capture was made on its host, as Config.TapOn or the packets say

	Socket *tcp.Socket // what the kernel of its host says, if who reads the capture has asked; nil: nothing. It is not written to

	Stack          tcp.StackID // whose timers and choices it is taken to have
	StackCertainty tcp.StackCertainty

	Timer   Timer
	History []Step
}

// PeerClosed reports whether the peer of the end closed the connection first, and
// the end has closed it too, or still can.
func (r *EndRecord) PeerClosed() bool {
	n, before := 0, tcp.Unknown
	for _, st := range r.History {
		n, before = n+halfclosed.Change(before, st.State, st.Inputs), st.State
	}
	return n > 0 || r.State == tcp.CloseWait
}

// A Record is what is known of one connection at one moment.
type Record struct {
	Conn         int // from 1, in the order of first packets
	Incarnation  int // 1 for the first connection seen on its addresses and ports
	Ends         [2]EndRecord
	Origin       tcp.Origin
	ClosedBy     tcp.ClosedBy
	ResetBy      tcp.ResetBy
	HandshakeRTT time.Duration // from the SYN to the ACK that ends the handshake, at the tap; 0: not seen, or a SYN was repeated
	Start, End   tcp.Time      // its first and last packet
	Anomalies    []anomaly.Anomaly
}

// Names returns the names of both ends, as far as they are known.
func (r *Record) Names() [2]string {
	return [2]string{r.Ends[tcp.Client].Name, r.Ends[tcp.Server].Name}
}

// Clone returns a copy that the tracker does not write to again.
func (r *Record) Clone() *Record {
	c := *r
	for e := range c.Ends {
		c.Ends[e].History = append([]Step(nil), r.Ends[e].History...)
	}
	c.Anomalies = append([]anomaly.Anomaly(nil), r.Anomalies...)
	return &c
}

// Explained reports whether another anomaly of the connection tells better what a
// tells: it supersedes a's kind, and is of the same end or rests on the same frames.
func (r *Record) Explained(a *anomaly.Anomaly) bool {
	return slices.ContainsFunc(r.Anomalies, func(b anomaly.Anomaly) bool {
		return slices.Contains(b.Supersedes, a.Kind) && (a.End == b.End || share(a.Evidence, b.Evidence))
	})
}

// share reports whether two lists have a frame in common.
func share(a, b []int) bool {
	return slices.ContainsFunc(a, func(frame int) bool { return slices.Contains(b, frame) })
}

// fill makes r tell what is known of the connection now. It reuses what r
// holds.
func (t *Tracker) fill(r *Record, c *conn.Conn) {
	// One by one: to copy the ends along took a third of the time of a connection's end.
	r.Conn, r.Incarnation, r.Origin, r.ClosedBy = int(c.ID), int(c.Incarnation), c.Origin(), c.ClosedBy()
	r.Start, r.End, r.HandshakeRTT, r.Anomalies = c.Start, c.Last(), 0, r.Anomalies[:0]
	for e := range tcp.Endpoint(2) {
		t.fillEnd(&r.Ends[e], c, t.machine.Role(c, e))
	}
	if up, ok := c.Find(tcp.Server, tcp.RcvAckOfSYN); ok && c.Rare.OpenedOnce() && c.Ends[tcp.Client].Has(endpoint.SentSYN) {
		if syn, ok := c.Find(tcp.Client, tcp.SndSYN); ok && syn.Basis() == tcp.BySending {
			r.HandshakeRTT = up.At.Sub(syn.At)
		}
	}
	r.Anomalies = append(r.Anomalies, t.book.Of(c)...)
	if t.machine.Role(c, tcp.Client) != tcp.Client {
		r.ClosedBy = r.ClosedBy.Swapped()
		for i := range r.Anomalies {
			r.Anomalies[i].End = r.Anomalies[i].End.Peer()
		}
	}
	r.ResetBy = t.resetBy(c, r.Anomalies)
}

func (t *Tracker) fillEnd(r *EndRecord, c *conn.Conn, e tcp.Endpoint) {
	subject, peer := &c.Ends[e], &c.Ends[e.Peer()]
	history := r.History[:0]
	*r = EndRecord{Proved: subject.Proved.Only()}
	r.Addr, r.State, r.Certainty = c.Addr(e), subject.Assumed.Shown(), certain.Of(t.machine, c, e)
	r.Packets, r.Bytes, r.ISN, r.MSS, r.Window = uint64(subject.Packets), subject.Bytes, subject.ISS, subject.MSS, subject.Window(peer)
	r.HasISN, r.SACK, r.Timestamps = subject.Has(endpoint.HasISS), subject.Has(endpoint.SackOK), subject.Has(endpoint.HasTS)
	r.OnHost = t.machine.OnHost(c, e)
	r.WindowScale, r.Listener, r.History = -1, e == tcp.Server && c.Accepted(), history
	r.Stack, r.StackCertainty = t.machine.StackOf(subject)
	if subject.HasShift() {
		r.WindowScale = int(subject.Shift())
	}
	if subject.Seen() && peer.Has(endpoint.HasAcked) && peer.Acked.Before(subject.Nxt) {
		r.Unacked = uint64(subject.Nxt.Minus(peer.Acked))
	}
	if c.Rare != nil {
		r.Retransmits, r.RetransmittedBytes = c.Rare.Retransmits[e], c.Rare.RetransmittedBytes[e]
	}
	if due, kind := t.machine.Deadline(c, e); kind != "" && due > t.machine.Now {
		r.Timer = Timer{Kind: kind, Remaining: due.Sub(t.machine.Now).Round(10 * time.Microsecond)}
	}
	r.Possible = certain.Possible(c, e, r.Certainty, t.machine.Now)
	for _, st := range c.Steps() {
		if st.End() == e {
			r.History = append(r.History, Step{Time: st.At, Packet: st.Packet(), State: st.State(), Inputs: st.Inputs(), Basis: certain.BasisOf(t.machine, c, st)})
		}
	}
	if last := len(r.History) - 1; last >= 0 && r.History[last].State == r.State {
		r.Since = r.History[last].Time
		if r.State != tcp.Closed {
			r.TimeInState = t.machine.Now.Sub(r.Since)
		}
	}
}

// inNameOf are the kinds of anomalies that say that a RST, which is among their
// evidence, was not sent by the end that it names.
var inNameOf = []string{"forged-rst", "forged-between", "connection-tampering", "middlebox-idle-drop"}

// resetBy is whose RST ended the connection: the first that ends the history of an
// end, unless one of the anomalies, whose ends are roles, says that it was sent in
// the name of an end. An attempt that went on for want of an answer has timed out.
func (t *Tracker) resetBy(c *conn.Conn, odd []anomaly.Anomaly) tcp.ResetBy {
	sent, taken := tcp.SndRST.Set()|tcp.NoTCB.Set(), tcp.RcvRST.Set()|tcp.RcvRSTPassive.Set()
	if by := c.ClosedBy(); c.Past&conn.Past(sent|taken) == 0 || by == tcp.ByTimeoutOfEnd || by == tcp.ByUnreachable || by == tcp.BySuperseded {
		return tcp.NotReset
	}
	for i, st := range c.Steps() {
		by := st.End()
		switch subject := &c.Ends[by]; {
		case slices.ContainsFunc(c.Steps()[i+1:], func(later history.Step) bool { return later.End() == by }):
			continue
		case st.Inputs()&taken != 0:
			by = by.Peer()
		case st.Inputs()&sent == 0:
			continue
		case st.Basis() == tcp.ByAssumption || st.At > subject.SentAt:
			continue // no RST of its own shows it: it opened a new connection on its ports
		}
		role := t.machine.Role(c, by)
		named := func(a anomaly.Anomaly) bool {
			return slices.Contains(inNameOf, a.Kind) && (a.End == role || a.Kind == "middlebox-idle-drop") && slices.Contains(a.Evidence, st.Packet())
		}
		switch {
		case c.ClosedBy() == tcp.ByMiddlebox || slices.ContainsFunc(odd, named):
			return tcp.ResetByMiddlebox
		case role == tcp.Client:
			return tcp.ResetByClient
		}
		return tcp.ResetByServer
	}
	return tcp.NotReset
}
