package cmd

import (
	"bytes"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
)

// What explain --absolute --all prints of the sample captures is kept in
// tracker/testdata/explained, where the tracker's tests play it as ladders: it
// must come to the same states and anomalies. UPDATE=1 rewrites it.
func TestExplained(t *testing.T) {
	const dir = "../tracker/testdata/explained"
	captures, err := filepath.Glob("../pcaps/*.pcap")
	if err != nil || len(captures) < 15 {
		t.Fatalf("%d captures found, want at least 15: %v", len(captures), err)
	}
	produced := map[string]bool{}
	for _, path := range captures {
		out, stderr := replayed(t, "explain", "--absolute", "--all", path)
		if stderr != "" {
			t.Errorf("%s: standard error has %q, want nothing", path, stderr)
		}
		for i, got := range bytes.SplitAfter(out, []byte("\n\n")) {
			got = append(bytes.TrimRight(got, "\n"), '\n')
			name := strings.TrimSuffix(filepath.Base(path), ".pcap")
			if i > 0 {
				name += fmt.Sprintf("-%d", i+1)
			}
			golden := filepath.Join(dir, name+".txt")
			produced[golden] = true
			equalsGolden(t, golden, got)
		}
	}
	golden, _ := filepath.Glob(filepath.Join(dir, "*.txt"))
	for _, path := range golden {
		if !produced[path] {
			t.Errorf("%s is the ladder of no capture", path)
		}
	}
}

// Connections are drawn in as many goes as it takes; those between the same
// addresses and ports stay together, however many they are.
func TestInGoes(t *testing.T) {
	end := func(addr string, packets uint64) tracker.EndRecord {
		return tracker.EndRecord{Addr: netip.MustParseAddrPort(addr), Packets: packets}
	}
	const a, b, c = "10.0.0.1:1", "10.0.0.2:80", "10.0.0.3:80"
	var records []*tracker.Record
	for i, ends := range [][2]tracker.EndRecord{
		{end(a, segmentsAtOnce-10), end(b, 5)},
		{end(a, 3), end(c, 1)},
		{end(a, 30), end("10.0.0.4:80", 1)},
		{end(b, 100), end(a, 100)}, // the first, the other way round
	} {
		records = append(records, &tracker.Record{Conn: i + 1, Ends: ends})
	}
	var got [][]int
	for _, group := range inGoes(records) {
		var conns []int
		for _, r := range group {
			conns = append(conns, r.Conn)
		}
		got = append(got, conns)
	}
	if want := "[[1 2 4] [3]]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"connection-refused", "time-wait-reuse", "rst-instead-of-ack", "retransmission"}
	for _, test := range []struct{ typed, want string }{
		{"rst_instead_of_ack", "rst-instead-of-ack"},
		{"refused", "connection-refused"},
		{"retransmit", "retransmission"},
		{"TIMEWAIT-REUSE", "time-wait-reuse"},
	} {
		if got := nearest(test.typed, names); got[0] != test.want || len(got) != 3 {
			t.Errorf("nearest to %s: got %v, want %s first of three", test.typed, got, test.want)
		}
	}
}
