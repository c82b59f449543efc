package conn

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// Guards is a set of what is true of few connections, or of few moments of one.
// A check that finds nothing elsewhere names one, and is not asked there: that
// spares half of all questions that the triggers of a short connection ask for.
type Guards uint16

const (
	IfRare       Guards = 1 << iota // there is rare state
	IfReset                         // a RST was received by an end
	IfSuccessor                     // an older connection is known on the same addresses and ports
	IfMidstream                     // neither SYN nor SYN+ACK was captured
	IfFromSYNACK                    // its SYN was not captured, but the SYN+ACK
	IfBothSYN                       // both ends sent a SYN without ACK
	IfOneSided                      // of the peer nothing was captured
	IfFinished                      // the end sent its FIN, or somebody one in the name of either
	IfWasClosed                     // the end was CLOSED before
	IfWasSynSent                    // the end was in SYN-SENT before
	IfHalfClosed                    // the end is in FIN-WAIT-2 or CLOSE-WAIT, or was before
	IfRST                           // the segment is a RST

	NumGuards = iota
)

// Guards returns what is true of the scene.
func (h *Scene) Guards() (is Guards) {
	x, y := &h.Ends[h.From], &h.Ends[h.From.Peer()]
	if h.Rare != nil {
		is |= IfRare
	}
	if h.Past&Past(tcp.RcvRST.Set()) != 0 {
		is |= IfReset
	}
	if h.Older() != nil {
		is |= IfSuccessor
	}
	if h.Conn.Bits&OriginMidstream != 0 {
		is |= IfMidstream
	}
	if h.Conn.Bits&OriginSYNACK != 0 {
		is |= IfFromSYNACK
	}
	if x.Bits&y.Bits&SentSYN != 0 {
		is |= IfBothSYN
	}
	if !y.Seen() {
		is |= IfOneSided
	}
	if x.Has(HasFIN) || h.Rare != nil && h.Rare.denied != nil {
		is |= IfFinished
	}
	before := h.Before.States[h.From]
	if before == tcp.Closed.Set() {
		is |= IfWasClosed
	}
	if before == tcp.SynSent.Set() {
		is |= IfWasSynSent
	}
	if (before|x.Assumed)&(tcp.FinWait2.Set()|tcp.CloseWait.Set()) != 0 {
		is |= IfHalfClosed
	}
	if h.On&OnRST != 0 {
		is |= IfRST
	}
	return is
}
