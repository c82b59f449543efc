package run

import (
	"context"
	"errors"

	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/report/html"
	"github.com/tcpwatch/tcpwatch/report/record"
)

// A Replay prints captures that are read to their end.
type Replay struct {
	Reading
	Printer record.Printer
	Ladders bool         // the Printer draws ladders, for which the captures are read twice
	Before  func() error // is called before what waits for the end is printed; nil: nothing is
	Strict  bool         // a capture that is cut off is an error
}

// Run prints the captures.
func (r *Replay) Run(ctx context.Context) error {
	spool := new(watch.Spool)
	if r.Ladders {
		var err error
		if spool, err = watch.NewSpool(r.Files, &r.Capture); err != nil {
			return err
		}
	}
	defer spool.Close()
	sum, err := r.pass(ctx, watch.Sink{Event: r.Printer.Event})
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
	gaveUp(r.Stderr, sum.Tracker.Evicted, r.BoundBy)
	if r.Ladders && !sum.Interrupted {
		if err := spool.Rewind(); err != nil {
			return err
		}
		if _, err := r.draw(ctx, html.LaddersOf(r.Printer)); err != nil {
			return err
		}
	}
	if err := r.Printer.Close(summaryOf(sum)); err != nil {
		return err
	}
	if r.Strict && sum.Capture.Truncated {
		return errors.New("the capture is cut off (--strict)")
	}
	return nil
}
