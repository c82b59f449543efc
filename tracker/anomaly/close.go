package anomaly

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What the checks ask of the way in which a connection closed.

// ClosedFirst reports whether the end sent its FIN before it had received its
// peer's: it, not the peer, goes through TIME-WAIT.
func (h *Case) ClosedFirst(x tcp.Endpoint) bool {
	for _, st := range h.Steps() {
		if st.End() == x && st.State() == tcp.LastAck {
			return false
		}
	}
	return h.Ends[x].Has(endpoint.HasFIN) && h.Ends[x.Peer()].Has(endpoint.HasFIN)
}

// TimeWaitHeld returns for how long the end had been in TIME-WAIT at the given
// time.
func (h *Case) TimeWaitHeld(x tcp.Endpoint, at tcp.Time) time.Duration {
	for _, st := range h.Steps() {
		if st.End() == x && st.State() == tcp.TimeWait {
			return at.Sub(st.At)
		}
	}
	return 0
}

// ResetBefore reports whether another RST had ended the connection before this
// one.
func (h *Case) ResetBefore() bool {
	for _, st := range h.Steps() {
		if st.Packet() != h.S.Packet && st.Inputs()&(tcp.SndRST.Set()|tcp.RcvRST.Set()|tcp.NoTCB.Set()) != 0 {
			return true
		}
	}
	return false
}

// EndedBefore returns when an end of the connection last changed its state
// before this segment.
func (h *Case) EndedBefore() (at tcp.Time) {
	for _, st := range h.Steps() {
		if st.At < h.Now && !st.Reopens() {
			at = max(at, st.At)
		}
	}
	return at
}

// StreamEnd is the number after the last octet of data captured of the end.
func (h *Case) StreamEnd(x tcp.Endpoint) tcp.Seq {
	if h.Ends[x].Has(endpoint.HasFIN) {
		return h.Ends[x].FIN
	}
	return h.Ends[x].Nxt
}

// SentSinceFIN returns how many octets the end has sent since it received its
// peer's FIN.
func (h *Case) SentSinceFIN(y tcp.Endpoint) tcp.Size {
	if e := &h.Ends[y]; e.Clean.Before(e.Nxt) {
		return e.Nxt.Minus(e.Clean)
	}
	return 0
}

// Over reports whether the end had no connection any more before this.
func (h *Case) Over(e tcp.Endpoint) bool {
	return h.Before.States[e]&^(tcp.Closed.Set()|tcp.Listen.Set()|tcp.Unknown.Set()) == 0
}

// Forgot reports whether the end's FIN-WAIT-2 was over, by its stack's timer,
// before this.
func (h *Case) Forgot(x tcp.Endpoint) bool {
	st, ok := h.Find(x, tcp.GiveUp)
	return ok && st.At < h.Now
}
