package crossflow

import (
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/many"
	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What many connections do to one listener, or to one client's ports.

// A flood counts the handshakes of a listener by the second.
type flood struct {
	seconds [many.FloodWindow]handshakes
	samples []sighting
	awaited bool
	told    bool
	left    int // so many more SYNs must come, in this second, before it can be a flood
}

// handshakes are those of one second.
type handshakes struct {
	second int64 // since the epoch
	begun  int
	done   int // completed, or refused
	again  int // of the ones begun, from an address and port as before
	first  tcp.Time
	last   tcp.Time
}

// at returns the count of the second of now.
func (f *flood) at(now tcp.Time) *handshakes {
	second := int64(now / tcp.Second)
	h := &f.seconds[second%many.FloodWindow]
	if h.second != second {
		*h = handshakes{second: second}
	}
	return h
}

// total adds up the window that ends now.
func (f *flood) total(now tcp.Time) (sum handshakes) {
	for _, h := range f.seconds {
		if h.begun == 0 || h.second <= int64(now/tcp.Second)-many.FloodWindow {
			continue
		}
		if sum.begun == 0 || h.first < sum.first {
			sum.first = h.first
		}
		sum.begun, sum.done, sum.again, sum.last = sum.begun+h.begun, sum.done+h.done, sum.again+h.again, max(sum.last, h.last)
	}
	return sum
}

// flooded reports whether these handshakes are a flood.
func (h *handshakes) flooded() bool {
	left := h.begun - h.done
	return left >= many.FloodSYNs && left >= many.FloodRatio*h.done && (h.begun-h.again)*many.FloodSources >= h.begun
}

// floodBegun counts a SYN to a listener.
func (c *Detector) floodBegun(e *tracker.Event) {
	f := c.floods.at(portOf(e.Server))
	h := f.at(c.now)
	h.begun++
	h.last = e.Time
	if e.Incarnation > 1 {
		h.again++
	}
	if h.begun == 1 {
		h.first, f.left = e.Time, 0
		sum := f.total(c.now)
		f.told = f.told && sum.begun > many.FloodSYNs/2
		if !f.awaited && !f.told {
			f.samples = f.samples[:0]
		}
	}
	f.samples = sample(f.samples, e)
	if f.awaited || f.told {
		return
	}
	if f.left--; f.left > 0 {
		return
	}
	sum := f.total(c.now)
	if f.left = many.FloodSYNs - (sum.begun - sum.done); sum.flooded() {
		f.awaited = true
		listener := e.Server // so that e stays off the heap
		c.later(many.FloodPatience, func() { c.decideFlood(listener, f) })
	}
}

// floodMoved counts a handshake that is completed, or refused: that is no work
// for a listener.
func (c *Detector) floodMoved(e *tracker.Event) {
	if e.To == tcp.Listen || e.To == tcp.Closed && !hasNoConnection(e) || e.To == tcp.Unknown {
		return
	}
	if f := c.floods.find(portOf(e.Server)); f != nil {
		f.at(c.now).done++
	}
}

// decideFlood tells whether a listener is flooded.
func (c *Detector) decideFlood(listener netip.AddrPort, f *flood) {
	f.awaited = false
	sum := f.total(c.now)
	if !sum.flooded() {
		return
	}
	f.told = true
	span := max(sum.last.Sub(sum.first), time.Millisecond)
	c.report(&many.SynFlood, anomaly.Finding{
		Certain: anomaly.ConfidenceAssumed,
		Values:  anomaly.Values{"n": sum.begun, "span": span, "listener": listener, "share": 100 * (sum.begun - sum.done) / sum.begun},
	}, listener.Addr(), listener.Port(), sum.begun, sum.last, f.samples)
}

// waits counts the connections of a listener that are in TIME-WAIT, at its
// own end and at the clients'.
type waits struct {
	held    [2]int   // by end
	most    int      // at the listener, while a verdict is awaited
	latest  tcp.Time // when the newest of these began
	samples []sighting
	awaited bool
	told    int // so many were told of; 0: none
}

// worth reports whether there is more to tell of than was told: many, or so many
// that they are a burden.
func (w *waits) worth() bool {
	n := w.held[tcp.Server]
	return n >= many.WaitsMany && n >= many.WaitsRatio*w.held[tcp.Client] && (w.told == 0 || n >= many.WaitsHeavy && w.told < many.WaitsHeavy)
}

// count adds n to those of the end, and reports whether any are left.
func (w *waits) count(e tcp.Endpoint, n int) bool {
	w.held[e] = max(w.held[e]+n, 0)
	if w.held[tcp.Server] < many.WaitsMany/2 {
		w.told = 0
	}
	return w.held[tcp.Client] > 0 || w.held[tcp.Server] > 0 || w.awaited
}

// waiting counts an end that enters or leaves TIME-WAIT.
func (c *Detector) waiting(e *tracker.Event) {
	switch {
	case e.From == tcp.TimeWait:
		c.waited(e.Server, e.End)
	case e.To == tcp.TimeWait:
		w := c.waits.at(portOf(e.Server))
		w.count(e.End, +1)
		if e.End == tcp.Client {
			return
		}
		if w.held[tcp.Server] == 1 && !w.awaited {
			w.samples = w.samples[:0]
		}
		w.samples = sample(w.samples, e)
		if !w.worth() {
			return
		}
		if !w.awaited {
			w.awaited, w.most = true, 0
			listener := e.Server // so that e stays off the heap
			c.later(many.WaitsPatience, func() { c.decideWaits(listener, w) })
		}
		if w.held[tcp.Server] > w.most {
			w.most, w.latest = w.held[tcp.Server], e.Time
		}
	}
}

// waited counts an end that is no longer in TIME-WAIT.
func (c *Detector) waited(listener netip.AddrPort, e tcp.Endpoint) {
	key := portOf(listener)
	if w := c.waits.find(key); w != nil && !w.count(e, -1) {
		c.waits.drop(key)
	}
}

// decideWaits tells of the connections of a listener in TIME-WAIT.
func (c *Detector) decideWaits(listener netip.AddrPort, w *waits) {
	w.awaited, w.told = false, w.most
	f := anomaly.Finding{
		Certain: anomaly.ConfidenceAssumed,
		Values:  anomaly.Values{"n": w.most, "listener": listener, "time": w.latest.Std().Format("15:04:05 UTC")},
	}
	if w.most >= many.WaitsHeavy {
		f.Move = "heavy"
		f.Say("heavy")
	}
	c.report(&many.ServerTimeWaitAccumulation, f, listener.Addr(), listener.Port(), w.most, w.latest, w.samples)
}

// portUse counts the ports of a client that are in use on a route.
type portUse struct {
	open   int
	lo, hi uint16 // the ports that were used
	much   *muchUse
}

// muchUse is what is kept of a route on which half as many are in use as are too many.
type muchUse struct {
	most    int
	until   tcp.Time
	samples []sighting
	told    bool
	awaited bool
}

// The ranges that stacks take ports from when a client does not ask for one.
var portRanges = []struct {
	lo, hi uint16
}{
	{49152, 65535}, // RFC 6335 §6: BSD, macOS, Windows
	{32768, 60999}, // Linux
	{1024, 65535},  // any other
}

// size is how many ports the client can choose from: those of the smallest
// range that holds all that it used.
func (p *portUse) size() int {
	for _, r := range portRanges {
		if r.lo <= p.lo && p.hi <= r.hi {
			return int(r.hi-r.lo) + 1
		}
	}
	return 1 << 16
}

// using counts the ports of a client. One that is in TIME-WAIT is in use.
func (c *Detector) using(client, server netip.AddrPort, e *tracker.Event) {
	key := routeOf(client.Addr(), server)
	if holdsNoPort(e.To) {
		c.unused(key)
		return
	}
	p := c.ports.at(key)
	if p.open++; p.open == 1 || client.Port() < p.lo {
		p.lo = client.Port()
	}
	p.hi = max(p.hi, client.Port())
	if 2*p.open*100 < many.PortsFull*p.size() {
		if !p.awaited() {
			p.much = nil
		}
		return
	}
	if p.much == nil {
		p.much = new(muchUse)
	}
	much := p.much
	much.samples = sample(much.samples, e)
	if p.open*100 < many.PortsFull*p.size() || much.told {
		return
	}
	if !much.awaited {
		much.awaited, much.most = true, 0
		c.later(many.PortsPatience, func() { c.decidePorts(client.Addr(), server, p, much) })
	}
	if p.open > much.most {
		much.most, much.until = p.open, e.Time
	}
}

// unused counts a port that is no longer in use.
func (c *Detector) unused(key flow.Key) {
	if p := c.ports.find(key); p != nil {
		if p.open--; p.open <= 0 && !p.awaited() {
			c.ports.drop(key)
		}
	}
}

// awaited reports whether a verdict is to be given of the route.
func (p *portUse) awaited() bool { return p.much != nil && p.much.awaited }

// holdsNoPort reports whether an end in this state leaves its port free.
func holdsNoPort(s tcp.State) bool { return s == tcp.Closed || s == tcp.Listen || s == tcp.Unknown }

// decidePorts tells of the ports of a client.
func (c *Detector) decidePorts(client netip.Addr, server netip.AddrPort, p *portUse, much *muchUse) {
	much.awaited, much.told = false, true
	c.report(&many.EphemeralPortExhaustion, anomaly.Finding{
		Certain: anomaly.ConfidenceAssumed,
		Values:  anomaly.Values{"client": client, "n": much.most, "size": p.size(), "listener": server, "rate": p.size() / 60},
	}, client, 0, much.most, much.until, much.samples)
}
