package pcap

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// copied copies the packets of a capture for which comments has an entry, by their
// numbers from 1, with that comment.
func copied(t testing.TB, b []byte, comments map[int]string) []byte {
	t.Helper()
	var out Blocks
	c, err := NewCopier(bytes.NewReader(b), "x", "x", &out, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var r Record
	for n := 1; c.Next(&r) == nil; n++ {
		if comment, ok := comments[n]; ok {
			c.Keep(&r, comment)
		}
	}
	return out.Bytes()
}

// uncommented is a record without its comment, which copies add to.
func uncommented(r Record) string {
	r.Comment = ""
	return fmt.Sprint(r)
}

// blocks lists the blocks of a pcapng file: of packets their options, of others
// the type and the body.
func blocks(t testing.TB, b []byte) (list []string) {
	t.Helper()
	in := open(t, b)
	f := in.format.(*pcapngFile)
	f.seen = func(kind uint32, block []byte) {
		body := block[8 : len(block)-4]
		switch kind {
		case blockPacket, blockPacketObsolete:
			var options []string
			f.options(body[20+padded(f.order.u32(body[12:])):], func(code uint16, value []byte) {
				options = append(options, fmt.Sprintf("%d=%s", code, value))
			})
			list = append(list, fmt.Sprintf("packet %s", strings.Join(options, " ")))
		default:
			list = append(list, fmt.Sprintf("%#x %x", kind, body))
		}
	}
	if _, damage := read(t, in); damage != "" {
		t.Fatal(damage)
	}
	return list
}

// Of pcapng all blocks stay that are no packets, and of the packets that are kept
// all that they had.
func TestCopiedAsItWas(t *testing.T) {
	for _, big := range []bool{false, true} {
		f := section(big).iface(LinkEthernet, []byte{}).ifaceSnapped(LinkRaw, 96)
		f.iface(LinkRaw, f.option(optName, []byte("eth7")), f.option(optTimeUnit, []byte{9}), f.option(13, []byte{4}))
		f.block(4, []byte("names, and so on"))
		f.packet(0, 1_000_001, "one").packet(1, 2_000_002, "two")
		f.block(0x0bad, []byte("nobody knows it"))
		f.block(blockCustomHere, []byte("not to be copied"))
		with := f.numbers(uint32(2), uint32(7), uint32(9), uint32(5), uint32(1500), []byte("three\x00\x00\x00"))
		with = append(with, f.option(2, []byte("flag"))...)
		with = append(with, f.option(optComment, []byte("seen before"))...)
		f.block(blockPacket, append(with, f.option(optEnd, nil)...))
		f.block(blockPacketObsolete, f.numbers(uint16(1), uint16(7), uint32(0), uint32(1_500_000), uint32(4), uint32(104), []byte("four")))
		f.block(blockPacketSimple, f.numbers(uint32(4), []byte("five")))
		f.block(blockStatistics, f.numbers(uint32(0), uint64(0)))
		in := f.bytes()
		out := copied(t, in, map[int]string{1: "first", 3: "third", 4: "", 5: "there is no room"})

		all := whole(t, in)
		kept := whole(t, out)
		if texts(kept) != "one three four five" {
			t.Fatalf("big %v: kept %q", big, texts(kept))
		}
		for i, from := range []int{0, 2, 3, 4} {
			if uncommented(kept[i]) != uncommented(all[from]) {
				t.Errorf("big %v: got %+v, want %+v", big, kept[i], all[from])
			}
		}
		want := blocks(t, in)
		want[4], want[8] = "packet 1=first", "packet 1=third 2=flag 1=seen before"
		want = append(want[:7], want[8:]...) // the one that forbids it
		want = append(want[:5], want[6:]...) // the second packet
		got := blocks(t, out)
		if len(got) != len(want) {
			t.Fatalf("big %v: got %q, want %q", big, got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("big %v: got %q, want %q", big, got[i], want[i])
			}
		}
	}
}

// A section that said how long it was does not say it any more.
func TestCopiedSectionHasNoLength(t *testing.T) {
	for _, big := range []bool{false, true} {
		f := section(big).iface(LinkRaw).packet(0, 1, "one").packet(0, 2, "two")
		f.order.PutUint64(f.b[16:], uint64(len(f.b)-28))
		out := copied(t, f.bytes(), map[int]string{1: ""})
		if got := f.order.Uint64(out[16:]); got != math.MaxUint64 {
			t.Errorf("big %v: the section has %d octets", big, got)
		}
	}
}

// Of pcap the link type, the snap length, the unit and value of times, and both
// lengths stay as they were.
func TestPcapCopied(t *testing.T) {
	in := classic("one", "two", "three")
	in[24+12] = 200 // the first measured that on the wire
	for _, nano := range []bool{false, true} {
		if nano {
			copy(in, []byte{0x4d, 0x3c, 0xb2, 0xa1})
		}
		out := copied(t, in, map[int]string{1: "first", 3: ""})
		all, kept := whole(t, in), whole(t, out)
		if len(kept) != 2 || uncommented(kept[0]) != uncommented(all[0]) || uncommented(kept[1]) != uncommented(all[2]) {
			t.Fatalf("got %+v, want the first and the last of %+v", kept, all)
		}
		unit := "06"
		if nano {
			unit = "09"
		}
		want := []string{"0x1 01000000ffff000009000100" + unit + "00000000000000", "packet 1=first", "packet "}
		if got := blocks(t, out); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// What is copied ends where the capture is damaged.
func TestDamagedCopied(t *testing.T) {
	f := section(false).iface(LinkRaw).packet(0, 1, "one").packet(7, 2, "of nowhere").packet(0, 3, "three")
	if got := texts(whole(t, copied(t, f.bytes(), map[int]string{1: "", 2: "", 3: ""}))); got != "one" {
		t.Errorf("got %q", got)
	}
	if got := texts(whole(t, copied(t, gzipped(classic("one", "two")), map[int]string{2: ""}))); got != "two" {
		t.Errorf("of a compressed one: got %q", got)
	}
}

// A comment that is longer than an option can be is cut, between two characters.
func TestLongComment(t *testing.T) {
	long := "x" + strings.Repeat("ä", 40_000)
	for name, in := range map[string][]byte{"pcap": classic("one"), "pcapng": section(true).iface(LinkRaw).packet(0, 1, "one").bytes()} {
		list := blocks(t, copied(t, in, map[int]string{1: long}))
		got, want := list[len(list)-1], "packet 1=x"+strings.Repeat("ä", 32765)+"..."
		if got != want {
			t.Errorf("%s: got %d octets, want %d: %.20q...%q", name, len(got), len(want), got, got[max(0, len(got)-10):])
		}
	}
}

// FuzzCopy copies anything that can be read, with and without comments: the copy
// has the same packets.
func FuzzCopy(f *testing.F) {
	f.Add(classic("one", "two"), "")
	f.Add(gzipped(classic("one", "two")), "of a compressed one")
	for _, big := range []bool{false, true} {
		n := section(big).iface(LinkEthernet).packet(0, 1, "one").block(77, []byte("?"))
		n.block(blockPacketObsolete, n.numbers(uint16(0), uint16(7), uint32(0), uint32(1_500_000), uint32(3), uint32(103), []byte("two")))
		n.block(blockPacketSimple, n.numbers(uint32(5), []byte("three")))
		with := append(n.numbers(uint32(0), uint32(0), uint32(9), uint32(4), uint32(4), []byte("four")), n.option(2, []byte("flag"))...)
		f.Add(n.block(blockPacket, with).section(!big).iface(LinkRaw).packet(0, 1, "").bytes(), "seen")
	}
	f.Fuzz(func(t *testing.T, b []byte, comment string) {
		in, err := NewReader(bytes.NewReader(b), "x", "x")
		if err != nil {
			return
		}
		defer in.Close()
		var out Blocks
		c, err := NewCopier(bytes.NewReader(b), "x", "x", &out, func() error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var want []Record
		for {
			var r, same Record
			err := in.Next(&r)
			if copied := c.Next(&same); fmt.Sprint(copied) != fmt.Sprint(err) {
				t.Fatalf("packet %d: got %v, want %v", len(want)+1, copied, err)
			}
			if err != nil {
				break
			}
			c.Keep(&same, comment)
			r.Data = bytes.Clone(r.Data)
			want = append(want, r)
		}
		if len(out.Bytes()) == 0 {
			return
		}
		got, _ := read(t, open(t, out.Bytes()))
		if len(got) < len(want) {
			t.Fatalf("got %d packets, want %d", len(got), len(want))
		}
		for i, r := range want {
			if uncommented(got[i]) != uncommented(r) {
				t.Errorf("packet %d: got %+v, want %+v", i+1, got[i], r)
			}
		}
	})
}
