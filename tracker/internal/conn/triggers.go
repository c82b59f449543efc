package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// oddOn are the occasions on which something odd happens to a connection. Those
// of an ordinary opening or close, and a window that moves, are not among them.
const oddOn = triggers.OnRepeat | triggers.OnKeepalive | triggers.OnStale | triggers.OnForeign | triggers.OnGap | triggers.OnFlags | triggers.OnBelow | triggers.OnBeyond | triggers.OnWrap | triggers.OnAmongStale | triggers.OnAwaited | triggers.OnChallenge

// windowMoved reports whether the window of the end is closed, reopens, or shrinks
// by more than scaling rounds off. That of a SYN is not scaled, and often larger
// than those after it.
func (c *Conn) windowMoved(s *tcp.Segment, from tcp.Endpoint, on triggers.Set) bool {
	snd, scale := &c.Ends[from], c.Ends[from].Scale(&c.Ends[from.Peer()])
	return on&triggers.OnWindow != 0 && (s.Wnd == 0 || snd.Wnd == 0 || s.Flags&tcp.FIN == 0 && snd.Bytes > 0 && s.Ack.Add(tcp.Size(s.Wnd+1)<<scale).Before(snd.Edge))
}

// triggersOf returns what is noteworthy of a segment that is not a RST.
func (c *Conn) triggersOf(s *tcp.Segment, from tcp.Endpoint, r recent.Reading) (on triggers.Set) {
	snd, rcv := &c.Ends[from], &c.Ends[from.Peer()]
	if s.Flags&(tcp.SYN|tcp.FIN|tcp.ACK|tcp.URG) != tcp.ACK || s.Urg != 0 {
		switch {
		case s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN:
			on |= triggers.OnSYN
		case s.Flags&tcp.SYN != 0:
			on |= triggers.OnSYNACK
		}
		if s.Flags&tcp.FIN != 0 {
			on |= triggers.OnFIN
		}
		if s.Flags&(tcp.SYN|tcp.ACK) == 0 || s.Flags&(tcp.SYN|tcp.FIN) == tcp.SYN|tcp.FIN || s.Flags&tcp.URG != 0 || s.Urg != 0 {
			on |= triggers.OnFlags
		}
	}
	if r.Old {
		on |= triggers.OnRepeat
	}
	if r.Keepalive {
		on |= triggers.OnKeepalive
	}
	if r.Stale {
		on |= triggers.OnStale
	}
	if r.Foreign {
		on |= triggers.OnForeign
	}
	if s.Flags&tcp.ACK != 0 && snd.Seen() && !r.Stale {
		if edge := s.Ack.Add(tcp.Size(s.Wnd) << snd.Scale(rcv)); s.Wnd == 0 || snd.Wnd == 0 || snd.Has(endpoint.HasAcked) && edge.Before(snd.Edge) && s.Flags&tcp.SYN == 0 {
			on |= triggers.OnWindow
		}
	}
	if rcv.Seen() && s.Flags&tcp.ACK != 0 && rcv.Nxt.Before(s.Ack) || snd.Seen() && snd.Nxt.Before(s.Seq) {
		on |= triggers.OnGap
	}
	if rcv.Has(endpoint.HasAcked) && snd.Seen() {
		if s.Seq.Before(rcv.Acked) {
			on |= triggers.OnBelow
		}
		if rcv.Edge.AtMost(s.Seq) && s.Data > 0 && c.ScaleKnown() {
			on |= triggers.OnBeyond
		}
		if end := s.End(); snd.Nxt.Before(end) && end.Minus(snd.ISS) < snd.Nxt.Minus(snd.ISS) {
			on |= triggers.OnWrap
		}
	}
	on |= c.betweenOf(s, from)
	if c.Bits&awaited != 0 {
		on |= triggers.OnAwaited
	}
	on |= c.qualityOf(s, from)
	if c.Bits&challenged != 0 {
		on |= triggers.OnChallenge
	}
	if snd.Assumed != endpoint.Up || rcv.Assumed != endpoint.Up || snd.Proved != endpoint.Up || rcv.Proved != endpoint.Up {
		on |= triggers.OnUnsettled
	}
	if c.Bits&amongStale != 0 {
		on |= triggers.OnAmongStale
	}
	return on
}

// qualityOf returns OnQuality where the capture has the segment other than it
// was on the wire.
func (c *Conn) qualityOf(s *tcp.Segment, from tcp.Endpoint) triggers.Set {
	if s.Cut == tcp.CutOptions || s.Fragment || s.Sum > tcp.SumGood || s.Data > c.Ends[from.Peer()].Largest() {
		return triggers.OnQuality
	}
	return 0
}
