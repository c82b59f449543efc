package run

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/report/ladder"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// An Explain draws connections. It reads the captures twice: once to learn which
// connections there are and what becomes of them, and once more to draw those
// that are wanted. What comes from a pipe is kept in a temporary file in between.
// Where very many connections are to be drawn they are drawn in several goes, for
// each of which the captures are read.
type Explain struct {
	Reading
	Wanted func(*tracker.Record) bool // is asked once of every connection
	Before func() error               // is called before anything is drawn
	Ladder ladder.Options
	AtOnce int // how many connections are drawn in one go
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
	seen, goes := 0, ladder.Goes{AtOnce: x.AtOnce}
	notes := saver.notes(&x.Reading)
	sum, err := x.connections(ctx, notes, func(lent *tracker.Record) {
		seen++
		wanted := x.Wanted(lent)
		notes.connection(lent, wanted)
		if wanted {
			goes.Want(lent)
		}
	})
	if err != nil {
		return err
	}
	gaveUp(x.Stderr, sum.Tracker) // once, not at every pass
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
	group := goes.Next()
	if len(group) == 0 {
		return ladder.None(x.Out, summaryOf(sum), seen)
	}
	for i := 0; len(group) > 0 && err == nil && ctx.Err() == nil; i++ {
		if i > 0 {
			fmt.Fprintln(x.Out)
		}
		err = x.drawGo(ctx, spool, group, &goes)
		group = goes.Next()
	}
	return err
}

// drawGo draws the connections of one go, and learns of those of the next.
func (x *Explain) drawGo(ctx context.Context, spool *watch.Spool, group []*tracker.Record, goes *ladder.Goes) error {
	if err := spool.Rewind(); err != nil {
		return err
	}
	ladders := ladder.New(x.Out, group, x.Ladder)
	defer ladders.Discard()
	sum, err := x.draw(ctx, ladders, goes.Again)
	switch {
	case err != nil:
		return err
	case sum.Interrupted:
		x.warn(watch.Summary{Interrupted: true})
		return nil
	}
	return ladders.Close()
}
