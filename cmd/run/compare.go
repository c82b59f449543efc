package run

import (
	"context"
	"net/netip"

	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/report/between"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Compare prints what happened between captures of several places.
type Compare struct {
	Reading
	Printer record.Printer
}

// Run reads the captures and prints.
func (c *Compare) Run(ctx context.Context) error {
	var fates fates
	w, sum, err := c.take(ctx, false, func(w *watch.Watch) watch.Sink {
		fates.begin(w)
		return watch.Sink{Still: true, Segment: fates.take, Event: func(e *tracker.Event) error { return c.Printer.Event(e) }}
	})
	if w != nil {
		defer w.Close() // who prints asks for frames
	}
	if err != nil {
		return err
	}
	c.warn(sum)
	gaveUp(c.Stderr, sum.Tracker)
	if w == nil {
		return nil
	}
	whole := summaryOf(sum)
	fates.tell(whole.Between)
	whole.Between.Frames = fates.frames
	return c.Printer.Close(whole)
}

// mostHostPairs is of how many pairs of hosts it is told which packets were lost, and
// which arrived.
const mostHostPairs = 4096

// fates take note of which packets were lost and forged, by sender and receiver.
type fates struct {
	watch *watch.Watch
	order []int // the taps as they lie on the path
	place []int // of each tap in order
	hosts map[hostPair]*hostFates
}

// A hostPair is a sender and a receiver.
type hostPair [2]netip.Addr

// hostFates are the fates of the packets of one host to another.
type hostFates struct {
	largest int // bytes of the largest segment that arrived
	ways    map[wayAt]*wayFates
}

// A wayAt is a direction between two neighbours on the path.
type wayAt struct{ pair, way int }

type wayFates struct{ lost, forged between.Which }

// begin begins to take note of what is watched.
func (f *fates) begin(w *watch.Watch) {
	f.watch, f.hosts = w, make(map[hostPair]*hostFates)
	if b := w.Summary().Between; b != nil {
		f.order = b.Order
	}
	f.place = make([]int, len(f.order))
	for i, tap := range f.order {
		f.place[tap] = i
	}
}

// frames returns the frames of a packet in the order of the path.
func (f *fates) frames(packet int) []int {
	of := f.watch.Frames(packet)
	if len(of) != len(f.order) {
		return nil
	}
	list := make([]int, len(of))
	for i, tap := range f.order {
		list[i] = of[tap]
	}
	return list
}

// take takes in what became of a segment.
func (f *fates) take(s *tcp.Segment) {
	t := s.Twin
	if t == nil || t.Fate == tcp.FateUnknown || t.Fate == tcp.FateMissed {
		return
	}
	key := hostPair{s.Src.Addr(), s.Dst.Addr()}
	h := f.hosts[key]
	if h == nil {
		if len(f.hosts) == mostHostPairs {
			return
		}
		h = &hostFates{ways: make(map[wayAt]*wayFates)}
		f.hosts[key] = h
	}
	switch t.Fate {
	case tcp.FatePassed:
		if t.Other != nil {
			h.largest = max(h.largest, int(t.Other.Data))
		}
	case tcp.FateLost:
		w, frame := f.wayOf(h, s, 0)
		w.lost.Add(frame, s)
	case tcp.FateForged:
		w, frame := f.wayOf(h, s, 1)
		w.forged.Add(frame, s)
	}
}

// wayOf returns where a packet is counted that was lost or forged between two taps, and
// its frame at the one that has it: the first of them, or the second.
func (f *fates) wayOf(h *hostFates, s *tcp.Segment, at int) (*wayFates, int) {
	from, to := f.place[s.Twin.Between[0]], f.place[s.Twin.Between[1]]
	key := wayAt{pair: from}
	if from > to {
		key = wayAt{pair: to, way: 1}
	}
	w := h.ways[key]
	if w == nil {
		w = &wayFates{lost: between.Which{Tap: from}, forged: between.Which{Tap: to}}
		h.ways[key] = w
	}
	frame := 0
	if list := f.watch.Frames(s.Packet); list != nil {
		frame = list[s.Twin.Between[at]]
	}
	return w, frame
}

// tell adds to a report which packets were lost and forged.
func (f *fates) tell(r *between.Report) {
	for _, h := range f.hosts {
		for at, w := range h.ways {
			way := &r.Pairs[at.pair].Ways[at.way]
			w.lost.LargestArrived, w.forged.LargestArrived = h.largest, -1
			way.WhichLost.Join(&w.lost)
			way.WhichForged.Join(&w.forged)
		}
	}
}
