package findings

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// odd is a connection to a port, with an anomaly.
func odd(conn int, port uint16, a anomaly.Anomaly) *tracker.Record {
	a.Conn, a.Count = conn, 1
	r := &tracker.Record{Conn: conn, Anomalies: []anomaly.Anomaly{a}}
	r.Ends[tcp.Server].Addr = netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), port)
	return r
}

// told writes Findings in short.
func told(c *Counts) string {
	var list []string
	for _, f := range c.List() {
		list = append(list, fmt.Sprintf("%v %s %s %v %v %d %v", f.Severity, f.Kind, f.Cause, f.Confidence, f.At, f.Count, f.Conns))
	}
	return strings.Join(list, "\n")
}

// What says the same is one Finding, and what differs in anything is another.
func TestWhatSaysTheSameIsOne(t *testing.T) {
	var c Counts
	reset := anomaly.Anomaly{Kind: "reset", Severity: anomaly.Error, Cause: "late", Text: "old"}
	for i := range 2000 {
		a := reset
		a.Time = tcp.Time(5000 - i)
		if i == 0 {
			a.Text = "newest"
		}
		c.Connection(odd(i+1, 80, a))
	}
	other := reset
	other.Cause = "early"
	unsure := reset
	unsure.Confidence = anomaly.ConfidenceAmbiguous
	mild := reset
	mild.Severity = anomaly.Warning
	for i, a := range []anomaly.Anomaly{other, unsure, mild} {
		c.Connection(odd(3000+i, 80, a))
	}
	c.Connection(odd(4000, 443, reset))
	c.Anomaly(&anomaly.Anomaly{Kind: "scan", Severity: anomaly.Warning, Addr: netip.MustParseAddr("10.0.0.9"), Count: 500})
	const want = `error reset late proved 10.0.0.2:80 2000 [1 2 3 4 5 6 7 8 9 10]
error reset early proved 10.0.0.2:80 1 [3000]
error reset late proved 10.0.0.2:443 1 [4000]
error reset late ambiguous 10.0.0.2:80 1 [3001]
warning scan  proved 10.0.0.9:0 1 []
warning reset late proved 10.0.0.2:80 1 [3002]`
	if got := told(&c); got != want {
		t.Errorf("found are\n%s\nwant\n%s", got, want)
	}
	if f := c.List()[0]; f.Last.Text != "newest" || f.Newest() != 5000 {
		t.Errorf("the newest is %q of %d", f.Last.Text, f.Newest())
	}
	if c.Of(anomaly.Error) != 2003 || c.Of(anomaly.Warning) != 2 || c.Of(anomaly.Notice) != 0 {
		t.Errorf("there are %v", c.severities)
	}
}

// However many services there are, Findings are not, and none is lost.
func TestFindingsAreBounded(t *testing.T) {
	var c Counts
	const n = 3 * MostFindings
	for i := range n {
		c.Connection(odd(i+1, uint16(i+1), anomaly.Anomaly{Kind: "refused", Time: tcp.Time(i)}))
	}
	list := c.List()
	sum := 0
	for _, f := range list {
		sum += f.Count
	}
	if len(list) > MostFindings+1 || sum != n {
		t.Errorf("%d findings of %d anomalies, want at most %d of %d", len(list), sum, MostFindings+1, n)
	}
	if !list[0].Elsewhere || list[0].Count != n-MostFindings {
		t.Errorf("the first is %+v", list[0])
	}
}

// Who counts on in a copy does not change what it was made of, nor does who changes
// what was counted.
func TestCopies(t *testing.T) {
	var c Counts
	r := odd(1, 80, anomaly.Anomaly{Kind: "reset", Evidence: []int{1}})
	c.Connection(r)
	before := told(&c)
	d := c.Clone()
	r.Anomalies[0].Evidence[0] = 7
	for i := range 3 {
		d.Connection(odd(i+2, 80, anomaly.Anomaly{Kind: "reset"}))
	}
	if got := told(&c); got != before || !slices.Equal(c.List()[0].Last.Evidence, []int{1}) {
		t.Errorf("it was %s, and is %s", before, got)
	}
	var none *Counts
	none.Connection(r)
	if none.List() != nil || none.Of(anomaly.Error) != 0 || len(none.Clone().List()) != 0 {
		t.Error("of nothing something was counted")
	}
}
