package pcap

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"net/netip"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The pcapng format: a sequence of blocks, each with its type and length in
// front and its length again behind. A section header block begins a section,
// which has a byte order and interfaces of its own. Packets name the interface
// that saw them, and that tells their link type and the unit of their time.
const (
	blockSection        = 0x0a0d0d0a // the same in either byte order
	blockInterface      = 1
	blockPacketObsolete = 2
	blockPacketSimple   = 3
	blockNames          = 4
	blockStatistics     = 5
	blockPacket         = 6

	byteOrderMagic = 0x1a2b3c4d

	blockProcess = 0x80000001 // a process of macOS

	optProcessName = 2      // in that
	optProcess     = 0x8001 // the number of a process in the section, of a packet
	optEffective   = 0x8003 // the same of the one that it works for

	blockCustomHere = 0x40000bad // a custom block that who rewrites a file leaves out

	optEnd         = 0
	optComment     = 1
	optName        = 2  // if_name
	optFlags       = 2  // epb_flags
	optApplication = 4  // shb_userappl
	optReceived    = 4  // isb_ifrecv
	optTimeUnit    = 9  // if_tsresol
	optTimeShift   = 14 // if_tsoffset
	optEnded       = 3  // isb_endtime, in a statistics block
	optDropped     = 5  // isb_ifdrop, likewise
	optDroppedOS   = 7  // isb_osdrop, likewise
)

const (
	sectionHeaderSize = 28 // the least a section header block can have
	blockOverhead     = 12 // type, length, length

	maxInterfaces = 1 << 16 // of a section
	maxProcesses  = 1 << 14 // of a section
	MaxNames      = 1 << 14 // of hosts, that nobody has asked for yet
	maxName       = 255
)

type pcapngFile struct {
	w          *window
	order      byteOrder
	interfaces []captureInterface // of the present section
	processes  []Process          // likewise
	dropped    int64              // by the interfaces of past sections
	end        tcp.Time           // when the capture ended, as far as it says
	names      []HostName         // that nobody has asked for yet
	unnamed    int                // names that there was no room for

	seen func(kind uint32, block []byte) // is lent every whole block before it is looked at; nil: nobody asks
}

// A captureInterface is what an interface description block says.
type captureInterface struct {
	link  LinkType
	snap  uint32 // 0: none
	clock clock

	dropped int64 // packets that it says it lost, when it said so last
}

// newPcapngFile reads the first section header.
func newPcapngFile(w *window, seen func(kind uint32, block []byte)) (*pcapngFile, error) {
	f := &pcapngFile{w: w, seen: seen}
	if _, err := w.peek(sectionHeaderSize); err != nil {
		return nil, err
	}
	if err := f.section(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *pcapngFile) next(r *Record) error {
	for {
		h, err := f.w.peek(8)
		if err != nil {
			return endOfRecords(err)
		}
		kind, length := f.order.u32(h), f.order.u32(h[4:])
		switch kind {
		case blockSection:
			if err := f.section(); err != nil {
				return err
			}
			continue
		case blockInterface, blockStatistics, blockNames, blockProcess, blockPacketObsolete, blockPacketSimple, blockPacket:
		default:
			if length < blockOverhead {
				return corrupt(fmt.Sprintf("a block of %d bytes", length))
			}
			if err := f.skip(kind, length); err != nil {
				return err
			}
			continue
		}
		b, err := f.block(length)
		if err != nil {
			return err
		}
		switch kind {
		case blockInterface:
			err = f.describe(b)
		case blockStatistics:
			f.count(b)
		case blockNames:
			f.name(b)
		case blockProcess:
			f.process(b)
		case blockPacket:
			err = f.packet(b, r)
		case blockPacketObsolete:
			err = f.obsoletePacket(b, r)
		case blockPacketSimple:
			err = f.simplePacket(b, r)
		}
		if err != nil || kind != blockInterface && kind != blockStatistics && kind != blockNames && kind != blockProcess {
			return err
		}
	}
}

// padded rounds a block's length up to four octets, as some writers forget.
func padded(length uint32) int64 { return (int64(length) + 3) &^ 3 }

// skip passes over a block that is not looked into.
func (f *pcapngFile) skip(kind, length uint32) error {
	if f.seen != nil && length <= MaxRecord {
		b, err := f.w.peek(int(padded(length)))
		if err != nil {
			return cut(err)
		}
		f.seen(kind, b)
	}
	return cut(f.w.skip(padded(length)))
}

// block consumes a block of the given length and returns its body.
func (f *pcapngFile) block(length uint32) ([]byte, error) {
	if length < blockOverhead || length > MaxRecord {
		return nil, corrupt(fmt.Sprintf("a block of %d bytes", length))
	}
	n := int(padded(length))
	b, err := f.w.peek(n)
	if err != nil {
		return nil, cut(err)
	}
	if f.order.u32(b[n-4:]) != length {
		return nil, corrupt("the two lengths of a block differ")
	}
	f.w.consume(n)
	if f.seen != nil {
		f.seen(f.order.u32(b), b)
	}
	return b[8 : n-4], nil
}

// section begins a section: its byte order, and no interfaces yet.
func (f *pcapngFile) section() error {
	b, err := f.w.peek(sectionHeaderSize)
	if err != nil {
		return cut(err)
	}
	f.order.big = binary.BigEndian.Uint32(b[8:]) == byteOrderMagic
	if f.order.u32(b[8:]) != byteOrderMagic {
		return corrupt("a section without a byte order")
	}
	if major := f.order.u16(b[12:]); major != 1 {
		return corrupt(fmt.Sprintf("pcapng version %d is not supported", major))
	}
	length := f.order.u32(b[4:])
	if length < sectionHeaderSize {
		return corrupt(fmt.Sprintf("a section header of %d bytes", length))
	}
	f.dropped = f.drops()
	f.interfaces, f.processes = f.interfaces[:0], f.processes[:0]
	return f.skip(blockSection, length)
}

// describe adds an interface to the section.
func (f *pcapngFile) describe(b []byte) error {
	if len(b) < 8 {
		return corrupt("an interface description that is too short")
	}
	if len(f.interfaces) == maxInterfaces {
		return corrupt(fmt.Sprintf("more than %d interfaces", maxInterfaces))
	}
	i := captureInterface{
		link:  LinkType(f.order.u16(b)),
		snap:  f.order.u32(b[4:]),
		clock: newClock(6),
	}
	var shift int64
	f.options(b[8:], func(code uint16, value []byte) {
		switch {
		case code == optTimeUnit && len(value) >= 1:
			i.clock = newClock(value[0])
		case code == optTimeShift && len(value) >= 8:
			shift = int64(f.order.u64(value))
		}
	})
	i.clock.shift = shift
	f.interfaces = append(f.interfaces, i)
	return nil
}

// process adds a process to the section. Malformed ones are passed over, and keep their
// number.
func (f *pcapngFile) process(b []byte) {
	if len(f.processes) >= maxProcesses {
		return
	}
	var p Process
	if len(b) >= 4 {
		p.PID = int(int32(f.order.u32(b)))
		f.options(b[4:], func(code uint16, value []byte) {
			if name, _, _ := bytes.Cut(value, []byte{0}); code == optProcessName && len(name) <= maxName {
				p.Name = string(name)
			}
		})
	}
	f.processes = append(f.processes, p)
}

// options calls each for the options of a block, up to their end or to the
// first that does not fit.
func (f *pcapngFile) options(b []byte, each func(code uint16, value []byte)) {
	for len(b) >= 4 {
		code, length := f.order.u16(b), int(f.order.u16(b[2:]))
		b = b[4:]
		if code == optEnd || length > len(b) {
			return
		}
		each(code, b[:length])
		b = b[min((length+3)&^3, len(b)):]
	}
}

// count reads the statistics of an interface. They are running totals, so the
// last replace those before. Malformed ones say nothing about the packets, and
// are passed over.
func (f *pcapngFile) count(b []byte) {
	if len(b) < 12 || int64(f.order.u32(b)) >= int64(len(f.interfaces)) {
		return
	}
	i := &f.interfaces[f.order.u32(b)]
	i.dropped = 0
	f.options(b[12:], func(code uint16, value []byte) {
		switch {
		case len(value) < 8:
		case code == optDropped, code == optDroppedOS:
			i.dropped += int64(min(f.order.u64(value), 1<<32))
		case code == optEnded:
			f.end = max(f.end, i.clock.time(uint64(f.order.u32(value))<<32|uint64(f.order.u32(value[4:]))))
		}
	})
}

// A HostName is a name of a host that the file tells.
type HostName struct {
	Host netip.Addr
	Name string // it may hold anything
}

// name reads the names of hosts. As many as fit are taken, and malformed ones passed
// over.
func (f *pcapngFile) name(b []byte) {
	f.options(b, func(code uint16, value []byte) {
		size := 0
		switch code { // a record is built like an option
		case 1:
			size = 4
		case 2:
			size = 16
		}
		if size == 0 || len(value) <= size {
			return
		}
		host, _ := netip.AddrFromSlice(value[:size])
		for name := range bytes.SplitSeq(value[size:], []byte{0}) {
			switch {
			case len(name) == 0 || len(name) > maxName:
			case len(f.names) < MaxNames:
				f.names = append(f.names, HostName{host, string(name)})
			default:
				f.unnamed++
			}
		}
	})
}

// Names returns the names of hosts that the file told since it was asked last.
func (in *Reader) Names() []HostName {
	f, is := in.format.(*pcapngFile)
	if !is || len(f.names) == 0 {
		return nil
	}
	names := f.names
	f.names = nil
	return names
}

// Unnamed is how many names of hosts were passed over to stay within MaxNames.
func (in *Reader) Unnamed() int {
	if f, is := in.format.(*pcapngFile); is {
		return f.unnamed
	}
	return 0
}

func (f *pcapngFile) ended() tcp.Time { return f.end }

func (f *pcapngFile) drops() int64 {
	n := f.dropped
	for i := range f.interfaces {
		n += f.interfaces[i].dropped
	}
	return n
}

// packet reads an enhanced packet block.
func (f *pcapngFile) packet(b []byte, r *Record) error {
	if len(b) < 20 {
		return corrupt("a packet block that is too short")
	}
	if err := f.fill(r, f.order.u32(b), b); err != nil {
		return err
	}
	if at := 20 + int(padded(uint32(len(r.Data)))); at+8 <= len(b) {
		f.options(b[at:], func(code uint16, value []byte) {
			switch {
			case code == optFlags && len(value) >= 4:
				r.Way = wayOfFlags[f.order.u32(value)&3]
			case (code == optProcess && r.process == Process{} || code == optEffective) && len(value) >= 4:
				if i := f.order.u32(value); int64(i) < int64(len(f.processes)) && f.processes[i].Name != "" {
					r.process = f.processes[i]
				}
			case code == optComment && len(r.Comment) < maxComment:
				if r.Comment != "" {
					r.Comment += "\n"
				}
				r.Comment += string(value[:min(len(value), maxComment-len(r.Comment))])
			}
		})
	}
	return nil
}

// maxComment is how many octets of comments are read of a packet.
const maxComment = 4 << 10

// wayOfFlags is which way a packet went, by the lowest bits of epb_flags.
var wayOfFlags = [4]tcp.Way{1: tcp.WayIn, 2: tcp.WayOut}

// obsoletePacket reads a packet block of the first pcapng drafts, which has a
// count of drops beside a shorter interface number.
func (f *pcapngFile) obsoletePacket(b []byte, r *Record) error {
	if len(b) < 20 {
		return corrupt("a packet block that is too short")
	}
	return f.fill(r, uint32(f.order.u16(b)), b)
}

// fill makes a record of a packet block's body: behind the interface's number
// both kinds have the same fields.
func (f *pcapngFile) fill(r *Record, number uint32, b []byte) error {
	if int64(number) >= int64(len(f.interfaces)) {
		return corrupt(fmt.Sprintf("a packet of interface %d, which has no description", number))
	}
	i := &f.interfaces[number]
	ticks := uint64(f.order.u32(b[4:]))<<32 | uint64(f.order.u32(b[8:]))
	captured, wire := f.order.u32(b[12:]), f.order.u32(b[16:])
	if int64(captured) > int64(len(b)-20) {
		return corrupt(fmt.Sprintf("a packet of %d bytes in a block of %d", captured, len(b)+blockOverhead))
	}
	r.Data = b[20 : 20+captured : 20+captured]
	r.Wire = max(int(wire), len(r.Data))
	r.Time = i.clock.time(ticks)
	r.Link = i.link
	r.Way, r.Comment, r.process = tcp.WayUnknown, "", Process{}
	return nil
}

// simplePacket reads a simple packet block, which has no time and belongs to
// the section's first interface.
func (f *pcapngFile) simplePacket(b []byte, r *Record) error {
	if len(b) < 4 {
		return corrupt("a packet block that is too short")
	}
	if len(f.interfaces) == 0 {
		return corrupt("a packet of interface 0, which has no description")
	}
	i := &f.interfaces[0]
	wire := f.order.u32(b)
	captured := wire
	if i.snap > 0 {
		captured = min(captured, i.snap)
	}
	r.Data = b[4:]
	if int64(captured) < int64(len(r.Data)) {
		r.Data = r.Data[:captured:captured]
	}
	r.Wire = max(int(wire), len(r.Data))
	r.Time = 0
	r.Link = i.link
	r.Way, r.Comment, r.process = tcp.WayUnknown, "", Process{}
	return nil
}

// endOfRecords is the error for a stream that ends where a record could begin.
func endOfRecords(err error) error {
	if err == io.EOF {
		return err
	}
	return cut(err)
}

// A clock turns the timestamps of an interface into trace time.
type clock struct {
	multiply uint64 // nanoseconds in a tick, if it has whole ones
	divide   uint64 // ticks in a nanosecond, if it has several
	binary   uint8  // ticks are 2^-binary seconds, if neither is set
	shift    int64  // seconds to add
}

// newClock reads an if_tsresol: ticks are 10^-unit seconds or, with the high
// bit set, 2^-unit.
func newClock(unit uint8) clock {
	switch {
	case unit&0x80 != 0:
		return clock{binary: unit & 0x7f}
	case unit <= 9:
		return clock{multiply: pow10(9 - unit)}
	default:
		return clock{divide: pow10(unit - 9)}
	}
}

// pow10 is 10 to the n, or the largest number where that is larger still.
func pow10(n uint8) uint64 {
	if n > 19 {
		return math.MaxUint64
	}
	p := uint64(1)
	for range n {
		p *= 10
	}
	return p
}

// maxTime is the latest time that is told apart, in the year 2116. It leaves
// the tracker room to add its timers.
const maxTime = 1 << 62

func (c clock) time(ticks uint64) tcp.Time {
	var ns uint64
	switch {
	case c.multiply != 0:
		high, low := bits.Mul64(ticks, c.multiply)
		if ns = low; high != 0 {
			ns = maxTime
		}
	case c.divide != 0:
		ns = ticks / c.divide
	default:
		ns = c.binaryTime(ticks)
	}
	if c.shift == 0 {
		return tcp.Time(min(ns, maxTime))
	}
	const second = 1_000_000_000
	shift := max(min(c.shift, maxTime/second), -maxTime/second) * second
	return tcp.Time(max(min(int64(min(ns, maxTime))+shift, maxTime), -maxTime))
}

// binaryTime is ticks * 10^9 / 2^binary.
func (c clock) binaryTime(ticks uint64) uint64 {
	high, low := bits.Mul64(ticks, 1e9)
	switch n := c.binary; {
	case n == 0:
		if high != 0 {
			return maxTime
		}
		return low
	case n >= 64:
		return high >> (n - 64)
	case high>>n != 0:
		return maxTime
	default:
		return high<<(64-n) | low>>n
	}
}
