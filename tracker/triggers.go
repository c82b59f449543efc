package tracker

import (
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// occasionsOf returns what is noteworthy of a segment that is not a RST.
func (c *Conn) occasionsOf(s *tcp.Segment, from tcp.Endpoint, r reading) (on occasions) {
	x, y := &c.ends[from], &c.ends[from.Peer()]
	if s.Flags&(tcp.SYN|tcp.FIN|tcp.ACK|tcp.URG) != tcp.ACK || s.Urg != 0 {
		switch {
		case s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN:
			on |= onSYN
		case s.Flags&tcp.SYN != 0:
			on |= onSYNACK
		}
		if s.Flags&tcp.FIN != 0 {
			on |= onFIN
		}
		if s.Flags&(tcp.SYN|tcp.ACK) == 0 || s.Flags&(tcp.SYN|tcp.FIN) == tcp.SYN|tcp.FIN || s.Flags&tcp.URG != 0 || s.Urg != 0 {
			on |= onFlags
		}
	}
	if r.old {
		on |= onRepeat
	}
	if r.keepalive {
		on |= onKeepalive
	}
	if r.stale {
		on |= onStale
	}
	if r.foreign {
		on |= onForeign
	}
	if s.Flags&tcp.ACK != 0 && x.seen() && !r.stale {
		if edge := s.Ack.Add(tcp.Size(s.Wnd) << x.scale(y)); s.Wnd == 0 || x.wnd == 0 || edge.Before(x.edge) && s.Flags&tcp.SYN == 0 {
			on |= onWindow
		}
	}
	if y.seen() && s.Flags&tcp.ACK != 0 && y.nxt.Before(s.Ack) || x.seen() && x.nxt.Before(s.Seq) {
		on |= onGap
	}
	if y.has(hasAcked) && x.seen() {
		if s.Seq.Before(y.acked) {
			on |= onBelow
		}
		if y.edge.AtMost(s.Seq) && s.Data > 0 && c.scaleKnown() {
			on |= onBeyond
		}
		if end := s.End(); x.nxt.Before(end) && end.Minus(x.iss) < x.nxt.Minus(x.iss) {
			on |= onWrap
		}
	}
	if c.bits&watched != 0 {
		on |= onWatched
	}
	on |= c.qualityOf(s, from)
	if c.bits&doubtful != 0 {
		on |= onDoubt
	}
	if x.assumed != up || y.assumed != up || x.proved != up || y.proved != up {
		on |= onUnsettled
	}
	if c.bits&haunted != 0 {
		on |= onHaunted
	}
	return on
}

// qualityOf returns onQuality where the capture has the segment other than it
// was on the wire.
func (c *Conn) qualityOf(s *tcp.Segment, from tcp.Endpoint) occasions {
	if s.Cut == tcp.CutOptions || s.Fragment || s.Sum > tcp.SumGood || s.Data > c.largest(from) {
		return onQuality
	}
	return 0
}
