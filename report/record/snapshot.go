package record

import (
	"cmp"

	"github.com/tcpwatch/tcpwatch/report/findings"
	"github.com/tcpwatch/tcpwatch/report/services"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Snapshot is all that a display that is refreshed shows of one moment.
type Snapshot struct {
	Time    tcp.Time
	Records []*tracker.Record // of the connections that are kept, and of those over since the snapshot before, as far as there is room for these; nobody else's
	Over    int               // of Records, so many at the front are over
	Summary Summary           // of all so far

	// Ended counts the selected connections that were over before the snapshot
	// before, or that there was no room for, which are in no Records any more, and all anomalies over many
	// connections. Found has the anomalies of the same. Nobody counts on in them.
	Ended *services.Counts
	Found *findings.Counts
}

// Services counts all selected connections so far by service.
func (s *Snapshot) Services(o *Options) *services.Counts {
	c := s.Ended.Clone()
	for _, r := range s.Records {
		if o.Selects(r, false) {
			c.Connection(r)
		}
	}
	return c
}

// Findings are the anomalies of all selected connections so far, grouped.
func (s *Snapshot) Findings(o *Options) *findings.Counts {
	c := s.Found.Clone()
	for _, r := range s.Records {
		if o.Selects(r, false) {
			o.Find(c, r)
		}
	}
	return c
}

// Whole returns the Snapshot's summary, of the Snapshot's time.
func (s *Snapshot) Whole() *Summary {
	sum := s.Summary
	sum.Now = cmp.Or(s.Time, sum.Now)
	return &sum
}

// TimeOf writes the time of a Snapshot as tables do.
func (o *Options) TimeOf(s *Snapshot) string { return o.Time.Format(s.Time, s.Summary.First) }
