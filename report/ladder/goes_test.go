package ladder

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
)

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
	for _, group := range Goes(records) {
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
