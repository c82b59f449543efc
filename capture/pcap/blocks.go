package pcap

import (
	"encoding/binary"
	"math"
	"net/netip"
	"strings"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Blocks makes pcapng blocks in memory, least octet first. The zero value is
// empty. A file begins with Section; what has a number follows the Interface of
// that number, which are counted from 0. Times are in nanoseconds.
type Blocks struct {
	buf   []byte
	start int // of the block that is being made
}

// PacketOverhead is how many octets Packet adds beside the packet, at most.
const PacketOverhead = blockOverhead + 20 + 3 + 12

// Bytes returns the blocks made since Reset, good until the next is made.
func (b *Blocks) Bytes() []byte { return b.buf }

// Reset empties it.
func (b *Blocks) Reset() { b.buf = b.buf[:0] }

// Cut returns how many of the first n octets are whole blocks, and how many packets
// are in the blocks behind these.
func (b *Blocks) Cut(n int) (whole int, packets uint64) {
	for at := 0; at < len(b.buf); {
		kind, length := binary.LittleEndian.Uint32(b.buf[at:]), int(binary.LittleEndian.Uint32(b.buf[at+4:]))
		if at += length; at <= n {
			whole = at
		} else if kind == blockPacket {
			packets++
		}
	}
	return whole, packets
}

// Section begins a section, which may be of any length, and says which
// application wrote it.
func (b *Blocks) Section(application string) {
	b.begin(blockSection)
	b.u32(byteOrderMagic)
	b.u32(1) // version 1.0
	b.u32(math.MaxUint32)
	b.u32(math.MaxUint32) // the length of the section, which nobody knows
	b.option(optApplication, []byte(application))
	b.option(optEnd, nil)
	b.end()
}

// Interface describes the next interface of the section. snap is how many octets
// are taken of a packet; 0: all.
func (b *Blocks) Interface(name string, link LinkType, snap int) {
	b.describe(name, link, uint32(snap), 9)
}

// describe describes an interface, in whose packets times are in units of
// 10^-unit seconds.
func (b *Blocks) describe(name string, link LinkType, snap uint32, unit uint8) {
	b.begin(blockInterface)
	b.u32(uint32(link)) // and two octets that are reserved
	b.u32(snap)
	if name != "" {
		b.option(optName, []byte(name))
	}
	b.option(optTimeUnit, []byte{unit})
	b.option(optEnd, nil)
	b.end()
}

// Packet is a packet of an interface, with a comment unless that is empty. The link type,
// the device and the comment of the record are not looked at.
func (b *Blocks) Packet(number int, r *Record, comment string) { b.packet(number, r.Time, r, comment) }

// packet is a packet that was captured at that time, in the unit of the interface.
func (b *Blocks) packet(number int, t tcp.Time, r *Record, comment string) {
	b.begin(blockPacket)
	b.u32(uint32(number))
	b.time(t)
	b.u32(uint32(len(r.Data)))
	b.u32(uint32(r.Wire))
	b.octets(r.Data)
	if comment != "" {
		b.option(optComment, []byte(clipped(comment)))
	}
	if r.Way != tcp.WayUnknown {
		b.option(optFlags, binary.LittleEndian.AppendUint32(nil, uint32(r.Way)))
	}
	if comment != "" || r.Way != tcp.WayUnknown {
		b.option(optEnd, nil)
	}
	b.end()
}

// clipped cuts a comment to what fits into an option.
func clipped(comment string) string {
	const most, rest = math.MaxUint16, "..."
	if len(comment) <= most {
		return comment
	}
	return strings.ToValidUTF8(comment[:most-len(rest)], "") + rest
}

// Names says how a host is called.
func (b *Blocks) Names(host netip.Addr, name string) {
	b.begin(blockNames)
	record := uint16(2) // of IPv6
	if host.Is4() {
		record = 1
	}
	b.option(record, append(append(host.AsSlice(), name...), 0))
	b.option(optEnd, nil)
	b.end()
}

// Statistics says when the capture on an interface ended, how many packets it
// had and how many were dropped, which is not known below 0.
func (b *Blocks) Statistics(number int, ended tcp.Time, packets uint64, dropped int64) {
	b.begin(blockStatistics)
	b.u32(uint32(number))
	b.time(ended)
	b.longOption(optEnded, uint64(ended)>>32|uint64(ended)<<32) // the high half comes first
	b.longOption(optReceived, packets)
	if dropped >= 0 {
		b.longOption(optDroppedOS, uint64(dropped))
	}
	b.option(optEnd, nil)
	b.end()
}

func (b *Blocks) begin(kind uint32) {
	b.start = len(b.buf)
	b.u32(kind)
	b.u32(0)
}

// end puts the length of the block before and behind it.
func (b *Blocks) end() {
	length := uint32(len(b.buf) - b.start + 4)
	b.u32(length)
	binary.LittleEndian.PutUint32(b.buf[b.start+4:], length)
}

func (b *Blocks) u32(v uint32) { b.buf = binary.LittleEndian.AppendUint32(b.buf, v) }

// time appends a time in nanoseconds, its high half first.
func (b *Blocks) time(t tcp.Time) {
	b.u32(uint32(uint64(t) >> 32))
	b.u32(uint32(t))
}

// octets appends octets, and zeros up to the next multiple of four.
func (b *Blocks) octets(data []byte) {
	b.buf = append(b.buf, data...)
	for n := len(data); n%4 != 0; n++ {
		b.buf = append(b.buf, 0)
	}
}

func (b *Blocks) option(code uint16, value []byte) {
	b.u32(uint32(code) | uint32(len(value))<<16)
	b.octets(value)
}

func (b *Blocks) longOption(code uint16, v uint64) {
	b.option(code, binary.LittleEndian.AppendUint64(nil, v))
}
