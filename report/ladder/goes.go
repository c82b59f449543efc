package ladder

import (
	"net/netip"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// segmentsAtOnce is how many segments are drawn in one go, at some 400 octets
// each.
const segmentsAtOnce = 1 << 20

// Goes groups the connections so that each group has no more segments than
// are drawn in one go. Those between the same addresses and ports stay together.
func Goes(records []*tracker.Record) (goes [][]*tracker.Record) {
	type pair [2]netip.AddrPort
	index := make(map[pair]int)
	segments := uint64(segmentsAtOnce + 1)
	for _, r := range records {
		a, b := r.Ends[tcp.Client].Addr, r.Ends[tcp.Server].Addr
		n := r.Ends[tcp.Client].Packets + r.Ends[tcp.Server].Packets
		i, known := index[pair{a, b}]
		if !known {
			i, known = index[pair{b, a}]
		}
		if !known {
			if segments += n; segments > segmentsAtOnce {
				goes, segments = append(goes, nil), n
			}
			i = len(goes) - 1
			index[pair{a, b}] = i
		}
		goes[i] = append(goes[i], r)
	}
	return goes
}
