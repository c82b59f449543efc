package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/report/ladder"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// An Explain draws connections. It reads the captures twice: once to learn which
// connections there are and what becomes of them, and once more to draw those
// that are wanted. What comes from a pipe is kept in a temporary file in between.
// Where very many segments are to be drawn they are drawn in several goes, so
// that not all of them are in memory at once.
type Explain struct {
	Reading
	Wanted func(*tracker.Record) bool // is asked once of every connection
	Before func() error               // is called before anything is drawn
	Ladder ladder.Options
	Out    io.Writer
}

// Run draws the connections.
func (x *Explain) Run(ctx context.Context) (err error) {
	saver, err := x.Save.open(&x.Reading)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, saver.close()) }()
	spool, err := watch.NewSpool(x.Files, &x.Capture)
	if err != nil {
		return err
	}
	defer spool.Close()
	var records []*tracker.Record
	seen := 0
	notes := saver.notes(&x.Reading)
	sum, err := x.connections(ctx, notes, func(lent *tracker.Record) {
		seen++
		wanted := x.Wanted(lent)
		notes.connection(lent, wanted)
		if wanted {
			r := lent.Clone()
			r.Ends[tcp.Client].History, r.Ends[tcp.Server].History = nil, nil
			records = append(records, r)
		}
	})
	if err != nil {
		return err
	}
	gaveUp(x.Stderr, sum.Tracker.Evicted, x.BoundBy) // once, not at every pass
	x.warn(sum)
	if sum.Interrupted {
		return saver.write(ctx, &x.Reading, spool, notes) // nothing is drawn of connections known in part
	}
	if err := x.Before(); err != nil {
		return err
	}
	if err := saver.write(ctx, &x.Reading, spool, notes); err != nil {
		return err
	}
	if len(records) == 0 {
		return ladder.None(x.Out, summaryOf(sum), seen)
	}
	slices.SortFunc(records, func(a, b *tracker.Record) int { return a.Conn - b.Conn })
	for i, group := range ladder.Goes(records) {
		if err := spool.Rewind(); err != nil {
			return err
		}
		if i > 0 {
			fmt.Fprintln(x.Out)
		}
		ladders := ladder.New(x.Out, group, x.Ladder)
		sum, err := x.draw(ctx, ladders)
		if err != nil {
			return err
		}
		if err := ladders.Close(); err != nil {
			return err
		}
		if sum.Interrupted {
			x.warn(watch.Summary{Interrupted: true})
			return nil
		}
	}
	return nil
}
