package run

import (
	"fmt"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// A Limit bounds what is kept of the traffic, so that no capture takes all the memory of
// a host.
type Limit struct {
	Name   string
	Most   string    // of what how much is kept
	Beyond string    // what becomes of the rest
	cut    [3]string // what was cut, of one and of several, and how
	count  func(*watch.Summary) uint64
}

// Limits are those whose excess the summary counts, by name.
func Limits() []Limit {
	number := func(n int) string { return text.Thousands(uint64(n)) }
	size := func(octets int) string { return fmt.Sprintf("%d MiB", octets>>20) }
	between := func(of func(*taps.Between) int) func(*watch.Summary) uint64 {
		return func(s *watch.Summary) uint64 {
			if s.Between == nil {
				return 0
			}
			return uint64(of(s.Between))
		}
	}
	return []Limit{
		{
			"--max-connections", number(tracker.DefaultMaxConns) + " connections", "closed ones are evicted first, then unanswered SYNs, then idle ones",
			[3]string{"connection", "connections", "evicted"}, func(s *watch.Summary) uint64 { return s.Tracker.Evicted - s.Tracker.ForMemory },
		}, {
			"--max-memory", "half of the memory", "connections are evicted as above; tables and html list no more",
			[3]string{"connection", "connections", "evicted"}, func(s *watch.Summary) uint64 { return s.Tracker.ForMemory },
		}, {
			"fragments", fmt.Sprintf("%s of %s IP datagrams, %s pieces each", size(capture.MaxFragmentBytes), number(capture.MaxDatagrams), number(capture.MaxPieces)),
			"the oldest datagram is given up", [3]string{"datagram", "datagrams", "not reassembled"}, func(s *watch.Summary) uint64 { return uint64(s.Capture.Bounded.Datagrams) },
		}, {
			"order", size(capture.MaxWaiting) + " of packets to be put in time order", "later packets stay where they are",
			[3]string{"packet", "packets", "left out of order"}, func(s *watch.Summary) uint64 { return uint64(s.Capture.Bounded.Unsorted) },
		}, {
			"names", fmt.Sprintf("%s of names of hosts, and of programs that files tell; %s in a row in pcapng", size(watch.MaxNames), number(capture.MaxNames)),
			"the oldest are forgotten", [3]string{"name of a host", "names of hosts", "forgotten"}, func(s *watch.Summary) uint64 { return s.Bounded.Names + uint64(s.Capture.Bounded.Unnamed) },
		}, {
			"ports", number(tracker.MaxPorts) + " listening ports", "those unused for longest are forgotten",
			[3]string{"listening port", "listening ports", "forgotten"}, func(s *watch.Summary) uint64 { return s.Tracker.Ports },
		}, {
			"hosts", number(watch.MaxHosts) + " hosts for each of scans, backscatter and SYN floods", "those unused for longest are forgotten",
			[3]string{"host", "hosts", "no longer watched"}, func(s *watch.Summary) uint64 { return s.Bounded.Hosts },
		}, {
			"services", fmt.Sprintf("%s listeners for TIME_WAIT, and pairs of a client and a listener for ports in use", number(watch.MaxRoutes)),
			"those unused for longest are forgotten", [3]string{"service", "services", "no longer watched"}, func(s *watch.Summary) uint64 { return s.Bounded.Routes },
		}, {
			"targets", fmt.Sprintf("%s targets of scans, %s of one", number(watch.MaxTargets), number(watch.MaxScanTargets)),
			"the oldest are not counted", [3]string{"target of a scan", "targets of scans", "not counted"}, func(s *watch.Summary) uint64 { return s.Bounded.Targets },
		}, {
			"translations", number(watch.MaxPairs) + " pairs of connections, one before NAT or a proxy, one behind", "later pairs are not compared",
			[3]string{"pair of connections", "pairs of connections", "not compared"}, func(s *watch.Summary) uint64 { return s.Bounded.Pairs },
		}, {
			"processes", number(watch.MaxAsked) + " connections of this host (live -p)", "the kernel is not asked about later ones",
			[3]string{"connection", "connections", "not asked about"}, func(s *watch.Summary) uint64 { return s.Bounded.Unasked },
		}, {
			"taps", number(taps.MaxConns) + " connections in captures of several places", "those idle for longest are forgotten",
			[3]string{"connection", "connections", "forgotten between captures"}, between(func(b *taps.Between) int { return b.Forgotten }),
		}, {
			"matching", number(taps.MaxWaiting) + " packets to be found in another capture", "the oldest are judged early",
			[3]string{"packet", "packets", "judged early"}, between(func(b *taps.Between) int { return b.Hurried }),
		},
	}
}

// limits are those of which something was cut.
func limits(s *watch.Summary) (list []record.Limit) {
	for _, l := range Limits() {
		if n := l.count(s); n > 0 {
			list = append(list, record.Limit{Name: l.Name, Cut: n, Text: text.Plural(n, l.cut[0], l.cut[1]) + " " + l.cut[2]})
		}
	}
	return list
}
