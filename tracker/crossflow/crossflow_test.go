package crossflow

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/many"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// addrPort returns the i-th of many addresses and ports.
func addrPort(i int) netip.AddrPort {
	var ip [4]byte
	binary.BigEndian.PutUint32(ip[:], 10<<24|uint32(i/60_000))
	return netip.AddrPortFrom(netip.AddrFrom4(ip), uint16(1024+i%60_000))
}

func TestIsBounded(t *testing.T) {
	c := New(func(*tracker.Event) {})
	for i := range 3 * MaxRoutes {
		a, b := addrPort(i*60_001), addrPort(i) // a new address each time
		now := tcp.Time(1_000_000*time.Second) + tcp.Time(i)
		c.Event(&tracker.Event{Kind: tracker.EventOpen, Time: now, Conn: i + 1, Client: a, Server: b, Incarnation: 1, Flags: tcp.SYN})
		c.Event(&tracker.Event{Kind: tracker.EventTransition, Time: now, Conn: i + 1, Client: a, Server: b, End: tcp.Client, From: tcp.Closed, To: tcp.SynSent})
		c.Event(&tracker.Event{Kind: tracker.EventTransition, Time: now, Conn: i + 1, Client: a, Server: b, End: tcp.Server, From: tcp.FinWait2, To: tcp.TimeWait})
	}
	c.catchUp()
	for _, tt := range []struct {
		what      string
		got, most int
	}{
		{"scans", c.scans.N, MaxHosts},
		{"floods", c.floods.N, MaxHosts},
		{"listeners in TIME-WAIT", c.waits.N, MaxRoutes},
		{"routes", c.ports.N, MaxRoutes},
		{"targets", c.targets, MaxTargets},
	} {
		if tt.got != tt.most && (tt.what != "targets" || tt.got != MaxHosts) {
			t.Errorf("%d %s are kept, want %d", tt.got, tt.what, tt.most)
		}
	}
	if got, want := c.Bounded(), (Bounded{Hosts: 2 * (3*MaxRoutes - MaxHosts), Routes: 2 * (3*MaxRoutes - MaxRoutes)}); got != want {
		t.Errorf("left out are %+v, want %+v", got, want)
	}
	// One source with very many targets.
	for i := range 3 * MaxAttempts {
		c.Event(&tracker.Event{Kind: tracker.EventOpen, Time: c.latest, Conn: 1, Client: netip.MustParseAddrPort("192.0.2.1:1024"), Server: addrPort(i), Incarnation: 1, Flags: tcp.SYN})
	}
	c.catchUp()
	if s := c.scans.find(hostOf(netip.MustParseAddrPort("192.0.2.1:1024").Addr())); len(s.attempts) > MaxAttempts+1 || s.index.N != len(s.attempts) {
		t.Errorf("%d tries and %d targets are kept of one source, want %d", len(s.attempts), s.index.N, MaxAttempts)
	} else if got, want := c.Bounded().Targets, uint64(3*MaxAttempts-len(s.attempts)); got != want {
		t.Errorf("%d targets are said to be left out, want %d", got, want)
	}
}

// Handshakes that count as done in one second, and were begun in the one before, go
// out of the window later than these: then few SYNs more are a flood.
func TestFloodBehindLateHandshakes(t *testing.T) {
	listener, found := netip.MustParseAddrPort("192.0.2.1:80"), 0
	c := New(func(e *tracker.Event) {
		if e.Kind == tracker.EventAnomaly && e.Anomaly.Kind == many.SynFlood.Name {
			found++
		}
	})
	n := 0
	syns := func(second float64, times int) {
		for range times {
			n++
			c.Event(&tracker.Event{Kind: tracker.EventOpen, Time: tcp.Time(second * 1e9), Conn: n, Client: addrPort(n * 60_001), Server: listener, Incarnation: 1, Flags: tcp.SYN})
		}
	}
	syns(1000, many.FloodSYNs-1)
	syns(1001, 1)
	for i := range many.FloodSYNs {
		c.Event(&tracker.Event{Kind: tracker.EventTransition, Time: 1001.5e9, Conn: i + 1, Client: addrPort(i * 60_001), Server: listener, End: tcp.Server, From: tcp.SynReceived, To: tcp.Established})
	}
	syns(1000+many.FloodWindow, 1) // those begun are gone, those done are not
	syns(1001+many.FloodWindow, many.FloodSYNs)
	c.Close()
	if found != 1 {
		t.Errorf("%d floods are found, want 1", found)
	}
}

// A seat that is not the connection's changes nothing: the attempt is looked for then.
func TestSeatsAreNotBelieved(t *testing.T) {
	tell := func(seats func(c *Detector)) (results []outcome) {
		c := New(func(*tracker.Event) {})
		for i := range 40 {
			e := tracker.Event{Kind: tracker.EventOpen, Time: tcp.Time(i) * 1e9, Conn: i + 1, Client: addrPort(i % 2 * 60_000), Server: addrPort(i / 3), Incarnation: 1, Flags: tcp.SYN}
			c.Event(&e)
			c.catchUp()
			seats(c)
			e.Kind, e.End, e.Inputs, e.From, e.To = tracker.EventTransition, tcp.Client, tcp.RcvRST.Set(), tcp.SynSent, tcp.Closed
			if i%5 == 0 {
				e.Inputs, e.To = 0, tcp.Established
			}
			c.Event(&e)
		}
		c.catchUp()
		for i := range 2 {
			for _, a := range c.scans.find(hostOf(addrPort(i * 60_000).Addr())).attempts {
				results = append(results, a.result)
			}
		}
		return results
	}
	right := tell(func(*Detector) {})
	if !slices.Contains(right, refused) || !slices.Contains(right, useful) {
		t.Fatalf("all came to the same: %v", right)
	}
	for what, spoil := range map[string]func(of *seat){
		"none":                 func(of *seat) { of.conn++ },
		"another attempt":      func(of *seat) { of.attempt ^= 1 },
		"one there is not":     func(of *seat) { of.attempt += 1 << 20 },
		"another host":         func(of *seat) { of.row ^= 1 },
		"a host there is not":  func(of *seat) { of.row += 1 << 20 },
		"another host's other": func(of *seat) { of.row ^= 1; of.attempt ^= 1 },
	} {
		got := tell(func(c *Detector) {
			for i := range c.seats {
				if c.seats[i].conn != 0 {
					spoil(&c.seats[i])
				}
			}
		})
		if !slices.Equal(got, right) {
			t.Errorf("with seats that tell of %s: %v, want %v", what, got, right)
		}
	}
}

// Whether events are counted one by one or in batches beside those that follow, the same
// is found, at the same place among them.
func TestCountingBesideTellsTheSame(t *testing.T) {
	tell := func(size, cores int, seed uint64) (told []string, found int) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
		c := New(func(e *tracker.Event) {
			if e.Kind != tracker.EventAnomaly {
				told = append(told, fmt.Sprint(e.Kind, e.Conn))
				return
			}
			found++
			told = append(told, fmt.Sprint(*e.Anomaly))
		})
		c.queue.size = size
		event := func(e *tracker.Event) {
			if size == 1 {
				c.queue.due = 0 // whatever is due is told now
			}
			c.Event(e)
		}
		r := rand.New(rand.NewPCG(seed, 0))
		now, conn := tcp.Time(1_000_000*tcp.Second), 0
		for range 6 { // of which each brings other trouble, and a pause after it
			to, from, many, stays := r.IntN(50), r.IntN(3), 300+r.IntN(2000), 1+r.IntN(8)
			apart := time.Duration(r.IntN(int(5 * time.Millisecond)))
			for i := range many {
				conn++
				now = now.Add(apart)
				client, server := addrPort(r.IntN(1+from*20_000)), netip.AddrPortFrom(addrPort(1+r.IntN(1+to)).Addr(), uint16(1+r.IntN(1+to)))
				client = netip.AddrPortFrom(client.Addr(), uint16(1024+i))
				e := tracker.Event{Kind: tracker.EventOpen, Time: now, Conn: conn, Packet: conn, Client: client, Server: server, Incarnation: 1, Flags: tcp.SYN, Seq: tcp.Seq(r.IntN(2000)), ID: 7}
				event(&e)
				for _, m := range [...]struct {
					end      tcp.Endpoint
					from, to tcp.State
				}{
					{tcp.Client, tcp.Closed, tcp.SynSent}, {tcp.Server, tcp.SynReceived, tcp.Established}, {tcp.Client, tcp.SynSent, tcp.Established},
					{tcp.Server, tcp.Established, tcp.FinWait1}, {tcp.Server, tcp.FinWait2, tcp.TimeWait}, {tcp.Client, tcp.LastAck, tcp.Closed},
				} {
					if r.IntN(stays) == 0 {
						break
					}
					e.Kind, e.End, e.From, e.To = tracker.EventTransition, m.end, m.from, m.to
					event(&e)
				}
				if r.IntN(4) == 0 {
					e.Kind, e.Record = tracker.EventConnection, &tracker.Record{}
					e.Record.Ends[tcp.Client].Addr, e.Record.Ends[tcp.Client].State = client, tcp.SynSent
					e.Record.Ends[tcp.Server].Addr, e.Record.Ends[tcp.Server].State = server, tcp.TimeWait
					event(&e)
				}
			}
			now = now.Add(time.Duration(r.IntN(int(20 * time.Second))))
		}
		c.Close()
		return told, found
	}
	all := 0
	for seed := range uint64(20) {
		want, found := tell(1, 1, seed)
		all += found
		for _, how := range [][2]int{{batchSize, 2}, {17, 2}, {batchSize, 1}} {
			if got, _ := tell(how[0], how[1], seed); !slices.Equal(got, want) {
				t.Errorf("seed %d: in batches of %d, with GOMAXPROCS %d, other things are told, or elsewhere", seed, how[0], how[1])
			}
		}
	}
	if all < 20 {
		t.Errorf("%d findings are too few to tell", all)
	}
}
