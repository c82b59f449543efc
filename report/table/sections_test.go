package table

import (
	"bufio"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What another anomaly explains better is listed only when it is asked for.
func TestExplainedAreHidden(t *testing.T) {
	const all, hidden = true, false
	better := anomaly.Anomaly{Kind: "rst-instead-of-ack", Severity: anomaly.Error, Conn: 1, End: tcp.Server, Evidence: []int{8, 11}, Supersedes: []string{"rst-unmatched"}}
	for _, c := range []struct {
		kind     string
		end      tcp.Endpoint
		evidence []int
		options  record.Options
		listed   bool
	}{
		{"rst-unmatched", tcp.Server, nil, record.Options{}, hidden},
		{"rst-unmatched", tcp.Client, []int{10, 11}, record.Options{}, hidden},
		{"rst-unmatched", tcp.Client, []int{10}, record.Options{}, all}, // another RST
		{"ack-loop", tcp.Server, []int{11}, record.Options{}, all},
		{"rst-unmatched", tcp.Server, nil, record.Options{AllAnomalies: true}, all},
		{"rst-unmatched", tcp.Server, nil, record.Options{Filter: record.Selection{Kinds: []string{"rst-unmatched"}}}, all},
	} {
		r := sample.ClosedByClient()
		r.Anomalies = []anomaly.Anomaly{{Kind: c.kind, Conn: 1, End: c.end, Evidence: c.evidence}, better}
		for _, format := range []func(*bufio.Writer, *record.Options, record.Order) record.Format{New, NewWide, NewMarkdown, NewSummary} {
			var f record.Format
			out := text.Lines(func(out *bufio.Writer) {
				tally := record.NewTally()
				f = format(out, &c.options, record.Order{})
				tally.Connection(&r)
				f.Connection(&r)
				f.Close(&record.Summary{}, tally)
			})
			want := 0
			if c.listed {
				want = 2 // in its row, and below
				if _, counts := f.(*summary); counts {
					want = 1
				}
			}
			if n := strings.Count(strings.Join(out, "\n"), c.kind); n != want {
				t.Errorf("%s of the %v with %v is printed %d times, want %d:\n%s", c.kind, c.end, c.evidence, n, want, strings.Join(out, "\n"))
			}
		}
	}
}

// A few ends in TIME_WAIT are a line, unless they are asked for.
func TestFewTimeWaits(t *testing.T) {
	const none, line, section = "", "TIME_WAIT: ", "Ports Held"
	in := func(s ...tcp.State) record.Options { return record.Options{Filter: record.Selection{States: s}} }
	for _, c := range []struct {
		n       int
		format  record.Maker
		options record.Options
		want    string
	}{
		{0, New, record.Options{}, none},
		{1, New, record.Options{}, line + "1 end, 59 s left (-o wide"},
		{5, New, record.Options{}, line + "5 ends, 59 s left at most (-o wide"},
		{6, New, record.Options{}, section},
		{1, New, in(tcp.Closed, tcp.TimeWait), section},
		{1, New, in(tcp.Closed), line},
		{1, NewWide, record.Options{}, section},
	} {
		out := strings.Join(text.Lines(func(out *bufio.Writer) {
			f, tally := c.format(out, &c.options, record.Order{}), record.NewTally()
			for range c.n {
				r := sample.ClosedByClient()
				tally.Connection(&r)
				f.Connection(&r)
			}
			f.Close(&record.Summary{}, tally)
		}), "\n")
		for _, part := range []string{line, section} {
			if got, want := strings.Contains(out, part), strings.HasPrefix(c.want, part); got != want {
				t.Errorf("%d: %q is printed: %v, want %v", c.n, part, got, want)
			}
		}
		if !strings.Contains(out, c.want) {
			t.Errorf("%d: no %q in\n%s", c.n, c.want, out)
		}
	}
}

// What is odd about many connections explains what is odd about each of them.
func TestManyComeFirst(t *testing.T) {
	c := listedFor(new(record.Options), record.Order{})
	r := sample.ClosedByClient()
	r.Anomalies = []anomaly.Anomaly{
		{Kind: "connection-refused", Severity: anomaly.Warning, Conn: r.Conn},
		{Kind: "rst-instead-of-ack", Severity: anomaly.Error, Conn: r.Conn},
	}
	c.Connection(&r)
	c.Many(&anomaly.Anomaly{Kind: "port-scan", Severity: anomaly.Warning})
	var got []string
	for _, g := range c.groups(false) {
		got = append(got, g.Kind)
	}
	if want := []string{"rst-instead-of-ack", "port-scan", "connection-refused"}; !slices.Equal(got, want) {
		t.Errorf("the order is %v, want %v", got, want)
	}
}

// A table lists a few findings of each kind, but all of the kinds that are asked for.
func TestAllOfAKind(t *testing.T) {
	const n = shownOfKind + 3
	for want, o := range map[int]record.Options{shownOfKind: {}, n: {Filter: record.Selection{Kinds: []string{"zero-window"}}}} {
		l := listedFor(&o, record.Order{})
		for i := range n {
			r := sample.ClosedByClient()
			r.Ends[tcp.Server].Addr = netip.AddrPortFrom(r.Ends[tcp.Server].Addr.Addr(), uint16(i+1))
			r.Anomalies = []anomaly.Anomaly{{Kind: "zero-window", Conn: i + 1}}
			l.Connection(&r)
		}
		if got := len(l.groups(false)[0].List); got != want {
			t.Errorf("%d findings are listed, want %d", got, want)
		}
	}
}
