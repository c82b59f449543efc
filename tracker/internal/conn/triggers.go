package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// oddOn are the occasions on which something odd happens to a connection. Those
// of an ordinary opening or close, and a window that moves, are not among them.
const oddOn = OnRepeat | OnKeepalive | OnStale | OnForeign | OnGap | OnFlags | OnBelow | OnBeyond | OnWrap | OnAmongStale | OnAwaited | OnChallenge

// windowMoved reports whether the window of the end is closed, reopens, or shrinks
// by more than scaling rounds off. That of a SYN is not scaled, and often larger
// than those after it.
func (c *Conn) windowMoved(s *tcp.Segment, from tcp.Endpoint, on Triggers) bool {
	x, scale := &c.Ends[from], c.Ends[from].Scale(&c.Ends[from.Peer()])
	return on&OnWindow != 0 && (s.Wnd == 0 || x.Wnd == 0 || s.Flags&tcp.FIN == 0 && x.Bytes > 0 && s.Ack.Add(tcp.Size(s.Wnd+1)<<scale).Before(x.Edge))
}

// triggersOf returns what is noteworthy of a segment that is not a RST.
func (c *Conn) triggersOf(s *tcp.Segment, from tcp.Endpoint, r Reading) (on Triggers) {
	x, y := &c.Ends[from], &c.Ends[from.Peer()]
	if s.Flags&(tcp.SYN|tcp.FIN|tcp.ACK|tcp.URG) != tcp.ACK || s.Urg != 0 {
		switch {
		case s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN:
			on |= OnSYN
		case s.Flags&tcp.SYN != 0:
			on |= OnSYNACK
		}
		if s.Flags&tcp.FIN != 0 {
			on |= OnFIN
		}
		if s.Flags&(tcp.SYN|tcp.ACK) == 0 || s.Flags&(tcp.SYN|tcp.FIN) == tcp.SYN|tcp.FIN || s.Flags&tcp.URG != 0 || s.Urg != 0 {
			on |= OnFlags
		}
	}
	if r.Old {
		on |= OnRepeat
	}
	if r.Keepalive {
		on |= OnKeepalive
	}
	if r.Stale {
		on |= OnStale
	}
	if r.Foreign {
		on |= OnForeign
	}
	if s.Flags&tcp.ACK != 0 && x.Seen() && !r.Stale {
		if edge := s.Ack.Add(tcp.Size(s.Wnd) << x.Scale(y)); s.Wnd == 0 || x.Wnd == 0 || edge.Before(x.Edge) && s.Flags&tcp.SYN == 0 {
			on |= OnWindow
		}
	}
	if y.Seen() && s.Flags&tcp.ACK != 0 && y.Nxt.Before(s.Ack) || x.Seen() && x.Nxt.Before(s.Seq) {
		on |= OnGap
	}
	if y.Has(HasAcked) && x.Seen() {
		if s.Seq.Before(y.Acked) {
			on |= OnBelow
		}
		if y.Edge.AtMost(s.Seq) && s.Data > 0 && c.ScaleKnown() {
			on |= OnBeyond
		}
		if end := s.End(); x.Nxt.Before(end) && end.Minus(x.ISS) < x.Nxt.Minus(x.ISS) {
			on |= OnWrap
		}
	}
	if c.Bits&awaited != 0 {
		on |= OnAwaited
	}
	on |= c.qualityOf(s, from)
	if c.Bits&challenged != 0 {
		on |= OnChallenge
	}
	if x.Assumed != Up || y.Assumed != Up || x.Proved != Up || y.Proved != Up {
		on |= OnUnsettled
	}
	if c.Bits&amongStale != 0 {
		on |= OnAmongStale
	}
	return on
}

// qualityOf returns OnQuality where the capture has the segment other than it
// was on the wire.
func (c *Conn) qualityOf(s *tcp.Segment, from tcp.Endpoint) Triggers {
	if s.Cut == tcp.CutOptions || s.Fragment || s.Sum > tcp.SumGood || s.Data > c.Largest(from) {
		return OnQuality
	}
	return 0
}
