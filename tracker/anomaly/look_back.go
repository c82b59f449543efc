package anomaly

import (
	"iter"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What the checks ask of the recent segments of a connection.

// HandshakeDepth is among how many of the newest segments those of a handshake
// are looked for.
const HandshakeDepth = 64

// Earlier yields those before the one at hand, as far as one looks back for
// a single segment.
func (h *Case) Earlier() iter.Seq[*recent.Segment] { return recent.Part(h.Back(), 1, recent.LookBack) }

// Recent yields the newest, as many as every RST may look through.
func (h *Case) Recent() iter.Seq[*recent.Segment] { return recent.Part(h.Back(), 0, conn.MaxLookBack) }

// Newest returns the newest segment of the end before this one, or nil if that
// is forgotten.
func (h *Case) Newest(e tcp.Endpoint) *recent.Segment {
	for g := range h.Earlier() {
		if g.From == e {
			return g
		}
	}
	return nil
}

// LastDataOf returns the frame of the end's newest segment with data, and that
// of the ACK of it, as far as they are remembered.
func (h *Case) LastDataOf(x tcp.Endpoint) []int {
	ack := 0
	for g := range h.Back() {
		switch {
		case g.From != x && g.Flags&(tcp.ACK|tcp.RST) == tcp.ACK:
			ack = g.Packet // the oldest of the peer's that came after
		case g.From == x && g.Data > 0:
			return []int{g.Packet, ack}
		}
	}
	return nil
}

// LastAckOf returns the frame of the end's newest segment with an ACK.
func (h *Case) LastAckOf(x tcp.Endpoint) int {
	for g := range h.Back() {
		if g.From == x && g.Flags&(tcp.ACK|tcp.RST) == tcp.ACK {
			return g.Packet
		}
	}
	return 0
}

// Handshake yields the connection's segments before the one at hand, the newest
// first, as far back as a handshake is looked for.
func (h *Case) Handshake() iter.Seq[*recent.Segment] {
	return func(yield func(*recent.Segment) bool) {
		n := 0
		for g := range h.Back() {
			if h.S != nil && g.Packet == h.S.Packet {
				continue
			}
			if n++; n > HandshakeDepth || !yield(g) {
				return
			}
		}
	}
}

// LastSent returns the newest earlier segment of the end that has exactly
// these of the SYN and ACK bits.
func (h *Case) LastSent(e tcp.Endpoint, flags tcp.Flags) (recent.Segment, bool) {
	for g := range h.Handshake() {
		if g.From == e && g.Opens(flags) {
			return *g, true
		}
	}
	return recent.Segment{}, false
}

// FramesOf returns the frames of all the end's segments with exactly these of
// the SYN and ACK bits, and of the one at hand if it is a SYN.
func (h *Case) FramesOf(e tcp.Endpoint, flags tcp.Flags) (frames []int) {
	for g := range h.Handshake() {
		if g.From == e && g.Opens(flags) {
			frames = append(frames, g.Packet)
		}
	}
	if h.S != nil && h.S.Flags&tcp.SYN != 0 {
		frames = append(frames, h.S.Packet)
	}
	return frames
}

// CountOf counts the end's earlier segments with exactly these of the SYN and
// ACK bits.
func (h *Case) CountOf(e tcp.Endpoint, flags tcp.Flags) (n int) {
	for g := range h.Handshake() {
		if g.From == e && g.Opens(flags) {
			n++
		}
	}
	return n
}

// WasOpen reports whether the end was in ESTABLISHED once.
func (h *Case) WasOpen(e tcp.Endpoint) bool {
	if h.Origin() == tcp.FromMidstream {
		return true
	}
	for _, st := range h.Steps() {
		if st.End() == e && st.State() == tcp.Established {
			return true
		}
	}
	return false
}

// HasBeyond reports whether the end reported octets by SACK that lie behind a hole.
func (h *Case) HasBeyond(e tcp.Endpoint) bool {
	return h.Rare != nil && h.Rare.SACKed[e] != tcp.Block{} && h.Ends[e].Acked.Before(h.Rare.SACKed[e].Right)
}

// Lost is what a finding says besides of a segment among its evidence that captures of
// several places show to have been lost.
var Lost = Phrase{Name: "lost", Text: " The captures show that #{lost} was lost on the way."}

// SayLost has the finding say Lost, if there is such a segment.
func (h *Case) SayLost(f *Finding) {
	for g := range h.Recent() {
		if g.Is&recent.WasLost != 0 && slices.Contains(f.Evidence, g.Packet) {
			f.Values["lost"] = g.Packet
			f.Say(Lost.Name)
			return
		}
	}
}
