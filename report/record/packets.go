package record

import (
	"bufio"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/between"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Packets prints the format packets: the packets that captures of several places have,
// as csv prints connections, a line for each. It keeps nothing but the packet at hand.
type Packets struct {
	Quiet
	out    *bufio.Writer
	header bool
	taps   []string
	buf    []byte

	// The packet that the tracker is at, and what to print of it.
	waits   bool
	segment tcp.Segment
	twin    tcp.Twin
	other   tcp.Segment
	frames  []int
}

// NewPackets makes the format packets.
func NewPackets(out *bufio.Writer, o *Options, _ Order) Format {
	return &Packets{out: out, header: !o.NoHeader, taps: o.Taps}
}

// packetColumns are the columns of packets; those of the taps follow the third.
var packetColumns = []string{"packet", "conn", "from", "sent", "arrived", "delay_seconds", "within_seconds", "fate", "flags", "seq", "ack", "len", "changes"}

const columnsBeforeTaps = 3

// Take takes a segment before the tracker observes it, and the frames of its packet.
func (p *Packets) Take(s *tcp.Segment, frames []int) error {
	if err := p.print(0, ""); err != nil {
		return err
	}
	if s.Twin == nil { // the packet was told of before, or is an error of ICMP
		return nil
	}
	p.waits, p.segment, p.twin, p.frames = true, *s, *s.Twin, append(p.frames[:0], frames...)
	if p.twin.Other != nil {
		p.other = *p.twin.Other
		p.twin.Other = &p.other
	}
	return nil
}

// Seen takes what the tracker says of the segment: of which connection it is, and of
// which end.
func (p *Packets) Seen(e *tracker.Event) error {
	if !p.waits || e.Packet != p.segment.Packet {
		return nil
	}
	return p.print(e.Conn, e.End.String())
}

// print prints the packet at hand, if there is one.
func (p *Packets) print(conn int, from string) error {
	p.start()
	if !p.waits {
		return nil
	}
	p.waits = false
	s, w := &p.segment, &p.twin
	b := appendInt(p.buf[:0], s.Packet)
	b = append(b, ',')
	if conn > 0 {
		b = appendInt(b, conn)
	}
	b = append(append(b, ','), from...)
	for i := range p.taps {
		b = append(b, ',')
		if i < len(p.frames) && p.frames[i] > 0 {
			b = appendInt(b, p.frames[i])
		}
	}
	b = p.appendTimes(b)
	b = append(append(b, ','), fates[w.Fate]...)
	b = append(append(b, ','), strings.ReplaceAll(s.Flags.String(), ",", "+")...)
	b = appendUint(append(b, ','), uint64(s.Seq))
	b = append(b, ',')
	if s.Flags&tcp.ACK != 0 {
		b = appendUint(b, uint64(s.Ack))
	}
	b = appendUint(append(b, ','), uint64(s.Data))
	b = append(b, ',')
	if w.Other != nil {
		b = appendChanges(b, s.Changes(w.Other))
	}
	p.buf = append(b, '\n')
	_, err := p.out.Write(p.buf)
	return err
}

// fates are the words for what became of a packet.
var fates = [...]string{
	tcp.FateUnknown: "unknown", tcp.FatePassed: "passed", tcp.FateLost: "lost", tcp.FateMissed: "missed", tcp.FateCopied: "copied", tcp.FateForged: "forged",
}

// changes are the words for what was changed in a packet.
var changes = []struct {
	is   tcp.Changes
	word string
}{
	{tcp.ChangedMSS, "mss"}, {tcp.ChangedScale, "window_scale"}, {tcp.ChangedOptions, "options"}, {tcp.ChangedNumbers, "numbers"},
	{tcp.ChangedWindow, "window"}, {tcp.ChangedLength, "len"}, {tcp.ChangedPayload, "payload"}, {tcp.ChangedFlags, "flags"},
}

// appendChanges appends the words, with a blank between them.
func appendChanges(b []byte, is tcp.Changes) []byte {
	n := 0
	for _, c := range changes {
		if is&c.is != 0 {
			b = append(appendBlank(b, n), c.word...)
			n++
		}
	}
	return b
}

// appendTimes appends when the packet came by the taps next to its sender and to its
// receiver, how long it was on its way, and by how much that may be wrong.
func (p *Packets) appendTimes(b []byte) []byte {
	s, w := &p.segment, &p.twin
	if w.Other != nil {
		b = text.AppendTime(append(b, ','), w.Other.Time.Add(-w.Delay))
		b = text.AppendTime(append(b, ','), w.Other.Time)
		b = text.AppendSeconds(append(b, ','), w.Delay)
		b = append(b, ',')
		if w.Within != between.Unbounded {
			b = text.AppendSeconds(b, w.Within)
		}
		return b
	}
	sent := s.Leg == tcp.Left
	if s.Leg == tcp.Passing {
		sent = p.nearSender()
	}
	if sent {
		return append(text.AppendTime(append(b, ','), s.Time), ",,,"...)
	}
	return append(text.AppendTime(append(b, ",,"...), s.Time), ",,"...)
}

// nearSender reports whether a packet that one capture lacks was captured before the
// place of that.
func (p *Packets) nearSender() bool {
	at := int(p.twin.Between[0])
	if p.twin.Between == [2]uint8{} || at >= len(p.frames) {
		return true // nothing says it
	}
	return p.frames[at] > 0
}

// start prints the header, once.
func (p *Packets) start() {
	if !p.header {
		return
	}
	p.header = false
	for i, name := range packetColumns {
		if i == columnsBeforeTaps {
			for _, tap := range p.taps {
				p.out.WriteByte(',')
				p.out.Write(csvCell([]byte("frame." + text.Escape(tap))))
			}
		}
		if i > 0 {
			p.out.WriteByte(',')
		}
		p.out.WriteString(name)
	}
	p.out.WriteByte('\n')
}

func (p *Packets) Close(*Summary, *Tally) error { return p.print(0, "") }
