package pcap

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// stamped returns a capture of packets that are stamped at these seconds. Each
// holds its number.
func stamped(seconds []int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, pcapNano)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, byte(LinkRaw), 0, 0, 0)
	for i, s := range seconds {
		b = binary.LittleEndian.AppendUint32(b, uint32(s))
		b = append(b, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, byte(i))
	}
	return b
}

// A stamp that is far from those before and behind it is put right; one before
// which, or behind which, the clock goes on from there is left alone.
func TestWrongStampsArePutRight(t *testing.T) {
	const y = 1 << 31 // decades
	for _, c := range []struct {
		claim string
		in    []int
		want  []int
		first int // the first that is wrong
	}{
		{"in-order", []int{100, 101, 102, 103}, []int{100, 101, 102, 103}, 0},
		{"from-the-future", []int{100, 101, y, 102, 103}, []int{100, 101, 101, 102, 103}, 3},
		{"eleven-seconds-ahead", []int{100, 101, 113, 102, 103}, []int{100, 101, 101, 102, 103}, 3},
		{"ten-seconds-ahead", []int{100, 101, 111, 101, 103}, []int{100, 101, 111, 101, 103}, 0},
		{"from-long-ago", []int{1000, 1001, 1, 1002, 1003}, []int{1000, 1001, 1001, 1002, 1003}, 3},
		{"two-in-a-row", []int{100, 101, y, y + 1, 102, 103}, []int{100, 101, 101, 101, 102, 103}, 3},
		{"ahead-and-behind", []int{1000, 1001, y, 1, 1002, 1003}, []int{1000, 1001, 1001, 1001, 1002, 1003}, 3},
		{"every-other", []int{100, y, 101, y + 1, 102, y + 2, 103}, []int{100, 100, 101, 101, 102, 102, 103}, 2},
		{"three-in-a-row-are-a-clock", []int{100, 101, 4000, 4001, 4002, 102, 103, 104}, []int{100, 101, 4000, 4001, 4002, 102, 103, 104}, 0},
		{"a-pause", []int{100, 4000, 4001, 4002}, []int{100, 4000, 4001, 4002}, 0},
		{"pauses-only", []int{100, 4000, 8000, 12000}, []int{100, 4000, 8000, 12000}, 0},
		{"wrong-behind-a-pause", []int{100, 4000, y, 4001, 4002}, []int{100, 4000, 4000, 4001, 4002}, 3},
		{"wrong-before-a-pause", []int{100, y, 4000, 4001, 4002}, []int{100, 100, 4000, 4001, 4002}, 2},
		{"a-clock-is-set-back", []int{3999, 4000, 4001, 100, 101, 102}, []int{3999, 4000, 4001, 100, 101, 102}, 0},
		{"a-clock-is-set-back-before-a-pause", []int{3999, 4000, 4001, 100, 120, 121}, []int{3999, 4000, 4001, 100, 120, 121}, 0},
		{"the-first-from-the-future", []int{y, 100, 101, 102}, []int{100, 100, 101, 102}, 1},
		{"the-first-two-from-the-future", []int{y, y + 1, 100, 101, 102}, []int{100, 100, 100, 101, 102}, 1},
		{"the-second-from-long-ago", []int{1000, 1, 1001, 1002}, []int{1000, 1000, 1001, 1002}, 2},
		{"of-two-the-first-from-the-future", []int{y, 100}, []int{100, 100}, 1},
		{"the-last-may-follow-a-pause", []int{100, 101, y}, []int{100, 101, y}, 0},
		{"one-alone", []int{y}, []int{y}, 0},
		{"no-stamps", []int{100, 0, 101, 0, 102}, []int{100, 0, 101, 0, 102}, 0},
	} {
		t.Run(c.claim, func(t *testing.T) {
			in := open(t, stamped(c.in))
			in.Place()
			var got []int
			var r Record
			for i := 0; in.Next(&r) == nil; i++ {
				if i == 0 {
					in.Unread(r)
					in.Next(&r)
				}
				if !bytes.Equal(r.Data, []byte{byte(i)}) {
					t.Errorf("packet %d is %v", i, r.Data)
				}
				got = append(got, int(r.Time/1e9))
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("times are %v, want %v", got, c.want)
			}
			wrong := 0
			for i := range c.in {
				if c.in[i] != c.want[i] {
					wrong++
				}
			}
			if m := in.Misdated(); m.N != wrong || m.First != c.first || m.N > 0 && int(m.By/1e9) != c.in[m.First-1]-c.want[m.First-1] {
				t.Errorf("got %+v, want %d, the first of them packet %d", m, wrong, c.first)
			}
		})
	}
}

// What damages a capture behind a wrong stamp is told when its turn has come.
func TestDamageBehindAWrongStamp(t *testing.T) {
	b := stamped([]int{100, 1 << 31, 101})
	in := open(t, b[:len(b)-1])
	in.Place()
	all, damage := read(t, in)
	if len(strings.Fields(texts(all))) != 2 || damage != "cut off mid-packet" {
		t.Errorf("got %q, %q", texts(all), damage)
	}
}
