package conn

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/health"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// jumped looks whether a long pause of the capture is one for the sender of
// the segment too, by its timestamps.
func (m *Machine) jumped(c *Conn, s *tcp.Segment, from tcp.Endpoint) {
	snd := &c.Ends[from]
	if !snd.Seen() || !snd.Has(endpoint.HasTS) || !s.Options.HasTS {
		return
	}
	pause := s.Time.Sub(snd.SentAt)
	ticks := int32(s.Options.TSVal - snd.TSVal)
	if pause <= health.ClockJump || ticks <= 0 || time.Duration(ticks)*health.SlowestTick > pause/2 {
		return
	}
	m.health.Stepped(health.Fault{What: health.ClockForward, Packet: s.Packet, Frames: [4]int{s.Packet}, Span: pause, Sender: c.Addr(from), Ticks: ticks})
}
