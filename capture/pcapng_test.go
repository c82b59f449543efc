package capture

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// times reads a capture and lists the times of its segments.
func times(t *testing.T, b []byte) []tcp.Time {
	t.Helper()
	var all []tcp.Time
	for _, g := range read(t, open(t, Options{}, file(t, "x.pcapng", b))) {
		all = append(all, g.Time)
	}
	return all
}

func TestSectionsOfEitherByteOrder(t *testing.T) {
	f := section(false).iface(LinkEthernet).iface(LinkRaw).
		packet(0, 1_000_001, numbered(1)).
		packet(1, 2_000_002, inIPv4(tcpSegment(2, 0x10, nil, nil)))
	f.section(true).iface(LinkRaw) // a section's interfaces are its own
	f.packet(0, 3_000_003, inIPv6(tcpSegment(3, 0x10, nil, nil)))
	f.section(false).iface(LinkEthernet).packet(0, 4_000_004, numbered(4))
	all := read(t, open(t, Options{}, file(t, "x", f.bytes())))
	if got, want := seqs(all), "1:1 2:2 3:3 4:4"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for i, g := range all {
		if want := tcp.Time(i+1) * 1_000_001_000; g.Time != want {
			t.Errorf("packet %d: got time %d, want %d", i+1, g.Time, want)
		}
	}
}

func TestUnknownBlocksAreSkipped(t *testing.T) {
	f := section(true)
	f.block(0x0bad, make([]byte, 3*windowSize)) // does not fit into the window
	f.iface(LinkEthernet).block(4, []byte("names")).packet(0, 7, numbered(1))
	f.block(10, make([]byte, 12)).packet(0, 8, numbered(2))
	if got, want := seqs(read(t, open(t, Options{}, file(t, "x", f.bytes())))), "1:1 2:2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestObsoletePacketBlock(t *testing.T) {
	f := section(true).iface(LinkNull).iface(LinkEthernet)
	p := numbered(1)
	f.block(blockPacketObsolete, f.numbers(uint16(1), uint16(7), uint32(0), uint32(1_500_000), uint32(len(p)), uint32(len(p)+100), p))
	s := open(t, Options{}, file(t, "x", f.bytes()))
	all := read(t, s)
	if len(all) != 1 || all[0].Time != 1_500_000_000 || s.Stats().Bytes != int64(len(p)+100) {
		t.Errorf("got %+v, %+v", all, s.Stats())
	}
}

func TestSimplePacketBlock(t *testing.T) {
	p := inEthernet(inIPv4(tcpSegment(1, 0x18, nil, make([]byte, 100))))
	f := section(false).ifaceSnapped(LinkEthernet, 60)
	f.packet(0, 5_000_000, numbered(9))
	f.block(blockPacketSimple, f.numbers(uint32(len(p)), p[:60]))
	all := read(t, open(t, Options{}, file(t, "x", f.bytes())))
	if len(all) != 2 {
		t.Fatalf("got %v", all)
	}
	if g := all[1]; g.Data != 100 || g.Cut != tcp.CutPayload || g.Time != 5_000_000_000 {
		t.Errorf("got %+v: want the length of the wire and the time of the packet before", g)
	}
}

func TestTimeUnits(t *testing.T) {
	for _, c := range []struct {
		name  string
		unit  uint8
		ticks uint64
		want  tcp.Time
	}{
		{"seconds", 0, 1_700_000_000, 1_700_000_000e9},
		{"milliseconds", 3, 1_700_000_000_123, 1_700_000_000_123e6},
		{"microseconds", 6, 1_700_000_000_123_456, 1_700_000_000_123_456e3},
		{"nanoseconds", 9, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789},
		{"picoseconds", 12, 1_700_000_123_456_789, 1_700_000_123_456},
		{"units-too-small-to-count", 127, 1 << 63, 0},
		{"two-to-the-minus-0", 0x80, 1_700_000_000, 1_700_000_000e9},
		{"two-to-the-minus-20", 0x80 | 20, 1_700_000_000<<20 | 1<<18, 1_700_000_000_250e6},
		{"two-to-the-minus-32", 0x80 | 32, 1_700_000_000<<32 | 1<<31, 1_700_000_000_500e6},
		{"two-to-the-minus-63", 0x80 | 63, 3 << 62, 1_500e6},
		{"two-to-the-minus-64", 0x80 | 64, 1 << 63, 500e6},
		{"two-to-the-minus-70", 0x80 | 70, 1 << 63, 7_812_500},
		{"two-to-the-minus-127", 0xff, math.MaxUint64, 0},
		{"later-than-can-be-told", 0, math.MaxUint64, maxTime},
		{"later-than-can-be-told-in-binary", 0x80, math.MaxUint64, maxTime},
		{"later-than-can-be-told-in-microseconds", 6, math.MaxUint64, maxTime},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := section(false)
			f.iface(LinkEthernet, f.option(optTimeUnit, []byte{c.unit})).packet(0, c.ticks, numbered(1))
			if got := times(t, f.bytes()); len(got) != 1 || got[0] != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestTimeOffset(t *testing.T) {
	for _, c := range []struct {
		name   string
		offset int64
		want   tcp.Time
	}{
		{"forward", 1_700_000_000, 1_700_000_001_000_000_000},
		{"back", -1, 0},
		{"far", math.MaxInt64, maxTime},
		{"far-back", math.MinInt64, -4_611_686_017_000_000_000},
	} {
		f := section(true)
		f.iface(LinkEthernet,
			f.option(optTimeShift, f.numbers(uint64(c.offset))),
			f.option(optTimeUnit, nil), // an option without a value changes nothing
			f.option(optEnd, nil),
			f.option(optTimeUnit, []byte{0})) // behind the end
		if got := times(t, f.packet(0, 1_000_000, numbered(1)).bytes()); len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestMalformedBlocksAreCorrupt(t *testing.T) {
	good := func() *ngFile { return section(false).iface(LinkEthernet).packet(0, 1, numbered(1)) }
	f := good()
	short := f.numbers(uint32(0), uint32(0), uint32(0), uint32(5000), uint32(5000))
	for name, b := range map[string][]byte{
		"unknown-interface":         good().packet(1, 1, numbered(2)).bytes(),
		"more-octets-than-block":    good().block(blockPacket, short).bytes(),
		"packet-block-too-short":    good().block(blockPacket, nil).bytes(),
		"obsolete-block-too-short":  good().block(blockPacketObsolete, nil).bytes(),
		"simple-block-too-short":    good().block(blockPacketSimple, nil).bytes(),
		"interface-block-too-short": good().block(blockInterface, nil).bytes(),
		"block-of-eight-octets":     append(good().bytes(), 9, 0, 0, 0, 8, 0, 0, 0),
		"packet-block-of-4-GB":      append(good().bytes(), 6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff),
		"section-of-no-byte-order":  append(good().bytes(), good().block(blockSection, make([]byte, 16)).bytes()[len(good().bytes()):]...),
		"simple-block-alone":        section(false).block(blockPacketSimple, make([]byte, 64)).bytes(),
	} {
		s := open(t, Options{}, file(t, name, b))
		read(t, s)
		if st := s.Stats(); !st.Truncated || st.Packets > 1 {
			t.Errorf("%s: got %+v", name, st)
		}
	}
}

func TestPcapVariants(t *testing.T) {
	p := inEthernet(inIPv4(tcpSegment(1, 0x18, nil, []byte("hello"))))
	header := func(o binary.AppendByteOrder, magic uint32, minor uint16, snap uint32) []byte {
		b := o.AppendUint16(o.AppendUint16(o.AppendUint32(nil, magic), 2), minor)
		return o.AppendUint32(o.AppendUint32(o.AppendUint64(b, 0), snap), 1|0x5400_0000) // with an FCS of 4 octets
	}
	record := func(o binary.AppendByteOrder, values ...int) []byte {
		var b []byte
		for _, v := range values {
			b = o.AppendUint32(b, uint32(v))
		}
		return b
	}
	le, be := binary.LittleEndian, binary.BigEndian
	n := len(p)
	for _, c := range []struct {
		name   string
		header []byte
		record []byte
		want   tcp.Time
	}{
		{"little-endian", header(le, pcapMicro, 4, 65535), record(le, 5, 6, n, n), 5_000_006_000},
		{"big-endian", header(be, pcapMicro, 4, 65535), record(be, 5, 6, n, n), 5_000_006_000},
		{"nanoseconds", header(le, pcapNano, 4, 65535), record(le, 5, 6, n, n), 5_000_000_006},
		{"big-endian-nanoseconds", header(be, pcapNano, 4, 65535), record(be, 5, 6, n, n), 5_000_000_006},
		{"modified", header(le, pcapModified, 4, 65535), record(le, 5, 6, n, n, 1, 2), 5_000_006_000},
		{"no-snap-length", header(le, pcapMicro, 4, 0), record(le, 5, 6, n, n), 5_000_006_000},
		{"longer-than-the-snap-length", header(le, pcapMicro, 4, 16), record(le, 5, 6, n, n), 5_000_006_000},
		{"captured-more-than-was-sent", header(le, pcapMicro, 4, 65535), record(le, 5, 6, n, 10), 5_000_006_000},
		{"version-2.2", header(le, pcapMicro, 2, 65535), record(le, 5, 6, n+9, n), 5_000_006_000},
		{"version-2.3-swapped", header(le, pcapMicro, 3, 65535), record(le, 5, 6, n+9, n), 5_000_006_000},
		{"version-2.3", header(le, pcapMicro, 3, 65535), record(le, 5, 6, n, n+9), 5_000_006_000},
	} {
		b := append(append(c.header, c.record...), p...)
		s := open(t, Options{}, file(t, "x", b))
		all := read(t, s)
		if len(all) != 1 || all[0].Time != c.want || all[0].Data != 5 || all[0].Cut != tcp.CutNone || s.Stats().Truncated {
			t.Errorf("%s: got %+v, %+v", c.name, all, s.Stats())
		}
	}
}

func TestRecordsLargerThanTheWindow(t *testing.T) {
	big := inEthernet(inIPv6Next(protoTCP, tcpSegment(7, 0x10, nil, make([]byte, 3*windowSize))))
	big[ethernetSize+4], big[ethernetSize+5] = 0, 0 // its length does not fit
	b := pcap(1, numbered(1), big, numbered(2))
	all := read(t, open(t, Options{}, file(t, "x", b)))
	if len(all) != 3 || all[1].Data != 3*windowSize {
		t.Errorf("got %s", seqs(all))
	}
}

// Statistics are running totals of an interface; a section begins them anew.
func TestDroppedPackets(t *testing.T) {
	statistics := func(f *ngFile, number uint32, dropped, droppedOS uint64) {
		f.block(blockStatistics, f.numbers(number, uint64(0),
			f.option(4, f.numbers(uint64(1000))),
			f.option(optDropped, f.numbers(dropped)),
			f.option(optDroppedOS, f.numbers(droppedOS))))
	}
	f := section(false).iface(LinkEthernet).iface(LinkEthernet)
	statistics(f, 0, 3, 0)
	f.packet(1, 0, numbered(1))
	statistics(f, 0, 5, 1)
	statistics(f, 1, 10, 0)
	statistics(f, 2, 999, 0) // of no interface
	f.section(true).iface(LinkEthernet).packet(0, 0, numbered(2))
	statistics(f, 0, 100, 0)
	s := open(t, Options{}, file(t, "x", f.bytes()))
	if got, want := seqs(read(t, s)), "1:1 2:2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := s.Stats().Dropped; got != 116 {
		t.Errorf("got %d dropped, want 116", got)
	}
}
