package capture

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// captures returns the captures that seed the fuzzers.
func captures(t testing.TB) map[string][]byte {
	paths, err := filepath.Glob("testdata/*.pcap*")
	if err != nil || len(paths) == 0 {
		t.Fatal("no captures in testdata to begin with", err)
	}
	all := map[string][]byte{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = b
	}
	return all
}

// FuzzReader reads anything as if it were a capture file: it must come to an
// end, within bounds of memory, and without a crash.
func FuzzReader(f *testing.F) {
	for _, b := range captures(f) {
		f.Add(b[:min(len(b), 4096)])
	}
	whole := pcap(1, numbered(1), numbered(2))
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add(gzipped(whole))
	f.Add(zstandard(whole))
	f.Add(append(gzipped(whole[:40]), gzipped(whole[40:])...))
	f.Add(pcapOf(147, 1, numbered(1)))
	f.Add(section(true).iface(LinkEthernet).packet(0, 1, numbered(1)).block(77, []byte("?")).section(false).iface(LinkRaw).packet(0, 1, nil).bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		in := &input{name: "x"}
		err := in.start(bytes.NewReader(b))
		defer in.close()
		if err == nil {
			readAll(t, in, len(b))
		}
		runtime.ReadMemStats(&after)
		// A zstd stream may ask for a window of 128 MiB.
		if used := after.TotalAlloc - before.TotalAlloc; used > 512<<20 {
			t.Errorf("%d octets of memory for a file of %d", used, len(b))
		}
	})
}

func readAll(t *testing.T, in *input, size int) {
	s := &Source{segment: new(tcp.Segment)}
	s.slow.o = &s.options
	packets := 0
	s.readRecords(in, func(g *tcp.Segment, _ error) bool {
		if g.Packet <= packets {
			t.Fatalf("packet %d after %d", g.Packet, packets)
		}
		packets = g.Packet
		return true
	})
	// The smallest record is one of 16 octets; deflate expands 1032 times.
	if st := s.Stats(); st.Packets > 1100*size {
		t.Errorf("%d packets in %d octets", st.Packets, size)
	}
}

// FuzzDecode holds the two decoders to each other: what the fast path has an
// answer to, the slow one answers alike. There is no difference that was
// agreed upon.
func FuzzDecode(f *testing.F) {
	for path := range captures(f) {
		in := &input{name: path, path: path}
		if err := in.open(); err != nil {
			f.Fatal(err)
		}
		var r record
		for i := 0; in.format.next(&r) == nil; i++ {
			if i%7 == 0 || i < 4 {
				f.Add(uint16(r.link), bytes.Clone(r.data), uint16(r.wire-len(r.data)), uint8(i%8))
			}
		}
		in.close()
	}
	for _, text := range []string{data6, sack4} {
		f.Add(uint16(LinkRaw), octets(f, text), uint16(0), uint8(2))
	}
	f.Add(uint16(LinkEthernet), octets(f, syn4), uint16(0), uint8(0))
	f.Add(uint16(LinkLinuxSLL2), appendAll(nil, uint16(typeIPv6), make([]byte, 18), octets(f, data6)), uint16(3), uint8(0))
	f.Fuzz(func(t *testing.T, link uint16, data []byte, cut uint16, options uint8) {
		o := &Options{Outer: options&1 != 0, VerifyChecksums: options&2 != 0, Payload: options&4 != 0}
		wire := len(data) + int(cut)
		var fast, slow tcp.Segment
		v := decodeFast(LinkType(link), data, wire, o, &fast)
		p := &slowPath{o: o}
		w := p.decodeUnguarded(LinkType(link), frame{data, wire}, 0, &slow)
		if v != ask && v != w {
			t.Fatalf("verdict %d, slow path %d", v, w)
		}
		if v == isTCP && fast != slow {
			t.Fatalf("fast %+v\nslow %+v", fast, slow)
		}
		if w == ask {
			t.Fatal("the slow path asks")
		}
		if w == isTCP && slow.ICMP.Type == 0 && !slow.Src.IsValid() {
			t.Fatalf("a segment from nowhere: %+v", slow)
		}
		// A second time, for what the decoder keeps from packet to packet.
		var again tcp.Segment
		if w2 := p.decodeUnguarded(LinkType(link), frame{data, wire}, 0, &again); w == isTCP && !slow.Fragment && (w2 != w || again != slow) {
			t.Fatalf("again: verdict %d, %+v\nfirst: %d, %+v", w2, again, w, slow)
		}
	})
}
