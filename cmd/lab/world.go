//go:build lab && linux

package lab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/forge"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/judge"
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
		h, err := newHost(side(i).String(), addr)
		if err != nil {
			return nil, err
		}
		w.hosts[i], w.watchers[i] = h, watch(h)
	}
	w.wire = newWire(w.hosts[0], w.hosts[1])
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
	world     *world
	processes [2]*process
	channel   *channel
	cookies   bool
	marks     []mark
	story     judge.Story
}

// The port of the only server in a world, and that of its first client.
const (
	serverPort = 7000
	clientPort = 40000
)

// converse begins the n-th conversation of a world. Each has its own ports at
// both ends.
func (w *world) converse(n int) *conversation {
	c := &conversation{world: w, channel: w.wire.open(uint16(clientPort + n))}
	c.story.ExpectAt = map[string]string{}
	for i, port := range []int{clientPort + n, serverPort + n} {
		c.processes[i] = newProcess(w.hosts[i], uint16(port), netip.AddrPort{})
	}
	c.processes[client].peer, c.processes[server].peer = c.addr(server), c.addr(client)
	return c
}

func (c *conversation) addr(s side) netip.AddrPort { return c.processes[s].addr() }

// keep writes the captures and the truth of a conversation into a directory,
// after its world is closed, up to the last quiet moment. It fails if the kernels
// did not do what the script tells.
func (c *conversation) keep(dir string, s *script) error {
	if len(c.marks) == 0 {
		return fmt.Errorf("%s: there was no quiet moment", s.name)
	}
	end := c.marks[len(c.marks)-1].at
	c.story.Name, c.story.Description = s.name, s.description
	c.story.Endpoints, c.story.Moves = map[string]judge.Endpoint{}, map[string][]judge.Move{}
	for i, p := range c.processes {
		name, key := side(i).String(), tuple{p.addr(), p.peer}
		c.story.Endpoints[name] = judge.Endpoint{Addr: p.host.addr.String(), Port: p.port}
		all := moves(c.world.trace.of(key), c.world.watchers[i].sightings(key), c.cookies, p.sentSYN)
		c.story.Moves[name] = slices.DeleteFunc(all, func(m judge.Move) bool { return m.T > seconds(end) })
		c.story.Taps = append(c.story.Taps, name+".pcap")
		if err := c.writeCapture(filepath.Join(dir, name+".pcap"), p.host, tracker.Time(end.UnixNano())); err != nil {
			return err
		}
	}
	var wrong error
	for i := range c.marks {
		m := &c.marks[i]
		cp := judge.Checkpoint{T: seconds(m.at), Accept: m.accept}
		cp.Client = c.kernelState(m, client, cp)
		cp.Server = c.kernelState(m, server, cp)
		if err := m.played([]string{cp.Client, cp.Server}); err != nil && wrong == nil {
			wrong = fmt.Errorf("%s: quiet moment %d: %w", s.name, i+1, err)
		}
		c.story.Checkpoints = append(c.story.Checkpoints, cp)
	}
	truth, err := json.MarshalIndent(&c.story, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "truth.json"), append(truth, '\n'), 0o644); err != nil {
		return err
	}
	return wrong
}

// kernelState returns the state of an end at a mark. An end that has no socket
// is CLOSED, or LISTEN if its listener waits and no connection began there. Where
// one began and went no further than SYN_RCVD, RFC 9293 has LISTEN too.
func (c *conversation) kernelState(m *mark, s side, cp judge.Checkpoint) string {
	if m.state[s] != "" {
		return m.state[s]
	}
	if !m.listening[s] {
		return "CLOSED"
	}
	newest := ""
	for _, move := range c.story.Moves[s.String()] {
		if move.T <= cp.T && move.To != "CLOSED" {
			newest = move.To
		}
	}
	switch newest {
	case "":
		return "LISTEN"
	case "SYN_RCVD":
		cp.Accept[s.String()] = append(cp.Accept[s.String()], "LISTEN")
	}
	return "CLOSED"
}

// writeCapture writes what a host's tap saw of the conversation until the end.
func (c *conversation) writeCapture(path string, h *host, end tracker.Time) error {
	var b bytes.Buffer
	w, err := forge.NewPcap(&b, capture.LinkRaw, 1<<16)
	if err != nil {
		return err
	}
	for _, p := range h.captured {
		if p.at > end {
			break
		}
		s, ok := capture.DecodeIP(p.packet)
		if ok && (s.Src == c.addr(client) && s.Dst == c.addr(server) || s.Src == c.addr(server) && s.Dst == c.addr(client)) {
			if err := w.Write(p.at, p.packet); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}
