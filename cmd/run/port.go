package run

import (
	"context"
	"io"

	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/table"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// A Port prints who holds a port.
type Port struct {
	Reading
	Holders *table.Port
	Options record.Options
	Out     io.Writer
}

// Run reads the captures and prints.
func (p *Port) Run(ctx context.Context) error {
	sum, err := p.Connections(ctx, func(r *tracker.Record) {
		if p.Options.Selects(r, false) {
			p.Holders.Connection(r)
		}
	})
	if err != nil {
		return err
	}
	p.warn(sum)
	gaveUp(p.Stderr, sum.Tracker)
	whole := summaryOf(sum)
	return p.Holders.Print(p.Out, &p.Options, &whole)
}
