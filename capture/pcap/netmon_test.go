package pcap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A netmonFrame is one of a file that is made.
type netmonFrame struct {
	data    string
	network uint16
}

// netmonBegin is when the files that are made begin.
var netmonBegin = time.Date(2010, 3, 4, 5, 6, 7, 8e6, time.UTC)

// netmon is a file of Network Monitor: its frames are 1.5 ms apart, and lie behind
// a hole in the order that is given, which are their places in the table.
func netmon(major, minor byte, order []int, frames ...netmonFrame) []byte {
	le := binary.LittleEndian
	magic := netmonMagic2
	if major == 1 {
		magic = netmonMagic1
	}
	b := append([]byte(magic), minor, major, 1, 0)
	y, m, d := netmonBegin.Date()
	for _, v := range []int{y, int(m), int(netmonBegin.Weekday()), d, netmonBegin.Hour(), netmonBegin.Minute(), netmonBegin.Second(), netmonBegin.Nanosecond() / 1e6} {
		b = le.AppendUint16(b, uint16(v))
	}
	b = append(b, make([]byte, 128-len(b))...)
	places := make([]uint32, len(frames))
	if order == nil {
		for i := range frames {
			order = append(order, i)
		}
	}
	for _, i := range order {
		b = append(b, "hole"...)
		places[i] = uint32(len(b))
		f := frames[i]
		after := time.Duration(i) * 1500 * time.Microsecond
		if major == 1 {
			b = le.AppendUint32(b, uint32(after/time.Millisecond))
			b = le.AppendUint16(le.AppendUint16(b, uint16(len(f.data)+1)), uint16(len(f.data)))
		} else {
			b = le.AppendUint64(b, uint64(after/time.Microsecond))
			b = le.AppendUint32(le.AppendUint32(b, uint32(len(f.data)+1)), uint32(len(f.data)))
		}
		b = append(b, f.data...)
		if major == 2 && minor > 0 {
			b = le.AppendUint16(b, f.network)
		}
		if major == 2 && minor > 1 {
			b = le.AppendUint32(b, 77)
		}
		if major == 2 && minor > 2 {
			since1601 := netmonBegin.Add(after+100).Sub(time.Unix(0, 0))/100 + 116_444_736_000_000_000
			b = append(le.AppendUint64(b, uint64(since1601)), 0)
		}
	}
	le.PutUint32(b[24:], uint32(len(b)))
	le.PutUint32(b[28:], uint32(4*len(places)))
	for _, at := range places {
		b = le.AppendUint32(b, at)
	}
	return b
}

// Every version is read, at any place of a file, compressed, and from a pipe.
func TestNetmon(t *testing.T) {
	frames := []netmonFrame{{"one", 1}, {"two", 1}, {"three", 1}, {"four", 1}}
	for _, c := range []struct {
		major, minor byte
		tick         time.Duration
		more         time.Duration
	}{
		{1, 1, time.Millisecond, 0},
		{2, 0, time.Microsecond, 0},
		{2, 1, time.Microsecond, 0},
		{2, 2, time.Microsecond, 0},
		{2, 3, 100, 100},
	} {
		for _, order := range [][]int{{0, 1, 2, 3}, {3, 0, 1, 2}, {2, 1, 3, 0}} {
			file := netmon(c.major, c.minor, order, frames...)
			for name, r := range map[string]io.Reader{
				"file": bytes.NewReader(file), "pipe": iotest.OneByteReader(bytes.NewReader(file)), "compressed": bytes.NewReader(gzipped(file)),
			} {
				in, err := NewReader(r, "x", "x")
				if err != nil {
					t.Fatal(err)
				}
				all, damage := read(t, in)
				if texts(all) != "one two three four" || damage != "" {
					t.Fatalf("%d.%d, %v, %s: got %s, %q", c.major, c.minor, order, name, texts(all), damage)
				}
				for i, r := range all {
					want := netmonBegin.Add((time.Duration(i) * 1500 * time.Microsecond).Truncate(c.tick) + c.more)
					if int64(r.Time) != want.UnixNano() || r.Link != LinkEthernet || r.Wire != len(r.Data)+1 {
						t.Errorf("%d.%d: got %+v, want the time %v", c.major, c.minor, r, want)
					}
				}
			}
		}
	}
}

// Each frame says what it is. What Network Monitor writes about itself counts as
// a frame, if it does for Wireshark.
func TestNetmonLinks(t *testing.T) {
	wifi := "\x02\x05\x00..802.11"
	atm := "addressaddre\x00\x01\x00\x02pdu"
	file := netmon(2, 3, nil, netmonFrame{"a", 0}, netmonFrame{"b", 1}, netmonFrame{"c", 2}, netmonFrame{"d", 3}, netmonFrame{atm, 4}, netmonFrame{"e", 5},
		netmonFrame{wifi, 6}, netmonFrame{"f", 9}, netmonFrame{"g", 10}, netmonFrame{"h", 0xe071}, netmonFrame{"i", 0xe080}, netmonFrame{"j", 0xe083},
		netmonFrame{"filter", 0xffff}, netmonFrame{"names", 0xfffe}, netmonFrame{"k", 0xffe0}, netmonFrame{"l", 1})
	var got []string
	for _, r := range whole(t, file) {
		got = append(got, fmt.Sprintf("%d:%s", r.Link, strings.Trim(string(r.Data), "\x00")))
	}
	want := "1:a 1:b 6:c 10:d 100:pdu 65535:e 105:802.11 101:f 65535:g 113:h 105:i 65535:j 0: 0: 1:l"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got %s, want %s", s, want)
	}
}

// A frame may be from before the beginning.
func TestNetmonBeforeItsBeginning(t *testing.T) {
	file := netmon(2, 0, nil, netmonFrame{data: "one"})
	copy(file[132:], binary.LittleEndian.AppendUint64(nil, uint64(1<<64-5_000_000)/10))
	if all := whole(t, file); tcp.Time(netmonBegin.UnixNano()).Sub(all[0].Time) != 500*time.Millisecond+600 {
		t.Errorf("it is %v before", tcp.Time(netmonBegin.UnixNano()).Sub(all[0].Time))
	}
}

func TestDamagedNetmon(t *testing.T) {
	le := binary.LittleEndian
	good := func() []byte { return netmon(2, 3, nil, netmonFrame{"one", 1}, netmonFrame{"two", 1}) }
	table := int(le.Uint32(good()[24:]))
	long, twice, beyond, many := good(), good(), good(), good()
	le.PutUint32(long[132+12:], 0xfffffff0)
	le.PutUint32(twice[table+4:], 132)
	le.PutUint32(beyond[table+4:], 1<<31)
	le.PutUint32(many[28:], 1<<31)
	for _, c := range []struct {
		name   string
		file   []byte
		n      int
		damage string
	}{
		{"cut-in-the-table", good()[:table+6], 1, "cut off mid-packet"},
		{"cut-before-the-table", good()[:table-9], 0, "cut off mid-packet"},
		{"a-long-frame", long, 0, "corrupt: a record of 4294967280 bytes"},
		{"a-frame-twice", twice, 1, "corrupt: frames in each other's place"},
		{"a-frame-beyond-the-end", beyond, 1, "cut off mid-packet"},
		{"a-table-beyond-the-end", many, 2, "cut off mid-packet"},
	} {
		all, damage := read(t, open(t, c.file))
		if len(all) != c.n || damage != c.damage {
			t.Errorf("%s: %d frames, %q, want %d, %q", c.name, len(all), damage, c.n, c.damage)
		}
	}
	future := good()
	future[5] = 3
	for _, c := range []struct {
		r    io.Reader
		want string
	}{
		{bytes.NewReader(future), "x: version 3.3 of Network Monitor is not supported"},
		{bytes.NewReader(good()[:20]), "x: shorter than a capture header (20 bytes); the copy may be incomplete"},
		{io.MultiReader(bytes.NewReader(good()[:150]), iotest.ErrReader(errors.New("no more"))), "reading x: no more"},
	} {
		if _, err := NewReader(c.r, "x", "x"); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// Frames of several link types are copied to an interface each.
func TestNetmonIsCopied(t *testing.T) {
	file := netmon(2, 3, nil, netmonFrame{"one", 1}, netmonFrame{"two", 9}, netmonFrame{"three", 1}, netmonFrame{"four", 9})
	var out Blocks
	c, err := NewCopier(bytes.NewReader(file), "x", "x", &out, nil)
	if err != nil {
		t.Fatal(err)
	}
	var r Record
	for c.Next(&r) == nil {
		c.Keep(&r, "")
	}
	all, want := whole(t, out.Bytes()), whole(t, file)
	if len(all) != 4 {
		t.Fatalf("got %s", texts(all))
	}
	for i, r := range all {
		if w := want[i]; r.Link != w.Link || r.Time != w.Time || r.Wire != w.Wire || string(r.Data) != string(w.Data) {
			t.Errorf("got %+v, want %+v", r, w)
		}
	}
}

// A frame is read with those behind it, and one in another place alone.
func TestNetmonReadsNoMoreThanItNeeds(t *testing.T) {
	const n = 300
	frames, order := make([]netmonFrame, n), make([]int, n)
	for i := range frames {
		frames[i] = netmonFrame{strings.Repeat("x", 1400), 1}
		order[i] = n - 1 - i
	}
	for name, c := range map[string]struct {
		order []int
		most  int64
	}{"in-order": {nil, 600 << 10}, "backwards": {order, n * (2<<10 + netmonJump)}} {
		file := netmon(2, 3, c.order, frames...)
		in := open(t, file)
		if all, _ := read(t, in); len(all) != n || in.Position() > c.most {
			t.Errorf("%s: %d frames, %d octets read of %d", name, len(all), in.Position(), len(file))
		}
	}
}
