//go:build lab && linux

package lab

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/tcpwatch/tcpwatch/cmd/lab/story"
)

// A world is two hosts and the wire between them.
type world struct {
	hosts    [2]*host
	wire     *wire
	watchers [2]*watcher
	trace    *tracer // nil: there is none
}

// worlds counts them, so that each has addresses of its own: the kernel's
// events do not say of which namespace they are.
var worlds atomic.Uint32

// newWorld makes a world of IPv4 or IPv6.
func newWorld(v6 bool, trace *tracer) (*world, error) {
	n := worlds.Add(1)
	w := &world{trace: trace}
	for i := range w.hosts {
		addr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), byte(i + 1)}), 24)
		if v6 {
			addr = netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 4: byte(n >> 8), 5: byte(n), 15: byte(i + 1)}), 64)
		}
		h, err := newHost(story.Side(i).String(), addr)
		if err != nil {
			return nil, err
		}
		w.hosts[i], w.watchers[i] = h, watch(h)
	}
	w.wire = newWire(w.hosts)
	return w, nil
}

// close ends the world. It tells what went wrong in it.
func (w *world) close() error {
	time.Sleep(10 * pollPause) // for the last events
	err := w.wire.close()
	for i, h := range w.hosts {
		if e := w.watchers[i].close(); err == nil {
			err = e
		}
		h.close()
	}
	return err
}

// A conversation is one story in a world.
type conversation struct {
	*story.Conversation
	world *world
	ends  [2]*end
}

// The port of the only server in a world, and that of its first client.
const (
	serverPort = 7000
	clientPort = 40000
)

// converse begins the n-th conversation of a world. Each has its own ports at
// both ends.
func (w *world) converse(n int) *conversation {
	c := &conversation{world: w}
	var hosts [2]story.Host
	var addrs [2]netip.AddrPort
	for i, port := range []int{clientPort + n, serverPort + n} {
		addrs[i] = netip.AddrPortFrom(w.hosts[i].addr, uint16(port))
	}
	for i := range hosts {
		c.ends[i] = &end{host: w.hosts[i], addr: addrs[i], outside: addrs[i], peer: addrs[1-i], buf: make([]byte, 1<<16)}
		hosts[i] = c.ends[i]
	}
	c.Conversation = w.wire.Converse(hosts, addrs)
	return c
}

// keep writes what was seen of a conversation into a directory, after its world
// is closed.
func (c *conversation) keep(dir string, s *story.Script) error {
	var witnesses [2]story.Witness
	for i, e := range c.ends {
		key := tuple{e.addr, e.peer}
		witnesses[i] = story.Witness{
			Captured: e.host.captured,
			Moves:    moves(c.world.trace.of(key), c.world.watchers[i].sightings(key), e.cookies, e.sentSYN),
		}
	}
	return c.Keep(dir, s, witnesses)
}
