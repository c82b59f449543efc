package pcap

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func TestSectionsOfEitherByteOrder(t *testing.T) {
	f := section(false).iface(LinkEthernet).iface(LinkRaw).
		packet(0, 1_000_001, "one").
		packet(1, 2_000_002, "two")
	f.section(true).iface(LinkRaw) // a section's interfaces are its own
	f.packet(0, 3_000_003, "three")
	f.section(false).iface(LinkEthernet).packet(0, 4_000_004, "four")
	all := whole(t, f.bytes())
	if got, want := texts(all), "one two three four"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	links := []LinkType{LinkEthernet, LinkRaw, LinkRaw, LinkEthernet}
	for i, r := range all {
		if want := tcp.Time(i+1) * 1_000_001_000; r.Time != want || r.Link != links[i] {
			t.Errorf("packet %d: got time %d, link type %v, want %d, %v", i+1, r.Time, r.Link, want, links[i])
		}
	}
}

func TestUnknownBlocksAreSkipped(t *testing.T) {
	f := section(true)
	f.block(0x0bad, make([]byte, 3*windowSize)) // does not fit into the window
	f.iface(LinkEthernet).block(4, []byte("names")).packet(0, 7, "one")
	f.block(10, make([]byte, 12)).packet(0, 8, "two")
	if got, want := texts(whole(t, f.bytes())), "one two"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestObsoletePacketBlock(t *testing.T) {
	f := section(true).iface(LinkNull).iface(LinkEthernet)
	f.block(blockPacketObsolete, f.numbers(uint16(1), uint16(7), uint32(0), uint32(1_500_000), uint32(3), uint32(103), []byte("one")))
	all := whole(t, f.bytes())
	if len(all) != 1 || all[0].Time != 1_500_000_000 || all[0].Wire != 103 || all[0].Link != LinkEthernet || texts(all) != "one" {
		t.Errorf("got %+v", all)
	}
}

// A simple packet block has no time, and the snap length of its interface says
// how much was captured.
func TestSimplePacketBlock(t *testing.T) {
	f := section(false).ifaceSnapped(LinkEthernet, 6)
	f.packet(0, 5_000_000, "nine")
	f.block(blockPacketSimple, f.numbers(uint32(100), []byte("packet, and padding")))
	all := whole(t, f.bytes())
	if len(all) != 2 {
		t.Fatalf("got %v", all)
	}
	if r := all[1]; string(r.Data) != "packet" || r.Wire != 100 || r.Time != 0 || r.Link != LinkEthernet {
		t.Errorf("got %+v", r)
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
			f.iface(LinkEthernet, f.option(optTimeUnit, []byte{c.unit})).packet(0, c.ticks, "one")
			if got := whole(t, f.bytes()); len(got) != 1 || got[0].Time != c.want {
				t.Errorf("got %+v, want %v", got, c.want)
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
		if got := whole(t, f.packet(0, 1_000_000, "one").bytes()); len(got) != 1 || got[0].Time != c.want {
			t.Errorf("%s: got %+v, want %v", c.name, got, c.want)
		}
	}
}

func TestMalformedBlocksAreCorrupt(t *testing.T) {
	good := func() *ngFile { return section(false).iface(LinkEthernet).packet(0, 1, "one") }
	f := good()
	short := f.numbers(uint32(0), uint32(0), uint32(0), uint32(5000), uint32(5000))
	for name, b := range map[string][]byte{
		"unknown-interface":         good().packet(1, 1, "two").bytes(),
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
		if all, damage := read(t, open(t, b)); !strings.HasPrefix(damage, "corrupt: ") || len(all) > 1 {
			t.Errorf("%s: got %d packets, %q", name, len(all), damage)
		}
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
	f.packet(1, 0, "one")
	statistics(f, 0, 5, 1)
	statistics(f, 1, 10, 0)
	statistics(f, 2, 999, 0) // of no interface
	f.section(true).iface(LinkEthernet).packet(0, 0, "two")
	statistics(f, 0, 100, 0)
	in := open(t, f.bytes())
	if all, damage := read(t, in); texts(all) != "one two" || damage != "" {
		t.Errorf("got %s, %s, want one two", texts(all), damage)
	}
	if got := in.Drops(); got != 116 {
		t.Errorf("got %d dropped, want 116", got)
	}
}

// However many interfaces and names there are before the first packet, they take
// little memory, in what is read and in what is copied.
func TestDescriptionsAreBounded(t *testing.T) {
	s := section(false)
	one := len(s.bytes())
	interfaces := bytes.Repeat(s.iface(LinkRaw).bytes()[one:], 2*maxInterfaces)
	names := bytes.Repeat(section(false).block(4, make([]byte, 60)).bytes()[one:], 2*maxInterfaces)
	head := section(false).bytes()
	in, err := NewReader(bytes.NewReader(append(head[:one:one], interfaces...)), "x", "x")
	if err != nil {
		t.Fatal(err)
	}
	var r Record
	var damage *Damage
	if err := in.Next(&r); !errors.As(err, &damage) || err.Error() != "corrupt: more than 65536 interfaces" {
		t.Errorf("got %v", err)
	}
	for name, blocks := range map[string][]byte{"interfaces": interfaces[:len(interfaces)/2], "names": names} {
		var out Blocks
		copied := 0
		c, err := NewCopier(bytes.NewReader(append(head[:one:one], blocks...)), "x", "x", &out, func() error {
			copied += len(out.Bytes())
			out.Reset()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Next(&r); err != io.EOF {
			t.Errorf("%s: %v", name, err)
		}
		if copied += len(out.Bytes()); copied != one+len(blocks) || cap(out.Bytes()) > 4*enough {
			t.Errorf("%s: %d octets were copied, want %d; %d were held", name, copied, one+len(blocks), cap(out.Bytes()))
		}
		c.Close()
	}
}

// Names of hosts are told, wherever they are, in either byte order; malformed ones
// are passed over.
func TestNamesOfHosts(t *testing.T) {
	for _, big := range []bool{false, true} {
		f := section(big).iface(LinkEthernet)
		v4 := []byte("\x0a\x00\x00\x01one.example\x00one\x00")
		v6 := append(append([]byte{0x20, 1, 0x0d, 0xb8}, make([]byte, 12)...), "six.example\x00"...)
		f.block(blockNames, append(append(f.option(1, v4), f.option(2, v6)...), f.option(0, nil)...))
		f.packet(0, 1, "packet")
		long := append([]byte{10, 0, 0, 2}, strings.Repeat("x", 256)+"\x00two\x00"...)
		f.block(blockNames, slices.Concat(f.option(9, v4), f.option(1, v4[:4]), f.option(1, v4[:3]), f.option(1, long), f.numbers(uint16(1), uint16(400))))
		in := open(t, f.bytes())
		var got []string
		var r Record
		for {
			err := in.Next(&r)
			for _, n := range in.Names() {
				got = append(got, n.Host.String()+"="+n.Name)
			}
			if got = append(got, "|"); err != nil {
				break
			}
		}
		if s, want := strings.Join(got, " "), "10.0.0.1=one.example 10.0.0.1=one 2001:db8::=six.example | 10.0.0.2=two |"; s != want {
			t.Errorf("got %s, want %s", s, want)
		}
	}
}

// Names that nobody asks for are bounded.
func TestNamesOfHostsAreBounded(t *testing.T) {
	f := section(false).iface(LinkEthernet)
	for range 40 {
		f.block(blockNames, f.option(1, append([]byte{10, 0, 0, 1}, strings.Repeat("x\x00", 1000)...)))
	}
	in := open(t, f.packet(0, 1, "packet").bytes())
	if all, damage := read(t, in); len(all) != 1 || damage != "" || len(in.Names()) != MaxNames || in.Names() != nil || in.Unnamed() != 40*1000-MaxNames {
		t.Errorf("got %d packets, %s, and not %d names; %d were passed over", len(all), damage, MaxNames, in.Unnamed())
	}
}
