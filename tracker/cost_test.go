package tracker_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/crossflow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What the tracker may cost: memory for every connection it holds, nothing from
// the heap for a segment of everyday. Times are measured by the benchmarks and
// asserted by nobody.

// maxConnHeap is what an ordinary closed connection may cost, in octets of
// heap, with all that the tracker holds for it.
const maxConnHeap = 532

// A wire writes the segments of many connections between one server and as
// many clients as are asked for. Every segment is one microsecond after the
// one before and has an IP identification of its own.
type wire struct {
	tk     *tracker.Tracker
	s      tcp.Segment // reused, as a capture would
	now    tcp.Time
	packet int
}

func newWire(tb testing.TB) *wire {
	tk, err := tracker.New(tracker.Config{}, func(*tracker.Event) {})
	if err != nil {
		tb.Fatal(err)
	}
	return &wire{tk: tk, now: 1_000_000 * tcp.Second}
}

// clientOf returns the address of the i-th client.
func clientOf(i int) netip.AddrPort {
	var ip [4]byte
	binary.BigEndian.PutUint32(ip[:], 10<<24|uint32(i/60_000))
	return netip.AddrPortFrom(netip.AddrFrom4(ip), uint16(1024+i%60_000))
}

// put has the tracker observe one segment of the i-th connection.
func (w *wire) put(client netip.AddrPort, up bool, flags tcp.Flags, seq, ack tcp.Seq, data tcp.Size) {
	w.now, w.packet = w.now.Add(time.Microsecond), w.packet+1
	w.s = tcp.Segment{
		Time: w.now, Packet: w.packet, Src: client, Dst: peerB,
		Seq: seq, Ack: ack, Wnd: 64240, Flags: flags, Data: data, TTL: 64, ID: uint16(w.packet),
	}
	w.s.Options.HasTS, w.s.Options.TSVal, w.s.Options.TSEcr = true, uint32(w.packet), uint32(w.packet-1)
	if !up {
		w.s.Src, w.s.Dst = peerB, client
	}
	if flags&tcp.SYN != 0 {
		w.s.Options.MSS, w.s.Options.Shift, w.s.Options.HasShift, w.s.Options.SACKOK = 1460, 7, true, true
	}
	w.tk.Observe(&w.s)
}

// open writes the three segments of a handshake. The client's numbers begin at
// 1, the server's at 1,000,001.
func (w *wire) open(client netip.AddrPort) {
	w.put(client, true, tcp.SYN, 0, 0, 0)
	w.put(client, false, tcp.SYN|tcp.ACK, 1_000_000, 1, 0)
	w.put(client, true, tcp.ACK, 1, 1_000_001, 0)
}

// whole writes an ordinary connection of ten segments: a question, an answer,
// and a close by the client.
func (w *wire) whole(client netip.AddrPort) {
	w.open(client)
	w.put(client, true, tcp.PSH|tcp.ACK, 1, 1_000_001, 200)
	w.put(client, false, tcp.ACK, 1_000_001, 201, 0)
	w.put(client, false, tcp.PSH|tcp.ACK, 1_000_001, 201, 1400)
	w.put(client, true, tcp.ACK, 201, 1_001_401, 0)
	w.put(client, true, tcp.FIN|tcp.ACK, 201, 1_001_401, 0)
	w.put(client, false, tcp.FIN|tcp.ACK, 1_001_401, 202, 0)
	w.put(client, true, tcp.ACK, 202, 1_001_402, 0)
}

// heapNow returns the octets of heap in use once all garbage is gone.
func heapNow() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestHeapPerConnection(t *testing.T) {
	const conns = 100_000
	w := newWire(t)
	before := heapNow()
	for i := range conns {
		w.whole(clientOf(i))
	}
	w.tk.Advance(w.now.Add(70 * time.Second)) // TIME-WAIT is over, and alarms that were set anew are gone
	after := heapNow()
	if got := w.tk.Stats().Live; got != conns {
		t.Fatalf("%d connections are kept, want %d", got, conns)
	}
	got := float64(after-before) / conns
	t.Logf("%.0f octets of heap per connection", got)
	if got > maxConnHeap {
		t.Errorf("a closed connection of ten segments costs %.0f octets of heap, want at most %d", got, maxConnHeap)
	}
	runtime.KeepAlive(w)
}

// A flood of SYNs on one pair of addresses and ports leaves behind no more than
// the few that may be real, on an open connection and on none.
func TestFloodOfSYNsIsForgotten(t *testing.T) {
	const flood, allowed = 2000, 16
	for _, open := range []bool{true, false} {
		w := newWire(t)
		client := clientOf(0)
		if open {
			w.open(client)
		}
		for i := range flood {
			w.put(client, true, tcp.SYN, tcp.Seq(10_000_000+1000*i), 0, 0)
		}
		if got := w.tk.Stats().Live; got > allowed {
			t.Errorf("%d SYNs from one port leave %d connections (open before: %v), want at most %d", flood, got, open, allowed)
		}
	}
}

func TestEverydaySegmentAllocatesNothing(t *testing.T) {
	w := newWire(t)
	client := clientOf(0)
	w.open(client)
	next := tcp.Seq(1)
	got := testing.AllocsPerRun(1000, func() {
		w.put(client, true, tcp.PSH|tcp.ACK, next, 1_000_001, 100)
		next = next.Add(100)
		w.put(client, false, tcp.ACK, 1_000_001, next, 0)
	})
	if got != 0 {
		t.Errorf("a data segment and its ACK allocate %v times, want 0", got)
	}
}

// BenchmarkObserve follows one long flow: data and its ACK by turns.
func BenchmarkObserve(b *testing.B) {
	w := newWire(b)
	client := clientOf(0)
	w.open(client)
	next := tcp.Seq(1)
	b.ReportAllocs()
	for b.Loop() {
		w.put(client, true, tcp.PSH|tcp.ACK, next, 1_000_001, 1448)
		next = next.Add(1448)
		w.put(client, false, tcp.ACK, 1_000_001, next, 0)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/packet")
}

// BenchmarkObserveManyConns spreads data and ACKs over many open connections,
// so that no two in a row meet the same one.
func BenchmarkObserveManyConns(b *testing.B) {
	for _, conns := range []int{1e3, 1e5, 3e6} {
		b.Run(fmt.Sprint(conns), func(b *testing.B) {
			w := newWire(b)
			next := make([]tcp.Seq, conns)
			question := func(i int) {
				w.put(clientOf(i), true, tcp.PSH|tcp.ACK, 1+next[i], 1_000_001, 100)
				next[i] = next[i].Add(100)
			}
			for i := range conns {
				w.open(clientOf(i))
				question(i) // which proves the server open
				w.put(clientOf(i), false, tcp.ACK, 1_000_001, 1+next[i], 0)
			}
			const stride = 7919 // prime: it meets every connection before the first again
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				question(i)
				i = (i + stride) % conns
				w.put(clientOf(i), false, tcp.ACK, 1_000_001, 1+next[i], 0)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/packet")
		})
	}
}

// BenchmarkConnection follows whole connections of ten segments, one after the
// other; those whose TIME-WAIT and memory ran out are forgotten as it goes.
func BenchmarkConnection(b *testing.B) {
	w := newWire(b)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		w.whole(clientOf(i))
		w.now = w.now.Add(2 * time.Millisecond)
		i++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(10*b.N), "ns/packet")
}

// BenchmarkCrossflow is BenchmarkConnection with a Detector behind the Tracker.
func BenchmarkCrossflow(b *testing.B) {
	w := newWire(b)
	w.tk.SetEmit(crossflow.New(func(*tracker.Event) {}).Event)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		w.whole(clientOf(i))
		w.now = w.now.Add(2 * time.Millisecond)
		i++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(10*b.N), "ns/packet")
}
