package pcap

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// stampedAt returns a capture of packets that are stamped at these microseconds. Each
// holds its number.
func stampedAt(microseconds []int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, pcapMicro)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, byte(LinkRaw), 0, 0, 0)
	for i, us := range microseconds {
		b = binary.LittleEndian.AppendUint32(b, uint32(1000+us/1e6))
		b = binary.LittleEndian.AppendUint32(b, uint32(us%1e6))
		b = append(b, 4, 0, 0, 0, 4, 0, 0, 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(i+1))
	}
	return b
}

// inOrder reads a capture as it is read if it can be read twice, and returns the
// numbers of its packets.
func inOrder(t *testing.T, capture []byte) (numbers []int, moved int) {
	t.Helper()
	look := open(t, capture)
	d := look.Look()
	in := open(t, capture)
	in.Place()
	if d.Found() {
		in.Sort(d)
	}
	var r Record
	for n := 1; in.Next(&r) == nil; n++ {
		number := int(binary.LittleEndian.Uint32(r.Data))
		if d.Found() && r.Number != number || !d.Found() && r.Number != 0 {
			t.Errorf("packet %d has the number %d", number, r.Number)
		}
		numbers = append(numbers, number)
	}
	return numbers, in.Sorted()
}

// Packets that are late are put where they belong; those that are late by
// microseconds, and what comes after a clock was set, are not.
func TestLatePacketsArePutInOrder(t *testing.T) {
	const ms = 1000
	for _, c := range []struct {
		claim string
		in    []int // microseconds
		want  string
		moved int
	}{
		{"in-order", []int{0, 10 * ms, 20 * ms}, "[1 2 3]", 0},
		{"late-by-microseconds", []int{0, 10 * ms, 10*ms - 50, 20 * ms}, "[1 2 3 4]", 0},
		{"late-by-less-than-5ms", []int{0, 10 * ms, 5*ms + 1, 20 * ms}, "[1 2 3 4]", 0},
		{"late-by-5ms", []int{0, 10 * ms, 5 * ms, 20 * ms}, "[1 3 2 4]", 1},
		{"only-the-late-one-moves", []int{0, 10 * ms, 10*ms - 50, 2 * ms, 20 * ms}, "[1 4 2 3 5]", 1},
		{"two-interfaces", []int{0, 10 * ms, 20 * ms, 1 * ms, 11 * ms, 21 * ms, 40 * ms}, "[1 4 2 5 3 6 7]", 2},
		{"late-by-a-second", []int{0, 1500 * ms, 500 * ms, 1600 * ms}, "[1 3 2 4]", 1},
		{"late-by-more", []int{0, 1500 * ms, 499 * ms, 1600 * ms}, "[1 2 3 4]", 0},
		{"a-clock-is-set-back", []int{0, 100 * ms, 60 * ms, 70 * ms, 80 * ms, 90 * ms, 100 * ms, 110 * ms}, "[1 2 3 4 5 6 7 8]", 0},
		{"a-clock-is-set-back-twice", []int{0, 100 * ms, 80 * ms, 90 * ms, 98 * ms, 200 * ms, 180 * ms, 190 * ms, 198 * ms}, "[1 2 3 4 5 6 7 8 9]", 0},
		{"a-clock-is-not-set-back-thrice", []int{0, 100 * ms, 80 * ms, 90 * ms, 98 * ms, 200 * ms, 180 * ms, 190 * ms, 198 * ms, 300 * ms, 280 * ms, 290 * ms, 298 * ms}, "[1 3 4 2 5 7 8 6 9 11 12 10 13]", 6},
		{"late-to-the-end", []int{0, 100 * ms, 60 * ms, 70 * ms}, "[1 2 3 4]", 0},
		{"behind-a-clock-that-was-set", []int{5000 * ms, 5010 * ms, 0, 10 * ms, 2 * ms, 20 * ms, 30 * ms}, "[1 2 3 5 4 6 7]", 1},
		{"beside-a-wrong-stamp", []int{0, 10 * ms, 900_000 * ms, 2 * ms, 20 * ms, 30 * ms}, "[1 4 2 3 5 6]", 1},
	} {
		t.Run(c.claim, func(t *testing.T) {
			if got, moved := inOrder(t, stampedAt(c.in)); fmt.Sprint(got) != c.want || moved != c.moved {
				t.Errorf("got %v, %d moved, want %s, %d", got, moved, c.want, c.moved)
			}
		})
	}
}

// However packets are mixed up within a second, they are as they were, apart from
// those that are mixed up by less than 5 ms.
func TestSortingPutsAllInOrder(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		spread := 1 + random.IntN(900_000)
		type packet struct{ stamp, written int }
		packets := make([]packet, 300)
		for i := range packets {
			at := i * (1 + spread/40)
			packets[i] = packet{at, at + random.IntN(spread)}
		}
		slices.SortStableFunc(packets, func(a, b packet) int { return a.written - b.written })
		stamps := make([]int, len(packets))
		for i := range packets {
			stamps[i] = packets[i].stamp
		}
		numbers, _ := inOrder(t, stampedAt(stamps))
		if len(numbers) != len(stamps) {
			t.Fatalf("seed %d: %d packets of %d", seed, len(numbers), len(stamps))
		}
		var newest tcp.Time
		for _, n := range numbers {
			at := tcp.Time(stamps[n-1] * 1000)
			if newest.Sub(at) >= LateBy && spread > 20_000 {
				t.Fatalf("seed %d: packet %d is late by %v still", seed, n, newest.Sub(at))
			}
			newest = max(newest, at)
		}
	}
}

// What waits is bounded: the rest comes late.
func TestWaitingPacketsAreBounded(t *testing.T) {
	const n, size, bound = 300, 1 << 10, 100 << 10
	record := make([]byte, size)
	b := stampedAt(nil)
	binary.LittleEndian.PutUint32(b[16:], size)
	for i := range n {
		at := 20 + i
		if i == n-2 {
			at = 1 // behind 298 KiB
		}
		b = binary.LittleEndian.AppendUint32(b, 1000)
		b = binary.LittleEndian.AppendUint32(b, uint32(at*1000))
		b = binary.LittleEndian.AppendUint32(b, size)
		b = binary.LittleEndian.AppendUint32(b, size)
		binary.LittleEndian.PutUint32(record, uint32(i+1))
		b = append(b, record...)
	}
	look := open(t, b)
	d := look.Look()
	if !d.Found() || d.By != (20+n-3-1)*time.Millisecond {
		t.Fatalf("got %+v", d)
	}
	in := open(t, b)
	in.Sort(d)
	if in.sort.most != MaxWaiting {
		t.Errorf("%d octets may wait", in.sort.most)
	}
	in.sort.most = bound
	var r Record
	most := 0
	for in.Next(&r) == nil {
		most = max(most, in.sort.octets)
	}
	if most > bound+2*size || in.Sorted() != 0 || in.Unsorted() != 1 {
		t.Errorf("%d octets waited, %d packets were put in order, %d could not be", most, in.Sorted(), in.Unsorted())
	}
}
