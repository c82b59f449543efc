package pcap

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// snoop is a file of packets of Ethernet, a second apart, the first one five
// microseconds after second 1; each says that as many were lost as its number.
func snoop(packets ...string) []byte {
	be := binary.BigEndian
	b := be.AppendUint32(be.AppendUint32([]byte(snoopMagic), 2), 4)
	for i, p := range packets {
		pad := -len(p) & 3
		for _, v := range []int{len(p) + 1, len(p), snoopRecordSize + len(p) + pad, i, 1 + i, 5} {
			b = be.AppendUint32(b, uint32(v))
		}
		b = append(append(b, p...), make([]byte, pad)...)
	}
	return b
}

// erf is records of a kind, half a second apart, the first a quarter of a second
// after the beginning of 2001.
func erf(kind byte, packets ...string) (b []byte) {
	for i, p := range packets {
		b = binary.LittleEndian.AppendUint64(b, 978307200<<32+1<<30+uint64(i)<<31)
		b = append(b, kind, 4)
		b = binary.BigEndian.AppendUint16(b, uint16(erfHeaderSize+len(p)))
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

func TestSnoop(t *testing.T) {
	in := open(t, snoop("one", "three"))
	all, damage := read(t, in)
	if texts(all) != "one three" || damage != "" {
		t.Fatalf("got %s, %s", texts(all), damage)
	}
	for i, r := range all {
		if want := tcp.Time(int64(1+i)*1e9 + 5000); r.Time != want || r.Wire != len(r.Data)+1 || r.Link != LinkEthernet {
			t.Errorf("got %+v", r)
		}
	}
	if in.Drops() != 1 {
		t.Errorf("%d drops", in.Drops())
	}
}

func TestERF(t *testing.T) {
	file := append(erf(2, "one"), append(erf(erfPadding, "pad"), erf(2, "two")...)...)
	all := whole(t, file)
	if len(all) != 2 || string(all[1].Data[erfHeaderSize:]) != "two" {
		t.Fatalf("got %s", texts(all))
	}
	want := tcp.Time(978307200_250_000_000)
	if r := all[0]; r.Time != want || r.Link != LinkERF || r.Wire != erfHeaderSize+3 {
		t.Errorf("got %+v, want a time of %d", r, want)
	}
	if all := whole(t, erf(2, "one")); len(all) != 1 {
		t.Errorf("one record alone: %d", len(all))
	}
}

func TestDamagedFilesOfOthers(t *testing.T) {
	long := snoop("one", "two")
	long[snoopHeaderSize+snoopRecordSize+4+8] = 0xff
	short := append(erf(2, "one", "two"), erf(2, "three")...)
	short[2*(erfHeaderSize+3)+11] = 3
	for _, c := range []struct {
		name   string
		file   []byte
		n      int
		damage string
	}{
		{"snoop-cut", snoop("one", "two")[:70], 1, "cut off mid-packet"},
		{"snoop-of-a-long-record", long, 1, "corrupt: a record of 4278190108 bytes"},
		{"erf-cut", erf(2, "one", "two")[:37], 1, "cut off mid-packet"},
		{"erf-of-a-short-record", short, 2, "corrupt: a record of 3 bytes"},
	} {
		all, damage := read(t, open(t, c.file))
		if len(all) != c.n || damage != c.damage {
			t.Errorf("%s: %d records, %q, want %d, %q", c.name, len(all), damage, c.n, c.damage)
		}
	}
}

// Navtel's files have another magic number, and nanoseconds.
func TestNavtel(t *testing.T) {
	for _, big := range []bool{false, true} {
		file := classic("one")
		binary.LittleEndian.PutUint32(file, pcapNavtel)
		if big {
			for _, at := range []int{0, 8, 12, 16, 20, 24, 28, 32, 36} {
				n := file[at : at+4]
				n[0], n[1], n[2], n[3] = n[3], n[2], n[1], n[0]
			}
			file[4], file[5], file[6], file[7] = 0, 2, 0, 4
		}
		if all := whole(t, file); len(all) != 1 || all[0].Time != 1_000_000_005 {
			t.Errorf("big endian %v: got %+v", big, all)
		}
	}
}

// What is picked of such files is copied as it is.
func TestCopiesOfOthers(t *testing.T) {
	for _, file := range [][]byte{snoop("one", "two"), erf(2, "one", "two")} {
		before := whole(t, file)
		after := whole(t, copied(t, file, map[int]string{2: "a comment"}))
		if len(after) != 1 || !bytes.Equal(after[0].Data, before[1].Data) || after[0].Time != before[1].Time || after[0].Link != before[1].Link {
			t.Errorf("got %+v, want %+v", after, before[1])
		}
	}
}

// Nokia's records have four octets more, and nothing says so but where the next one
// is.
func TestNokia(t *testing.T) {
	file := classic("one", "three")[:pcapHeaderSize]
	for i, p := range []string{"one", "three"} {
		record := classic(p)[pcapHeaderSize:]
		record[0] = byte(1 + i)
		file = append(append(append(file, record[:16]...), "\x00\x00\x00\x07"...), record[16:]...)
	}
	for _, c := range []struct {
		file []byte
		want string
	}{
		{file, "one three"},
		{classic("one", "three"), "one three"},
		{classic("one"), "one"},
		{classic(), ""},
	} {
		if got := texts(whole(t, c.file)); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if all, _ := read(t, open(t, classic("one", "two")[:pcapHeaderSize+19+5])); texts(all) != "one" {
		t.Errorf("of a file that is cut: %s", texts(all))
	}
}
