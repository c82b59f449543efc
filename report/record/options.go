package record

import (
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/report/between"
	"github.com/tcpwatch/tcpwatch/report/findings"
	"github.com/tcpwatch/tcpwatch/report/services"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Options say what a Printer prints, and how. The zero Options print every
// connection, in UTC, without colour, as wide as it comes.
type Options struct {
	Filter Selection
	Where  func(*tracker.Record) bool // a further condition; nil: none. It keeps nothing of its argument

	// Two tables of their own, of formats table, wide, markdown and summary.
	On        netip.Addr // if valid: what netstat -tan would have shown on that host
	Listening bool       // only the listening sockets that the traffic gives away

	// Existing leaves out of tables the connections that are over (both ends
	// CLOSED, or back in LISTEN). Records always list them.
	Existing bool

	Differing bool          // tables show only connections with an end of which the kernel says another state
	Whole     bool          // the capture was read to its own end, and time runs no further: --at would say what follows
	LeakAfter time.Duration // as of the tracker; 0: as usual

	Names    bool   // beside addresses, those that the capture tells: in tables, and in html
	Events   bool   // json and jsonl: every transition and anomaly too
	Sort     string // path of a field (SortFields), after a "-" to turn the order round; "" is by conn
	NoHeader bool   // no column titles
	Time     text.TimeStyle
	Color    bool
	Width    int // columns of the terminal; table leaves columns out to fit it. 0: no limit
	Height   int // lines of the terminal. 0: 24

	Memory int64 // octets that tables and html may keep of connections until the end, about; 0: any

	AllAnomalies bool // tables list every anomaly: those that are equal, and those that another one explains

	By    services.By      // what rows of services are of
	Ended *services.Counts // what services had before the connections that are told of, and all anomalies over many; nil: nothing

	Taps []string // the names of the captures, in the order in which frames are told; of packets

	// Of html.
	Name          string // what was read
	Absolute, All bool   // as in ladder.Options
}

// A Summary is what the capture and the tracker know of the whole, given to a
// Printer at the end.
type Summary struct {
	Packets     uint64   // in the capture
	TCPPackets  uint64   // of these, TCP
	Filtered    uint64   // of Packets, those that a filter left out
	Tagged      uint64   // of these, those with a VLAN tag
	Earlier     uint64   // beyond Packets, those before the moment since which it was asked for
	Later       uint64   // and those after the moment until which
	Bytes       uint64   // what the packets measured on the wire
	First, Last tcp.Time // of the first and the last packet; no meaning without Packets
	Now         tcp.Time // the moment at which the records were taken; 0: Last
	Truncated   bool     // the capture is cut off in mid-packet
	Dropped     uint64   // packets that the capture lost, as far as it says
	Passed      []Passed // packets that were passed over for a header that is not opened
	Undecodable uint64   // packets whose headers could not be read
	Misdated    uint64   // packets whose stamps were wrong, and were put right
	Sorted      uint64   // packets that were out of order, and were put in order
	Evicted     uint64   // connections forgotten for want of memory

	Limits []Limit // those of which something was cut

	Kernel *Compared // nil: the kernel was not asked

	Between *between.Report // of captures of several places; nil: there is one
}

// Compared counts how often the state of an end was compared with what the kernel of its
// host says, and how often they differed.
type Compared struct{ Compared, Differed uint64 }

// A Limit is one of what is kept of the traffic, and how much was cut to stay within it.
type Limit struct {
	Name string
	Cut  uint64
	Text string // what was cut: "2 connections evicted"
}

// Passed counts packets that were passed over for a header that is not opened.
type Passed struct {
	Header  string
	Why     string // in what way it is not
	Packets uint64
}

// Selects reports whether r is one of the connections to print, in a table or
// not.
func (o *Options) Selects(r *tracker.Record, table bool) bool {
	return (!table || o.Shows(r)) && o.Filter.Has(r) && (o.Where == nil || o.Where(r))
}

// Shows reports whether tables show r, if it is selected.
func (o *Options) Shows(r *tracker.Record) bool {
	return (!o.Existing || exists(r)) && (!o.Differing || Differs(r))
}

// Differs reports whether the kernel of an end's host says another state of it than the
// packets show.
func Differs(r *tracker.Record) bool {
	return slices.ContainsFunc(r.Ends[:], func(e tracker.EndRecord) bool { return e.Socket != nil && e.Socket.Differs })
}

// Anomalies returns the anomalies of r that people are told of: not those that another
// one explains better, unless all are asked for, or their kind.
func (o *Options) Anomalies(r *tracker.Record) iter.Seq[*anomaly.Anomaly] {
	return func(yield func(*anomaly.Anomaly) bool) {
		for i := range r.Anomalies {
			a := &r.Anomalies[i]
			if !o.AllAnomalies && !slices.Contains(o.Filter.Kinds, a.Kind) && r.Explained(a) {
				continue
			}
			if !yield(a) {
				return
			}
		}
	}
}

// Find counts what Anomalies returns.
func (o *Options) Find(c *findings.Counts, r *tracker.Record) {
	for a := range o.Anomalies(r) {
		c.Anomaly(a, r)
	}
}

// exists reports whether an end of r is anything but CLOSED or back in LISTEN.
func exists(r *tracker.Record) bool {
	for _, e := range r.Ends {
		if e.State != tcp.Closed && e.State != tcp.Listen {
			return true
		}
	}
	return false
}
