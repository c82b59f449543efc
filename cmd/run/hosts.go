package run

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/tracker"
)

// shownHosts is how many hosts are named where the one that was asked for is not
// there, and mostHosts how many are remembered for it.
const (
	shownHosts = 10
	mostHosts  = 10_000
)

// hosts looks for the host whose sockets are asked for.
type hosts struct {
	asked netip.Addr // not valid: no host is
	there bool       // a connection has it
	conns map[netip.Addr]int
}

// take looks at what a tracker tells.
func (h *hosts) take(e *tracker.Event) {
	if e.Kind != tracker.EventConnection || !h.asked.IsValid() || h.there {
		return
	}
	for i := range e.Record.Ends {
		host := e.Record.Ends[i].Addr.Addr().Unmap()
		h.there = h.there || host == h.asked.Unmap()
		if _, known := h.conns[host]; known || len(h.conns) < mostHosts {
			h.conns[host]++
		}
	}
}

// missing is the error where a host was asked for that no connection has; nil where
// there is none to have it.
func (h *hosts) missing(flag string) error {
	if h.there || len(h.conns) == 0 {
		return nil
	}
	var list []netip.Addr
	for host := range h.conns {
		list = append(list, host)
	}
	slices.SortFunc(list, func(a, b netip.Addr) int { return cmp.Or(cmp.Compare(h.conns[b], h.conns[a]), a.Compare(b)) })
	var names []string
	for _, host := range list[:min(len(list), shownHosts)] {
		names = append(names, host.String())
	}
	hint := "the capture has " + strings.Join(names, ", ")
	if more := len(list) - len(names); more > 0 {
		hint += fmt.Sprintf(" and %d more", more)
	}
	return WithHint(fmt.Errorf("%s %v: no connection in the capture has that address", flag, h.asked), hint)
}
