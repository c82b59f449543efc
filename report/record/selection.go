package record

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Tuple is the two ends of a connection, in either order. The zero Tuple is
// that of any connection.
type Tuple [2]netip.AddrPort

// ParseTuple reads A:P-B:Q.
func ParseTuple(s string) (t Tuple, err error) {
	left, right, _ := strings.Cut(s, "-")
	for i, part := range []string{left, right} {
		end, err := netip.ParseAddrPort(part)
		if err != nil {
			return t, fmt.Errorf("%q: not a valid pair of addresses and ports", text.Escape(s))
		}
		t[i] = netip.AddrPortFrom(end.Addr().Unmap(), end.Port())
	}
	return t, nil
}

// Has reports whether r is between the two.
func (t Tuple) Has(r *tracker.Record) bool {
	client, server := r.Ends[tcp.Client].Addr, r.Ends[tcp.Server].Addr
	return t == Tuple{} || t == Tuple{client, server} || t == Tuple{server, client}
}

// A Selection names the connections to print. The zero Selection is all; with
// both States and Kinds, a connection must satisfy both.
type Selection struct {
	States []tcp.State // an end is in one of these, in the assumed view
	Kinds  []string    // flagged with one of these anomalies
}

// active reports whether the Selection leaves anything out.
func (s *Selection) Active() bool { return len(s.States)+len(s.Kinds) > 0 }

// Has reports whether r is in the Selection.
func (s *Selection) Has(r *tracker.Record) bool {
	inState := func(e tracker.EndRecord) bool { return slices.Contains(s.States, e.State) }
	if len(s.States) > 0 && !slices.ContainsFunc(r.Ends[:], inState) {
		return false
	}
	flagged := func(a anomaly.Anomaly) bool { return slices.Contains(s.Kinds, a.Kind) }
	return len(s.Kinds) == 0 || slices.ContainsFunc(r.Anomalies, flagged)
}

// HasAnomaly reports whether an anomaly over many connections is in the
// Selection. No state speaks for or against it.
func (s *Selection) HasAnomaly(a *anomaly.Anomaly) bool {
	return len(s.Kinds) == 0 || slices.Contains(s.Kinds, a.Kind)
}
