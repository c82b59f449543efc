package run

import (
	"context"
	"errors"
	"net/netip"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/report/html"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Replay prints captures that are read to their end.
type Replay struct {
	Reading
	Printer record.Printer
	Again   func() (record.Printer, error) // makes another, where the first has written nothing and is forgotten; nil: it may have written
	On      netip.Addr                     // if valid: the host whose sockets are printed
	Ladders bool                           // the Printer draws ladders, for which the captures are read twice
	Selects func(*tracker.Record) bool     // tells which connections are saved
	Before  func() error                   // is called before what waits for the end is printed; nil: nothing is
	Still   bool                           // the Printer prints no moves
	Learned bool                           // what the tracker has learned is told
	Strict  bool                           // a capture that is cut off is an error
}

// printPackets has the packets printed too, as the tracker comes by them.
func printPackets(w *watch.Watch, p *record.Packets, s watch.Sink) watch.Sink {
	var failed error
	s.Segment = func(g *tcp.Segment) {
		if failed == nil {
			failed = p.Take(g, w.Frames(g.Packet))
		}
	}
	event := s.Event
	s.Event = func(e *tracker.Event) error {
		if e.Kind == tracker.EventSegment && failed == nil {
			failed = p.Seen(e)
		}
		return errors.Join(failed, event(e))
	}
	return s
}

// Run prints the captures. Where nothing is written before all is read they are taken to
// be in order, and read again if they are not, in the place of a look at them before.
func (r *Replay) Run(ctx context.Context) (err error) {
	c := &r.Capture
	if c.Expect = r.Again != nil && c.Since == (capture.Moment{}) && c.Until == (capture.Moment{}) && !c.AsTheyAre; !c.Expect {
		return r.run(ctx)
	}
	if err = r.run(ctx); !errors.Is(err, capture.ErrOutOfOrder) {
		return err
	}
	c.Expect = false
	if r.Printer, err = r.Again(); err != nil {
		return err
	}
	return r.run(ctx)
}

// run is Run, once.
func (r *Replay) run(ctx context.Context) (err error) {
	saver, err := r.Save.open(&r.Reading)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, saver.close()) }()
	spool := new(watch.Spool)
	if r.Ladders || saver != nil {
		if spool, err = watch.NewSpool(r.Files, &r.Capture); err != nil {
			return err
		}
	}
	defer spool.Close()
	notes := saver.notes(&r.Reading)
	seen := hosts{asked: r.On, conns: make(map[netip.Addr]int)}
	var unprinted error // of the output; what is saved is saved all the same
	packets, _ := record.FormatOf(r.Printer).(*record.Packets)
	w, sum, err := r.take(ctx, saver != nil || packets != nil, func(w *watch.Watch) watch.Sink {
		s := notes.on(watch.Sink{Still: r.Still, Event: func(e *tracker.Event) error {
			seen.take(e)
			if e.Kind == tracker.EventConnection && saver != nil {
				notes.connection(e.Record, r.Selects(e.Record))
			}
			if unprinted == nil {
				unprinted = r.Printer.Event(e)
			}
			if saver == nil {
				return unprinted
			}
			return nil
		}})
		if packets != nil {
			return printPackets(w, packets, s)
		}
		return s
	})
	if w != nil {
		w.Close()
	}
	if err != nil {
		return err
	}
	if sum.Interrupted && sum.Capture.Read == 0 {
		r.warn(sum)
		return nil
	}
	if r.Before != nil {
		if err := r.Before(); err != nil {
			return err
		}
	}
	r.warn(sum)
	gaveUp(r.Stderr, sum.Tracker)
	if k := sum.Learned; r.Learned {
		text.Say(r.Stderr, "%d of %d segments went by an edge: %d forms, %d edges, %d pairs that only the rules decide", k.Followed, sum.Tracker.Segments, k.Forms, k.Edges, k.Dead)
	}
	if err := saver.write(ctx, &r.Reading, spool, notes); err != nil {
		return err
	}
	if unprinted != nil {
		return unprinted
	}
	if err := seen.missing("--on"); err != nil {
		return err
	}
	if err := r.ladders(ctx, spool, &sum); err != nil {
		return err
	}
	if err := r.Printer.Close(summaryOf(sum)); err != nil {
		return err
	}
	if r.Strict && sum.Capture.Truncated {
		return errors.New("the capture is cut off (--strict)")
	}
	return nil
}

// ladders has the Printer draw ladders, if it does, for which the captures are read once
// more.
func (r *Replay) ladders(ctx context.Context, spool *watch.Spool, sum *watch.Summary) error {
	if !r.Ladders || sum.Interrupted {
		return nil
	}
	if err := spool.Rewind(); err != nil {
		return err
	}
	_, err := r.draw(ctx, html.LaddersOf(r.Printer), nil)
	return err
}
