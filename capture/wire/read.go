package wire

import (
	"encoding/binary"
	"math"
	"net/netip"

	"github.com/klauspost/compress/zstd"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Reader reads messages. The zero value is ready. What it reads may come from
// anybody: it takes no more memory than a message of the largest size, and what is not
// as a Writer writes it is an error.
type Reader struct {
	zstd    *zstd.Decoder
	joined  []byte
	columns [columns]reader
	shapes  []shape
	flows   []flow
	ends    [][2]end
}

// Read reads a message, and appends its segments to a list.
func (d *Reader) Read(message []byte, list []Segment) (Head, []Segment, error) {
	h, rest, err := cutHead(message)
	if err != nil || len(rest) == 0 {
		return h, list, err
	}
	if d.zstd == nil {
		if d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxColumns), zstd.WithDecoderLowmem(true)); err != nil {
			return h, list, err
		}
	}
	if d.joined, err = d.zstd.DecodeAll(rest, d.joined[:0]); err != nil {
		return h, list, errMalformed
	}
	begin := len(list)
	if list, err = d.segments(list); err != nil {
		return h, list[:begin], err
	}
	return h, list, nil
}

// segments reads the segments of a message that was decompressed.
func (d *Reader) segments(list []Segment) ([]Segment, error) {
	r := &reader{octets: d.joined}
	n, unit := r.length(MaxSegments), int64(r.length(1000))
	for i := range d.columns {
		d.columns[i] = reader{octets: r.take(r.length(math.MaxInt32))}
	}
	if r.bad || len(r.octets) > 0 || unit != 1 && unit != 1000 {
		return list, errMalformed
	}
	d.shapes, d.flows, d.ends = d.shapes[:0], d.flows[:0], d.ends[:0]
	var at tcp.Time
	packet, nth := 0, 0
	for range n {
		s, ok := d.segment()
		if !ok {
			return list, errMalformed
		}
		at += tcp.Time(d.columns[columnTime].varint() * unit)
		packet += int(d.columns[columnPacket].varint())
		nth += int(d.columns[columnNth].varint()) + 1
		s.Time, s.Packet = at, packet
		list = append(list, Segment{s, nth})
	}
	for i := range d.columns {
		if d.columns[i].bad || len(d.columns[i].octets) > 0 {
			return list, errMalformed
		}
	}
	return list, nil
}

// segment reads all of a segment but its time and number.
func (d *Reader) segment() (s tcp.Segment, ok bool) {
	c := &d.columns
	h, ok := d.shape()
	if !ok {
		return s, false
	}
	if s, ok = h.segment(); !ok {
		return s, false
	}
	f, side, ok := d.flow()
	if !ok {
		return s, false
	}
	s.Src, s.Dst = d.flows[f].a, d.flows[f].b
	if side == 1 {
		s.Src, s.Dst = s.Dst, s.Src
	}
	from, to := &d.ends[f][side], &d.ends[f][1-side]
	d.numbers(&s, from, to)
	d.rare(&s)
	if h.hasPayload() {
		s.Payload = c[columnPayload].fixed64()
	}
	from.sent(&s)
	return s, true
}

// shape reads the shape of a segment.
func (d *Reader) shape() (h shape, ok bool) {
	n := d.columns[columnShape].uvarint()
	if n == uint64(len(d.shapes)) {
		c := &d.columns[columnShapes]
		copy(h[:], c.take(len(h)))
		d.shapes = append(d.shapes, h)
		return h, !c.bad
	}
	if n > uint64(len(d.shapes)) {
		return h, false
	}
	return d.shapes[n], true
}

// flow reads the flow of a segment.
func (d *Reader) flow() (n, side int, ok bool) {
	v := d.columns[columnFlow].uvarint()
	if v>>1 > uint64(len(d.flows)) {
		return 0, 0, false
	}
	n, side = int(v>>1), int(v&1)
	if n == len(d.flows) {
		c := &d.columns[columnFlows]
		d.flows = append(d.flows, flow{c.addrPort(), c.addrPort()})
		d.ends = append(d.ends, [2]end{})
		ok = !c.bad
		return n, side, ok
	}
	return n, side, true
}

// numbers reads what goes on from segment to segment.
func (d *Reader) numbers(s *tcp.Segment, from, to *end) {
	o := &s.Options
	s.Seq = tcp.Seq(d.difference(columnSeq, uint32(from.next)))
	s.Ack = tcp.Seq(d.difference(columnAck, uint32(to.next)))
	s.Wnd = uint16(d.difference(columnWnd, uint32(from.wnd)))
	s.ID = uint16(d.difference(columnID, uint32(from.id)))
	s.Data = tcp.Size(d.difference(columnData, uint32(from.data)))
	s.Checksum = d.columns[columnChecksum].fixed16()
	if o.HasTS {
		o.TSVal = d.difference(columnTSVal, from.tsVal)
		o.TSEcr = d.difference(columnTSEcr, to.tsVal)
	}
}

// difference reads a number that is written as a difference.
func (d *Reader) difference(column int, expected uint32) uint32 {
	return expected + d.columns[column].zigzag32()
}

// rare reads what few segments have.
func (d *Reader) rare(s *tcp.Segment) {
	c := &d.columns[columnRare]
	for i := range s.Options.SACK[:s.Options.NumSACK] {
		left := s.Ack + tcp.Seq(c.zigzag32())
		s.Options.SACK[i] = tcp.Block{Left: left, Right: left + tcp.Seq(c.zigzag32())}
	}
	if s.ICMP.Type != 0 {
		s.ICMP.From = c.addr()
		s.ICMP.MTU = uint32(c.uvarint())
	}
}

// A reader reads octets. What is not there is 0, and then it is bad.
type reader struct {
	octets []byte
	bad    bool
}

// take takes so many octets.
func (r *reader) take(n int) []byte {
	if n > len(r.octets) {
		r.bad, r.octets = true, nil
		return nil
	}
	b := r.octets[:n:n]
	r.octets = r.octets[n:]
	return b
}

func (r *reader) octet() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) fixed16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) fixed64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.octets)
	if n <= 0 {
		r.bad, r.octets = true, nil
		return 0
	}
	r.octets = r.octets[n:]
	return v
}

func (r *reader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *reader) zigzag32() uint32 {
	v := r.uvarint()
	if v > math.MaxUint32 {
		r.bad = true
	}
	return unzigzag32(v)
}

// length reads a number of which more than most is bad.
func (r *reader) length(most int) int {
	v := r.uvarint()
	if v > uint64(most) {
		r.bad = true
		return 0
	}
	return int(v)
}

func (r *reader) addr() netip.Addr {
	octets := r.take(r.length(16))
	a, ok := netip.AddrFromSlice(octets)
	if !ok && len(octets) > 0 {
		r.bad = true
	}
	return a
}

func (r *reader) addrPort() netip.AddrPort {
	a := r.addr()
	return netip.AddrPortFrom(a, r.fixed16())
}
