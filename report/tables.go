package report

import (
	"fmt"
	"io"

	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
)

// Tables are the display of what is no terminal: a table whenever it is
// refreshed, below a line with the time.
type Tables struct {
	out     io.Writer
	format  string
	options record.Options
	odd     []anomaly.Anomaly // over many connections, since the last table
}

// maxOdd bounds how many of these are kept.
const maxOdd = 1000

// Refreshed reports whether a format shows how things stand, over and over.
func Refreshed(format string) bool {
	return format == "table" || format == "wide" || format == "markdown" || format == "services"
}

// NewTables returns Tables of a format that is Refreshed. Their errors are those
// of New.
func NewTables(format string, w io.Writer, o record.Options) (*Tables, error) {
	if _, err := New(format, io.Discard, o); err != nil {
		return nil, err
	}
	return &Tables{out: w, format: format, options: o}, nil
}

// Event takes the next of the tracker's Events. It keeps nothing of it.
func (t *Tables) Event(e *tracker.Event) {
	if e.Kind == tracker.EventAnomaly && e.Anomaly.Conn == 0 && len(t.odd) < maxOdd {
		t.odd = append(t.odd, *e.Anomaly)
	}
}

// Refresh prints how things stand.
func (t *Tables) Refresh(s *record.Snapshot) error {
	o := t.options
	o.Existing, o.Ended = true, s.Ended
	p, err := New(t.format, t.out, o)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(t.out, "# %s\n", o.Time.Format(s.Time, s.Summary.First)); err != nil {
		return err
	}
	for i := range t.odd {
		if err := p.Event(&tracker.Event{Kind: tracker.EventAnomaly, Anomaly: &t.odd[i]}); err != nil {
			return err
		}
	}
	t.odd = t.odd[:0]
	for _, r := range s.Records {
		if err := p.Record(r); err != nil {
			return err
		}
	}
	if err := p.Close(s.Summary); err != nil {
		return err
	}
	_, err = fmt.Fprintln(t.out)
	return err
}
