package conn

import (
	"github.com/tcpwatch/tcpwatch/tracker/internal/duplicates"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// recordedTwice takes in a second record of a packet, of whose flow c is the newest
// connection if it is not nil, and reports whether it is that, and no packet. What
// was counted of others for packets until it shows is taken back.
func (m *Machine) recordedTwice(s *tcp.Segment, first *duplicates.Slot, c *Conn, low bool) bool {
	if c != nil && m.Now.Sub(first.At) > duplicates.Promptly && first.TTL == s.TTL {
		e := c.EndOf(low)
		if !c.RareState().late[e].IsRecord(s, c.Ends[e].Packets, !c.Ends[e].Has(endpoint.HasISS)) {
			m.duplicates.Arrived(m.Now)
			return false
		}
		c.uncount(e)
	}
	m.counts.Duplicates++
	m.health.Duplicated(s, first, m.counts.Segments+m.counts.Duplicates)
	if c != nil {
		m.saw(c, c.EndOf(low), s.Packet, tcp.CapturedTwice)
	}
	return true
}

// uncount takes back what was counted of second records of the end's packets.
func (c *Conn) uncount(e tcp.Endpoint) {
	o, subject := c.Rare, &c.Ends[e]
	k := &o.late[e]
	subject.Packets -= min(k.Arrived, subject.Packets)
	o.Retransmits[e] -= min(uint64(k.Repeats), o.Retransmits[e])
	o.RetransmittedBytes[e] -= min(k.Octets, o.RetransmittedBytes[e])
	k.Uncount()
}
