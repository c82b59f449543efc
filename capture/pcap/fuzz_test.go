package pcap

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// FuzzReader reads anything as if it were a capture file: it must come to an
// end, within bounds of memory, and without a crash.
func FuzzReader(f *testing.F) {
	paths, err := filepath.Glob("../testdata/*.pcap*")
	if err != nil || len(paths) == 0 {
		f.Fatal("no captures to begin with", err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:min(len(b), 4096)])
	}
	whole := classic("one", "two")
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add(gzipped(whole))
	f.Add(zstandard(whole))
	f.Add(bzipped)
	f.Add(xzipped)
	f.Add(xzSHA256)
	f.Add(lz4ed(whole))
	f.Add(snoop("one", "two"))
	f.Add(erf(2, "one", "two"))
	f.Add(netmon(1, 1, nil, netmonFrame{"one", 1}, netmonFrame{"two", 1}))
	f.Add(netmon(2, 0, []int{1, 0}, netmonFrame{"one", 1}, netmonFrame{"two", 1}))
	f.Add(netmon(2, 3, nil, netmonFrame{"one", 1}, netmonFrame{"two", 6}, netmonFrame{"three", 0xfffe}))
	f.Add(append(gzipped(whole[:40]), gzipped(whole[40:])...))
	f.Add(section(true).iface(LinkEthernet).packet(0, 1, "one").block(77, []byte("?")).section(false).iface(LinkRaw).packet(0, 1, "").bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		readToTheEnd(t, b)
		runtime.ReadMemStats(&after)
		// A zstd stream may ask for a window of 128 MiB.
		if used := after.TotalAlloc - before.TotalAlloc; used > 512<<20 {
			t.Errorf("%d octets of memory for a file of %d", used, len(b))
		}
	})
}

func readToTheEnd(t *testing.T, b []byte) {
	in, err := NewReader(bytes.NewReader(b), "x", "x")
	if err != nil {
		return
	}
	defer in.Close()
	var r Record
	packets := 0
	for err == nil {
		if err = in.Next(&r); err == nil && r.Wire < len(r.Data) {
			t.Fatalf("packet %d of %d octets on the wire has %d", packets, r.Wire, len(r.Data))
		}
		packets++
	}
	// The smallest record is one of 16 octets; deflate expands 1032 times.
	if packets > 1100*len(b) {
		t.Errorf("%d packets in %d octets", packets, len(b))
	}
}
