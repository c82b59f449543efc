package wire

import (
	"encoding/binary"
	"net/netip"

	"github.com/klauspost/compress/zstd"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Writer collects segments for one message. The zero value is ready.
type Writer struct {
	n       int
	columns [columns][]byte
	times   []int64 // columnTime
	time    tcp.Time
	packet  int
	nth     int
	shapes  map[shape]uint64
	flows   map[flow]uint64
	ends    [][2]end // of the flows
	zstd    *zstd.Encoder
	joined  []byte
}

// A flow is the two ends of a connection, the first of them first in the order of
// addresses.
type flow struct{ a, b netip.AddrPort }

// Len returns how many segments the message has so far.
func (w *Writer) Len() int { return w.n }

// Add adds a segment, the nth of the sensor. There is room for MaxSegments. What
// captures of several places tell together of it is not written.
func (w *Writer) Add(s *tcp.Segment, nth int) {
	if w.shapes == nil {
		w.shapes, w.flows = make(map[shape]uint64), make(map[flow]uint64)
	}
	w.n++
	c := &w.columns
	w.times = append(w.times, int64(s.Time-w.time))
	c[columnPacket] = binary.AppendVarint(c[columnPacket], int64(s.Packet-w.packet))
	c[columnNth] = binary.AppendVarint(c[columnNth], int64(nth-w.nth-1))
	w.time, w.packet, w.nth = s.Time, s.Packet, nth
	h := w.shape(s)
	from, to := w.flow(s)
	w.numbers(s, from, to)
	w.rare(s)
	if h.hasPayload() {
		c[columnPayload] = binary.BigEndian.AppendUint64(c[columnPayload], s.Payload)
	}
	from.sent(s)
}

// shape writes the shape of a segment.
func (w *Writer) shape(s *tcp.Segment) shape {
	h := shapeOf(s)
	n, known := w.shapes[h]
	if !known {
		n = uint64(len(w.shapes))
		w.shapes[h] = n
		w.columns[columnShapes] = append(w.columns[columnShapes], h[:]...)
	}
	w.columns[columnShape] = binary.AppendUvarint(w.columns[columnShape], n)
	return h
}

// flow writes the flow of a segment, and returns its two ends.
func (w *Writer) flow(s *tcp.Segment) (from, to *end) {
	f, side := flow{s.Src, s.Dst}, 0
	if s.Dst.Compare(s.Src) < 0 {
		f, side = flow{s.Dst, s.Src}, 1
	}
	n, known := w.flows[f]
	if !known {
		n = uint64(len(w.flows))
		w.flows[f] = n
		w.ends = append(w.ends, [2]end{})
		w.columns[columnFlows] = appendAddrPort(appendAddrPort(w.columns[columnFlows], f.a), f.b)
	}
	w.columns[columnFlow] = binary.AppendUvarint(w.columns[columnFlow], n<<1|uint64(side))
	return &w.ends[n][side], &w.ends[n][1-side]
}

// numbers writes what goes on from segment to segment.
func (w *Writer) numbers(s *tcp.Segment, from, to *end) {
	o := &s.Options
	w.difference(columnSeq, uint32(s.Seq), uint32(from.next))
	w.difference(columnAck, uint32(s.Ack), uint32(to.next))
	w.difference(columnWnd, uint32(s.Wnd), uint32(from.wnd))
	w.difference(columnID, uint32(s.ID), uint32(from.id))
	w.difference(columnData, uint32(s.Data), uint32(from.data))
	w.columns[columnChecksum] = binary.BigEndian.AppendUint16(w.columns[columnChecksum], s.Checksum)
	if o.HasTS {
		w.difference(columnTSVal, o.TSVal, from.tsVal)
		w.difference(columnTSEcr, o.TSEcr, to.tsVal)
	}
}

// difference writes a number as a difference.
func (w *Writer) difference(column int, value, expected uint32) {
	w.columns[column] = binary.AppendUvarint(w.columns[column], zigzag32(value-expected))
}

// rare writes what few segments have.
func (w *Writer) rare(s *tcp.Segment) {
	c := &w.columns[columnRare]
	for _, block := range s.Options.SACK[:s.Options.NumSACK] {
		*c = binary.AppendUvarint(*c, zigzag32(uint32(block.Left)-uint32(s.Ack)))
		*c = binary.AppendUvarint(*c, zigzag32(uint32(block.Right)-uint32(block.Left)))
	}
	if s.ICMP.Type != 0 {
		*c = appendAddr(*c, s.ICMP.From)
		*c = binary.AppendUvarint(*c, uint64(s.ICMP.MTU))
	}
}

// Message returns a message of the segments that were added, and begins the next.
func (w *Writer) Message(h Head) ([]byte, error) {
	if len(h.About) > MaxAbout {
		h.About = h.About[:0]
	}
	message := appendHead(nil, &h)
	if w.n == 0 {
		return message, nil
	}
	if w.zstd == nil {
		var err error
		if w.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<18), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(true)); err != nil {
			return nil, err
		}
	}
	message = w.zstd.EncodeAll(w.join(), message)
	w.reset()
	return message, nil
}

// join puts the columns behind each other.
func (w *Writer) join() []byte {
	unit := int64(1000) // most captures count microseconds
	for _, t := range w.times {
		if t%unit != 0 {
			unit = 1
			break
		}
	}
	for _, t := range w.times {
		w.columns[columnTime] = binary.AppendVarint(w.columns[columnTime], t/unit)
	}
	b := binary.AppendUvarint(w.joined[:0], uint64(w.n))
	b = binary.AppendUvarint(b, uint64(unit))
	for i := range w.columns {
		b = binary.AppendUvarint(b, uint64(len(w.columns[i])))
		b = append(b, w.columns[i]...)
	}
	w.joined = b
	return b
}

// reset begins the next message.
func (w *Writer) reset() {
	for i := range w.columns {
		w.columns[i] = w.columns[i][:0]
	}
	w.n, w.times, w.time, w.packet, w.nth, w.ends = 0, w.times[:0], 0, 0, 0, w.ends[:0]
	clear(w.shapes)
	clear(w.flows)
}
