// Package reuse looks at addresses and ports that are used again within the
// TIME-WAIT of the connection before.
package reuse

import (
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/history"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// LinuxISNStep is what Linux adds to the number after the last of the old
// connection for the first of the new one, at an end that leaves TIME-WAIT for
// it, as acceptor and, with tcp_tw_reuse, as opener.
const LinuxISNStep = 65537

// SegmentLife is the maximum segment lifetime of RFC 9293 §3.4.2: older
// segments wander no more.
const SegmentLife = 120 * time.Second

// A Case is a connection that was just opened, seen beside the one before it
// on the same addresses and ports. Its ends are those of the new connection.
type Case struct {
	Old        *conn.Conn
	Holder     tcp.Endpoint  // the end that had the duty to hold TIME-WAIT
	HolderThen tcp.Endpoint  // the same, as an end of the old connection
	Began      history.Step  // the last step of its old self before the new connection
	Age        time.Duration // from there, or from what restarted TIME-WAIT, to the new SYN
	Hold       time.Duration // how long TIME-WAIT is to be held
	Held       bool          // nothing was seen to end TIME-WAIT before the new SYN

	Behind   [2]bool // the end's first number is not above its old ones, and no newer timestamp tells the two apart
	Overlaps [2]bool // the same, and there were octets of data that can be taken for new ones
	ByTime   [2]bool // the end's timestamps are newer than its old ones
	older    [2]bool // the end's timestamps are older: those of another host, perhaps
}

// Of tells of the connection before, if the segment completes a handshake
// within the TIME-WAIT of it, or within what would have been its TIME-WAIT had
// no RST ended it.
func Of(h *conn.Scene) (r Case, ok bool) {
	if h.S == nil || h.From != tcp.Client || h.Origin() != tcp.FromSYN || h.Before.States[tcp.Server] != tcp.SynReceived.Set() ||
		h.Ends[tcp.Server].Assumed&(tcp.SynReceived.Set()|tcp.Listen.Set()|tcp.Closed.Set()) != 0 || !h.Ends[tcp.Server].Has(endpoint.SentSYNACK) {
		return r, false
	}
	if r.Old = h.M.FormerOf(h.Conn); r.Old == nil {
		return r, false
	}
	syn, synACK := Opening(h)
	at := h.Start
	if syn != nil {
		at = syn.At
	}
	if !r.find(h, at) {
		return r, false
	}
	for e, s := range [2]*recent.Segment{tcp.Client: syn, tcp.Server: synACK} {
		subject, then := &h.Ends[e], r.Then(h, tcp.Endpoint(e))
		if !then.Seen() {
			continue // nothing to measure by
		}
		tsval := subject.TSVal
		if s != nil && s.TSVal != 0 {
			tsval = s.TSVal
		}
		if subject.Has(endpoint.HasTS) {
			r.ByTime[e] = !then.Has(endpoint.HasTS) || int32(tsval-then.TSVal) > 0
			r.older[e] = then.Has(endpoint.HasTS) && int32(tsval-then.TSVal) < 0
		}
		r.Behind[e] = subject.ISS.AtMost(then.Nxt) && !r.ByTime[e]
		r.Overlaps[e] = subject.ISS.Before(then.Nxt) && !r.ByTime[e] && then.Bytes > 0
	}
	return r, true
}

// find looks for the end that holds, or should hold, TIME-WAIT, and reports
// whether the SYN that was accepted, sent at the given time, came too early.
func (r *Case) find(h *conn.Scene, at tcp.Time) bool {
	for _, e := range [2]tcp.Endpoint{tcp.Server, tcp.Client} { // of two it is the acceptor that decides
		then := h.EndIn(r.Old, e)
		subject := &r.Old.Ends[then]
		r.Holder, r.HolderThen, r.Hold = e, then, h.M.TwoMSLOf(subject.Stack())
		var ok bool
		if r.Began, ok = IntoTimeWait(r.Old, then); ok {
			r.Held = true
			r.Age = max(0, subject.Clock.Age(h.Now)-h.Now.Sub(at))
			return r.Age < r.Hold
		}
		if r.Began.Inputs()&(tcp.RcvRST.Set()|tcp.NoTCB.Set()) != 0 && r.Old.Steps().Passed(then, tcp.TimeWait) {
			r.Age = at.Sub(r.Began.At)
			return 0 <= r.Age && r.Age < r.Hold
		}
	}
	// Neither end came to TIME-WAIT: was it a RST that spared them it?
	r.Holder, r.HolderThen = tcp.Server, h.EndIn(r.Old, tcp.Server)
	for _, st := range slices.Backward(r.Old.Steps()) {
		if st.At < at && st.Inputs()&(tcp.RcvRST.Set()|tcp.RcvRSTPassive.Set()|tcp.SndRST.Set()|tcp.NoTCB.Set()) != 0 {
			r.Began, r.Age = st, at.Sub(st.At)
			return r.Age < r.Hold
		}
	}
	return false
}

// Then returns what the host that is the end e now was in the old connection.
func (r *Case) Then(h *conn.Scene, e tcp.Endpoint) *endpoint.End {
	return &r.Old.Ends[h.EndIn(r.Old, e)]
}

// Acknowledged reports whether the holder was in TIME-WAIT indeed: it had
// acknowledged the FIN of the other end.
func (r *Case) Acknowledged() bool {
	subject, peer := &r.Old.Ends[r.HolderThen], &r.Old.Ends[r.HolderThen.Peer()]
	return subject.Has(endpoint.HasAcked) && peer.Has(endpoint.HasFIN) && peer.FIN.Before(subject.Acked)
}

// LinuxISN reports whether the end chose its first number as Linux does when it
// leaves TIME-WAIT: it remembered the old connection.
func (r *Case) LinuxISN(h *conn.Scene, e tcp.Endpoint) bool {
	iss := r.Then(h, e).Nxt.Add(LinuxISNStep)
	if iss == 0 {
		iss = 1
	}
	return h.Ends[e].Has(endpoint.HasISS) && h.Ends[e].ISS == iss
}

// OtherHost reports whether the end looks like another host behind the address
// of its old self: its segments come another way, or its clock is behind.
func (r *Case) OtherHost(h *conn.Scene, e tcp.Endpoint) bool {
	return r.older[e] || !endpoint.SameWay(h.Ends[e].TTL, r.Then(h, e).TTL)
}

// Live reports whether a window of the new connection holds octets that the old
// one sent within the life of a segment.
func (r *Case) Live(h *conn.Scene, at []tcp.Endpoint) bool {
	return slices.ContainsFunc(at, func(e tcp.Endpoint) bool {
		peer, then := &h.Ends[e.Peer()], h.EndIn(r.Old, e)
		lowest, any := tcp.Seq(0), false
		for g := range h.M.Recent.Back(r.Old) {
			if h.Now.Sub(g.At) > SegmentLife {
				break
			}
			if g.From == then && g.Data > 0 && (!any || g.Seq.Before(lowest)) {
				lowest, any = g.Seq, true
			}
		}
		return any && peer.Has(endpoint.HasAcked) && peer.Acked.Before(r.Old.Ends[then].Nxt) && lowest.Before(peer.Edge)
	})
}

// Opening returns the newest SYN and SYN+ACK of the connection, nil where they
// are not remembered any more.
func Opening(h *conn.Scene) (syn, synACK *recent.Segment) {
	for g := range h.Back() {
		switch {
		case synACK == nil && g.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK:
			synACK = g
		case syn == nil && g.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN:
			syn = g
		}
	}
	return syn, synACK
}

// IntoTimeWait returns the step by which the end came to the TIME-WAIT in which
// its steps leave it, or which a new connection ended.
func IntoTimeWait(c *conn.Conn, e tcp.Endpoint) (began history.Step, ok bool) {
	for _, st := range slices.Backward(c.Steps()) {
		if st.End() == e && !st.Reopens() {
			return st, st.State() == tcp.TimeWait
		}
	}
	return history.Step{}, false
}
