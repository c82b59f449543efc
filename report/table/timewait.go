package table

import (
	"bufio"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/services"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Below a table, where ends are left in TIME_WAIT: on which side they stand,
// and what they cost there.
//
//	Server Address  Closed First        TIME_WAIT on Server  on Client  Port Bound Until             Bound For
//	10.9.0.2:80     client 1, server 3                    3          1  2026-01-02T03:01:04.000000Z  59 s left
//
//	Client Address  Destination  Ports Held
//	10.9.0.1        10.9.0.2:80  1 of 28,232
//
// On the server they keep its port: until the last of them ends, a server that
// starts anew cannot bind it without SO_REUSEADDR. On a client each keeps one of
// the ports from which it can connect to that destination.

// fewTimeWaits is how many ends in TIME_WAIT are no more than a line's worth.
const fewTimeWaits = 5

// shownTimeWaits is how many servers, and how many clients, are listed.
const shownTimeWaits = 10

// ephemeralPorts is how many ports Linux hands out to clients: 32768 to 60999,
// the default of net.ipv4.ip_local_port_range.
const ephemeralPorts = 60999 - 32768 + 1

// A timeWaitServer is a server address with connections in TIME_WAIT.
type timeWaitServer struct {
	addr   netip.AddrPort
	first  [2]int // who closed first, by end
	stands [2]int // TIME_WAITs, by end
	until  tcp.Time
}

// A timeWaitClient is a host with its TIME_WAITs to one destination.
type timeWaitClient struct {
	host        netip.Addr
	destination netip.AddrPort
	held        int
}

// timeWaitLine tells of ends in TIME_WAIT for which the section is not written, and
// how it is asked for; "" where it is, or there are none.
func (c *Connections) timeWaitLine(o *record.Options, wide bool) string {
	n, longest := 0, time.Duration(0)
	for _, row := range c.Rows {
		for e := range row.Record.Ends {
			if x := &row.Record.Ends[e]; x.State == tcp.TimeWait {
				n++
				longest = max(longest, x.Timer.Remaining)
			}
		}
	}
	if n == 0 || n > fewTimeWaits || wide || slices.Contains(o.Filter.States, tcp.TimeWait) {
		return ""
	}
	line := "TIME_WAIT: " + text.Plural(uint64(n), "end", "ends")
	if longest > 0 {
		line += ", " + text.Left(longest)
	}
	if n > 1 && longest > 0 {
		line += " at most"
	}
	return line + " (-o wide shows which ports are held)"
}

// writeTimeWaits writes the section, after a blank line, if there is one. wide
// never leaves a column out.
func (c *Connections) writeTimeWaits(out *bufio.Writer, o *record.Options, s *record.Summary, wide bool) error {
	for _, g := range c.TimeWaits(o, s) {
		if wide {
			g.Width = 0
		}
		text.WriteLine(out, "")
		if err := g.Print(out); err != nil {
			return err
		}
		if g.More > 0 {
			text.WriteLine(out, fmt.Sprintf("and %d more", g.More))
		}
	}
	return nil
}

// A TimeWaitGrid is a table of the section, and how many rows it lacks.
type TimeWaitGrid struct {
	text.Grid
	More int
}

// TimeWaits lays the section out: the servers, then the clients, as far as
// there are any.
func (c *Connections) TimeWaits(o *record.Options, s *record.Summary) []*TimeWaitGrid {
	l := newLook(o, s)
	servers, clients := c.timeWaits(l.now)
	named := c.named(o.Names)
	byServer := &TimeWaitGrid{Grid: text.Grid{Width: o.Width, Else: "-o wide or a wider terminal shows them", NoHeader: o.NoHeader, Color: o.Color, Columns: []text.Column{
		{Title: "Server Address"}, {Title: "Closed First", Drop: 1},
		{Title: "TIME_WAIT on Server", Right: true}, {Title: "on Client", Right: true}, {Title: "Port Bound Until", Drop: 2}, {Title: "Bound For"},
	}}}
	for _, v := range servers[:min(len(servers), shownTimeWaits)] {
		until, left := "-", "-"
		if v.until != 0 {
			until, left = l.time.Format(v.until, l.first), text.Left(v.until.Sub(l.now))
		}
		first := fmt.Sprintf("client %d, server %d", v.first[tcp.Client], v.first[tcp.Server])
		byServer.Rows = append(byServer.Rows, []string{named(v.addr), first,
			fmt.Sprint(v.stands[tcp.Server]), fmt.Sprint(v.stands[tcp.Client]), until, left})
	}
	byClient := &TimeWaitGrid{Grid: text.Grid{Width: o.Width, Else: "-o wide or a wider terminal shows them", NoHeader: o.NoHeader, Color: o.Color, Columns: []text.Column{
		{Title: "Client Address"}, {Title: "Destination"}, {Title: "Ports Held"},
	}}}
	for _, v := range clients[:min(len(clients), shownTimeWaits)] {
		byClient.Rows = append(byClient.Rows, []string{named(netip.AddrPortFrom(v.host, 0)), named(v.destination),
			fmt.Sprintf("%s of %s", text.Thousands(uint64(v.held)), text.Thousands(ephemeralPorts))})
	}
	byServer.More, byClient.More = len(servers)-len(byServer.Rows), len(clients)-len(byClient.Rows)
	return slices.DeleteFunc([]*TimeWaitGrid{byServer, byClient}, func(g *TimeWaitGrid) bool { return len(g.Rows) == 0 })
}

// named returns what writes an address, or with port 0 that of a host, with the
// names that it has in the connections, if these are asked for.
func (c *Connections) named(names bool) func(netip.AddrPort) string {
	known := make(map[netip.AddrPort][]string)
	for _, row := range c.Rows {
		if !names {
			break
		}
		for i := range row.Record.Ends {
			e := &row.Record.Ends[i]
			for _, at := range []netip.AddrPort{e.Addr, netip.AddrPortFrom(e.Addr.Addr(), 0)} {
				known[at] = services.AddName(known[at], e.Name)
			}
		}
	}
	return func(at netip.AddrPort) string {
		if at.Port() == 0 {
			return text.Named(at.Addr().String(), known[at]...)
		}
		return text.Named(at.String(), known[at]...)
	}
}

// timeWaits returns the servers and the clients with TIME_WAITs, those with
// the most first. now is the moment at which the records were taken.
func (c *Connections) timeWaits(now tcp.Time) ([]timeWaitServer, []timeWaitClient) {
	type hostTo struct {
		host netip.Addr
		to   netip.AddrPort
	}
	servers, clients := make(map[netip.AddrPort]*timeWaitServer), make(map[hostTo]int)
	for _, row := range c.Rows {
		client, server := &row.Record.Ends[tcp.Client], &row.Record.Ends[tcp.Server]
		v := servers[server.Addr]
		if v == nil {
			v = &timeWaitServer{addr: server.Addr}
			servers[server.Addr] = v
		}
		switch row.Record.ClosedBy {
		case tcp.ByClient:
			v.first[tcp.Client]++
		case tcp.ByServer:
			v.first[tcp.Server]++
		}
		if client.State == tcp.TimeWait {
			v.stands[tcp.Client]++
			clients[hostTo{client.Addr.Addr(), server.Addr}]++
		}
		if server.State == tcp.TimeWait {
			v.stands[tcp.Server]++
			v.until = max(v.until, now.Add(server.Timer.Remaining.Truncate(time.Microsecond)))
		}
	}
	var listed []timeWaitServer
	for _, v := range servers {
		if v.stands != [2]int{} {
			listed = append(listed, *v)
		}
	}
	slices.SortFunc(listed, func(a, b timeWaitServer) int {
		return cmp.Or(cmp.Compare(b.stands[0]+b.stands[1], a.stands[0]+a.stands[1]), a.addr.Compare(b.addr))
	})
	var held []timeWaitClient
	for k, n := range clients {
		held = append(held, timeWaitClient{k.host, k.to, n})
	}
	slices.SortFunc(held, func(a, b timeWaitClient) int {
		return cmp.Or(cmp.Compare(b.held, a.held), a.host.Compare(b.host), a.destination.Compare(b.destination))
	})
	return listed, held
}
