package decode

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// defragmenter feeds fragments and says what comes of each.
type defragmenter struct {
	t testing.TB
	p Decoder
}

func newDefragmenter(t testing.TB) *defragmenter {
	return &defragmenter{t: t, p: Decoder{o: Options{VerifyChecksums: true}}}
}

// feed decodes a packet, captured that long after the first. The segment is
// zero where there is none.
func (d *defragmenter) feed(after time.Duration, ip []byte, wire int) (tcp.Segment, Verdict) {
	var s tcp.Segment
	v := d.p.fast(pcap.LinkRaw, ip, wire, &s)
	if v == ask {
		v = d.p.slowUnguarded(pcap.LinkRaw, frame{ip, wire}, tcp.Time(time.Hour+after), &s)
	}
	if v != TCP {
		s = tcp.Segment{}
	}
	return s, v
}

// pieces cuts a segment into IPv4 fragments of so many octets.
func pieces(segment []byte, size int) [][]byte {
	var all [][]byte
	for at := 0; at < len(segment); at += size {
		flags := uint16(at / 8)
		end := min(at+size, len(segment))
		if end < len(segment) {
			flags |= 0x2000
		}
		all = append(all, inIPv4Fragment(inet.ProtoTCP, flags, segment[at:end]))
	}
	return all
}

// whole checks that a segment is the one that was cut up.
func (d *defragmenter) whole(s tcp.Segment, segment []byte) {
	d.t.Helper()
	want := tcp.Segment{}
	v := d.p.fast(pcap.LinkRaw, inIPv4(segment), 20+len(segment), &want)
	want.Fragment, want.NoDF = true, true
	if v != TCP || s != want {
		d.t.Errorf("got  %+v\nwant %+v", s, want)
	}
}

func TestFragmentsInAnyOrder(t *testing.T) {
	segment := tcpSegment(7, 0x19, []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, []byte("some octets of data"))
	all := pieces(segment, 16)
	if len(all) != 4 {
		t.Fatalf("got %d fragments", len(all))
	}
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}, {2, 0, 3, 1}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			d := newDefragmenter(t)
			for i, at := range order {
				s, v := d.feed(0, all[at], len(all[at]))
				if last := i == len(order)-1; last {
					d.whole(s, segment)
				} else if v != NotTCP {
					t.Errorf("fragment %d: got verdict %d", at, v)
				}
			}
			if d.p.fragments.kept != 0 {
				t.Errorf("%d octets are kept", d.p.fragments.kept)
			}
		})
	}
}

func TestRepeatedFragmentsAreNoOverlap(t *testing.T) {
	segment := tcpSegment(7, 0x18, nil, make([]byte, 40))
	all := pieces(segment, 40)
	d := newDefragmenter(t)
	d.feed(0, all[0], len(all[0]))
	d.feed(0, all[0], len(all[0]))
	s, _ := d.feed(0, all[1], len(all[1]))
	d.whole(s, segment)
	// The copy of the last does not begin another datagram, so that the next
	// with this identification is put together of its own fragments.
	d.feed(time.Millisecond, all[1], len(all[1]))
	other := pieces(tcpSegment(8, 0x18, nil, make([]byte, 40)), 40)
	if _, v := d.feed(time.Second, other[0], len(other[0])); v != NotTCP {
		t.Errorf("put together of a stale fragment: verdict %d", v)
	}
	if s, _ := d.feed(time.Second, other[1], len(other[1])); s.Seq != 8 {
		t.Errorf("got %+v", s)
	}
}

func TestFragmentsThatContradictEachOtherAreGivenUp(t *testing.T) {
	segment := tcpSegment(7, 0x18, nil, make([]byte, 60)) // 80 octets
	piece := func(from, to int, more bool) []byte {
		flags := uint16(from / 8)
		if more {
			flags |= 0x2000
		}
		return inIPv4Fragment(inet.ProtoTCP, flags, segment[from:to])
	}
	first, last := piece(0, 40, true), piece(40, 80, false)
	for name, bad := range map[string][]byte{
		"overlaps-the-first":          piece(32, 64, true),
		"overlaps-the-next":           piece(8, 48, true),
		"same-place-another-length":   piece(0, 32, true),
		"same-place-but-longer":       piece(0, 48, true),
		"another-end":                 piece(40, 72, false),
		"beyond-the-end":              inIPv4Fragment(inet.ProtoTCP, 0x2000|10, make([]byte, 8)),
		"ends-before-what-is-there":   inIPv4Fragment(inet.ProtoTCP, 1, make([]byte, 4)),
		"an-end-in-the-middle-of-all": piece(32, 40, false),
	} {
		d := newDefragmenter(t)
		undecodable := 0 // the one that contradicts the others, once
		for _, g := range [][]byte{last, bad, first, piece(40, 80, false)} {
			switch _, v := d.feed(0, g, len(g)); v {
			case TCP:
				t.Errorf("%s: put together", name)
			case Undecodable:
				undecodable++
			}
		}
		if undecodable != 1 {
			t.Errorf("%s: %d undecodable", name, undecodable)
		}
		if d.p.fragments.kept != 0 && name != "same-place-another-length" && name != "same-place-but-longer" {
			t.Errorf("%s: %d octets are kept", name, d.p.fragments.kept)
		}
	}
}

func TestMalformedFragments(t *testing.T) {
	for name, ip := range map[string][]byte{
		"middle-of-an-odd-length": inIPv4Fragment(inet.ProtoTCP, 0x2000, make([]byte, 21)),
		"beyond-64-KB":            inIPv4Fragment(inet.ProtoTCP, 0x1fff, make([]byte, 80)),
		"without-data":            inIPv4Fragment(inet.ProtoTCP, 0x2000, nil),
		"v6-header-cut":           inIPv6Next(inet.ProtoFragment, make([]byte, 7)),
		"v6-beyond-64-KB":         inIPv6Fragment(inet.ProtoTCP, 0xfff8, make([]byte, 80)),
	} {
		if _, v := newDefragmenter(t).feed(0, ip, len(ip)); v != Undecodable {
			t.Errorf("%s: got verdict %d", name, v)
		}
	}
}

// With fragments cut by the snap length the header is in the first and the
// length follows from the last.
func TestCutFragments(t *testing.T) {
	segment := tcpSegment(7, 0x18, nil, make([]byte, 3000))
	d := newDefragmenter(t)
	var s tcp.Segment
	for _, ip := range pieces(segment, 1480) {
		s, _ = d.feed(0, ip[:min(len(ip), 60)], len(ip))
	}
	if s.Seq != 7 || s.Data != 3000 || s.Cut != tcp.CutPayload || !s.Fragment || s.Sum != tcp.SumUnchecked {
		t.Errorf("got %+v", s)
	}
	d = newDefragmenter(t)
	var v Verdict
	for _, ip := range pieces(segment, 1480) {
		_, v = d.feed(0, ip[:min(len(ip), 39)], len(ip))
	}
	if v != Undecodable {
		t.Errorf("without a header: got verdict %d", v)
	}
}

func TestFragmentsTimeOut(t *testing.T) {
	segment := tcpSegment(7, 0x18, nil, make([]byte, 40))
	all := pieces(segment, 40)
	d := newDefragmenter(t)
	d.feed(0, all[0], len(all[0]))
	if _, v := d.feed(31*time.Second, all[1], len(all[1])); v != NotTCP {
		t.Errorf("got verdict %d", v)
	}
	if s, _ := d.feed(60*time.Second, all[0], len(all[0])); s.Seq != 7 {
		t.Errorf("got %+v", s)
	}
}

func TestFragmentsAreBounded(t *testing.T) {
	d := newDefragmenter(t)
	for i := range 3 * MaxDatagrams {
		ip := inIPv4Fragment(inet.ProtoTCP, 0x2000, make([]byte, 1480))
		ip[4], ip[5], ip[15] = byte(i>>8), byte(i), byte(i>>16)
		d.feed(0, ip, len(ip))
		fs := &d.p.fragments
		if len(fs.datagrams) > MaxDatagrams || len(fs.order) > MaxDatagrams || fs.kept > MaxFragmentBytes {
			t.Fatalf("%d datagrams, %d in order, %d octets", len(fs.datagrams), len(fs.order), fs.kept)
		}
	}
	if want := 3*MaxDatagrams - len(d.p.fragments.datagrams); d.p.GivenUp() != want {
		t.Errorf("%d datagrams are said to be given up, want %d", d.p.GivenUp(), want)
	}
	d = newDefragmenter(t)
	for i := range 2 * MaxPieces {
		ip := inIPv4Fragment(inet.ProtoTCP, 0x2000|uint16(2*i), make([]byte, 8))
		d.feed(0, ip, len(ip))
	}
	if d.p.fragments.kept != 0 || d.p.GivenUp() != 1 {
		t.Errorf("of a datagram of too many pieces %d octets are kept, and %d are said to be given up", d.p.fragments.kept, d.p.GivenUp())
	}
}

func TestFragmentsOfWhatIsNoTunnelAreNotKept(t *testing.T) {
	d := newDefragmenter(t)
	datagram := inUDP(53, make([]byte, 72))
	for i, ip := range [][]byte{
		inIPv4Fragment(inet.ProtoUDP, 0x2000, datagram[:40]),
		inIPv4Fragment(inet.ProtoUDP, 5, datagram[40:]),
		inIPv4Fragment(inet.ProtoICMP, 0x2000, make([]byte, 40)),
		inIPv4Fragment(50, 0x2000, make([]byte, 40)),
	} {
		want := NotTCP
		if i == 3 {
			want = Shut
		}
		if _, v := d.feed(0, ip, len(ip)); v != want || d.p.fragments.kept != 0 {
			t.Errorf("got verdict %d, %d octets are kept", v, d.p.fragments.kept)
		}
	}
}

func TestIPv6Fragments(t *testing.T) {
	segment := tcpSegment(7, 0x18, nil, make([]byte, 60))
	with := appendAll(nil, uint8(inet.ProtoTCP), uint8(0), "\x01\x04\x00\x00\x00\x00", segment)
	d := newDefragmenter(t)
	first, last := inIPv6Fragment(inet.ProtoDestOpts, 1, with[:48]), inIPv6Fragment(inet.ProtoDestOpts, 48, with[48:])
	d.feed(0, last, len(last))
	if s, _ := d.feed(0, first, len(first)); s.Seq != 7 || s.Data != 60 || !s.Fragment {
		t.Errorf("got %+v", s)
	}
	atomic := inIPv6Fragment(inet.ProtoTCP, 0, segment)
	if s, _ := d.feed(0, atomic, len(atomic)); s.Seq != 7 || s.Fragment {
		t.Errorf("atomic: got %+v", s)
	}
}

func TestFragmentsOfATunnel(t *testing.T) {
	segment := tcpSegment(7, 0x18, nil, make([]byte, 60))
	datagram := inUDP(portVXLAN, appendAll(nil, "\x08\x00\x00\x00\x00\x00\x01\x00", inEthernet(inIPv4(segment))))
	d := newDefragmenter(t)
	first := inIPv4Fragment(inet.ProtoUDP, 0x2000, datagram[:80])
	last := inIPv4Fragment(inet.ProtoUDP, 10, datagram[80:])
	d.feed(0, first, len(first))
	if s, _ := d.feed(0, last, len(last)); s.Seq != 7 || s.Data != 60 || s.Fragment {
		t.Errorf("got %+v: the segment itself is in one piece", s)
	}
}

// Many small pieces take what they take in memory, not what they have of data.
func TestPiecesAreCountedWhole(t *testing.T) {
	var p Decoder
	fs := &p.fragments
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	key := fragmentKey{v6: true}
	for i := range 8 * MaxDatagrams {
		key.id = uint32(i)
		d := fs.find(key, 1)
		for k := range 64 {
			fs.add(d, fragment{offset: 16 * k, more: true, frame: frame{[]byte{1, 2, 3, 4, 5, 6, 7, 8}, 8}}, []int{i}, 1)
		}
		if fs.kept > MaxFragmentBytes || fs.kept < 0 {
			t.Fatalf("%d octets are kept", fs.kept)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if used := int64(after.HeapAlloc) - int64(before.HeapAlloc); used > 2*MaxFragmentBytes {
		t.Errorf("%d MiB are in use, and %d are counted", used>>20, fs.kept>>20)
	}
	runtime.KeepAlive(fs)
}
