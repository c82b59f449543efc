package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Guards returns what is true of the scene.
func (h *Scene) Guards() (is triggers.Guards) {
	snd, rcv := &h.Ends[h.From], &h.Ends[h.From.Peer()]
	if h.Rare != nil {
		is |= triggers.IfRare
	}
	if h.Past&Past(tcp.RcvRST.Set()) != 0 {
		is |= triggers.IfReset
	}
	if h.Older() != nil {
		is |= triggers.IfSuccessor
	}
	if h.Conn.Bits&OriginMidstream != 0 {
		is |= triggers.IfMidstream
	}
	if h.Conn.Bits&OriginSYNACK != 0 {
		is |= triggers.IfFromSYNACK
	}
	if snd.Bits&rcv.Bits&endpoint.SentSYN != 0 {
		is |= triggers.IfBothSYN
	}
	if !rcv.Seen() {
		is |= triggers.IfOneSided
	}
	if snd.Has(endpoint.HasFIN) || h.Rare != nil && h.Rare.denied != nil {
		is |= triggers.IfFinished
	}
	before := h.Before.States[h.From]
	if before == tcp.Closed.Set() {
		is |= triggers.IfWasClosed
	}
	if before == tcp.SynSent.Set() {
		is |= triggers.IfWasSynSent
	}
	if (before|snd.Assumed)&(tcp.FinWait2.Set()|tcp.CloseWait.Set()) != 0 {
		is |= triggers.IfHalfClosed
	}
	if h.On&triggers.OnRST != 0 {
		is |= triggers.IfRST
	}
	return is
}
