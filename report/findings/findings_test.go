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

// take counts the anomaly of odd.
func take(c *Counts, conn int, port uint16, a anomaly.Anomaly) {
	r := odd(conn, port, a)
	c.Anomaly(&r.Anomalies[0], r)
}

// told writes Findings in short.
func told(c *Counts) string {
	var list []string
	for _, f := range c.List() {
		list = append(list, fmt.Sprintf("%v %s %s %v %v %d %v", f.Severity, f.Kind, f.Cause, f.Confidence, f.At, f.Count, f.Conns()))
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
		take(&c, i+1, 80, a)
	}
	other := reset
	other.Cause = "early"
	unsure := reset
	unsure.Confidence = anomaly.ConfidenceAmbiguous
	mild := reset
	mild.Severity = anomaly.Warning
	client := reset
	client.End = tcp.Server
	for i, a := range []anomaly.Anomaly{other, unsure, mild, client} {
		take(&c, 3000+i, 80, a)
	}
	take(&c, 4000, 443, reset)
	scan := anomaly.Anomaly{Kind: "scan", Severity: anomaly.Warning, Addr: netip.MustParseAddr("10.0.0.9"), Count: 500}
	c.Anomaly(&scan, nil)
	c.Anomaly(&scan, nil)
	const want = `error reset late proved 10.0.0.2:80 2000 [2000 1999 1998 1997 1996 1995 1994 1993 1992 1991]
error reset early proved 10.0.0.2:80 1 [3000]
error reset late ambiguous 10.0.0.2:80 1 [3001]
error reset late proved 10.0.0.2:80 1 [3003]
error reset late proved 10.0.0.2:443 1 [4000]
warning scan  proved 10.0.0.9:0 2 []
warning reset late proved 10.0.0.2:80 1 [3002]`
	if got := told(&c); got != want {
		t.Errorf("found are\n%s\nwant\n%s", got, want)
	}
	if f := c.List()[0]; f.Last.Text != "newest" || f.Newest() != 5000 || f.First.Conn != 2000 || f.Times != 2000 || f.Same {
		t.Errorf("the newest is %q of %d, the first of conn %d, %d times, all the same: %v", f.Last.Text, f.Newest(), f.First.Conn, f.Times, f.Same)
	}
	if c.Of(anomaly.Error) != 2004 || c.Of(anomaly.Warning) != 3 || c.Of(anomaly.Notice) != 0 {
		t.Errorf("there are %v", c.severities)
	}
}

// However many services there are, Findings are not, and none is lost.
func TestFindingsAreBounded(t *testing.T) {
	var c Counts
	const n = 3 * MostFindings
	for i := range n {
		take(&c, i+1, uint16(i+1), anomaly.Anomaly{Kind: "refused", Time: tcp.Time(i)})
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

// The first client hosts are those that came first, in whatever order they are told
// of; and all are counted.
func TestHosts(t *testing.T) {
	c := Counts{All: true}
	for _, at := range []struct {
		host byte
		time tcp.Time
	}{{5, 50}, {1, 60}, {4, 40}, {3, 30}, {2, 20}, {2, 25}, {4, 15}, {1, 10}} {
		r := odd(int(at.time), 80, anomaly.Anomaly{Kind: "reset", Time: at.time, Text: "the same"})
		r.Ends[tcp.Client].Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, at.host}), 1)
		c.Anomaly(&r.Anomalies[0], r)
	}
	f := c.List()[0]
	if got := fmt.Sprint(f.FirstHosts(), f.Hosts, f.Conns(), f.Same); got != "[10.0.0.1 10.0.0.4 10.0.0.2] 5 [10 15 20 25 30 40 50 60] true" {
		t.Errorf("the first hosts, all, the connections and whether they say the same are %s", got)
	}
}

// Each anomaly is a Finding where that is asked for, and with All each over many
// connections; there is no bound then.
func TestEachAndAll(t *testing.T) {
	const n = MostFindings + 5
	for want, c := range map[int]*Counts{n + 2: {Each: true, All: true}, n + 3: {All: true}} {
		for i := range n {
			port := uint16(80)
			if !c.Each {
				port += uint16(i)
			}
			take(c, i+1, port, anomaly.Anomaly{Kind: "reset"})
		}
		scan := anomaly.Anomaly{Kind: "scan", Count: 500}
		for range want - n {
			c.Anomaly(&scan, nil)
		}
		if got := len(c.List()); got != want {
			t.Errorf("%d findings, want %d", got, want)
		}
	}
}

// Of each kind there is a Group: the gravest first, then what is over many
// connections, then the most frequent, whatever their Findings are.
func TestGroups(t *testing.T) {
	var c Counts
	for i := range 6 {
		take(&c, i+1, uint16(80+i), anomaly.Anomaly{Kind: "scattered"})
		if i < 4 {
			take(&c, i+1, 80, anomaly.Anomaly{Kind: "at one"})
		}
	}
	take(&c, 7, 80, anomaly.Anomaly{Kind: "at one", Severity: anomaly.Error})
	c.Anomaly(&anomaly.Anomaly{Kind: "flood", Count: 5}, nil)
	for range 3 {
		c.Anomaly(&anomaly.Anomaly{Kind: "scan", Count: 1}, nil)
	}
	var got []string
	for _, g := range c.Groups(2) {
		got = append(got, fmt.Sprintf("%v %s %d %d+%d", g.Severity, g.Kind, g.Count, len(g.List), len(g.More)))
	}
	const want = `error at one 1 1+0
info flood 1 1+0
info scan 3 1+0
info scattered 6 2+4
info at one 4 1+0`
	if got := strings.Join(got, "\n"); got != want {
		t.Errorf("groups are\n%s\nwant\n%s", got, want)
	}
	if all := c.Groups(0)[3]; len(all.List) != 6 || all.More != nil {
		t.Errorf("of all are shown %d", len(all.List))
	}
}

// Who counts on in a copy does not change what it was made of, nor does who changes
// what was counted.
func TestCopies(t *testing.T) {
	var c Counts
	r := odd(1, 80, anomaly.Anomaly{Kind: "reset", Evidence: []int{1}})
	for range 3 {
		c.Anomaly(&r.Anomalies[0], r)
	}
	before := told(&c)
	d := c.Clone()
	r.Anomalies[0].Evidence[0] = 7
	for i := range 3 {
		take(d, i+2, 80, anomaly.Anomaly{Kind: "reset", Time: -1})
	}
	if got := told(&c); got != before || !slices.Equal(c.List()[0].Last.Evidence, []int{1}) {
		t.Errorf("it was %s, and is %s", before, got)
	}
	var none *Counts
	none.Anomaly(&r.Anomalies[0], r)
	if none.List() != nil || none.Of(anomaly.Error) != 0 || len(none.Clone().List()) != 0 {
		t.Error("of nothing something was counted")
	}
}

// Where there is no room for all, there are as many as are usual from then on, and
// client hosts, of which not all would be counted, are not.
func TestFindingsKeepToMemory(t *testing.T) {
	const n = 4 * MostFindings
	for _, c := range []*Counts{{All: true, Memory: 2 * MostFindings * findingMemory}, {Each: true, All: true, Memory: 2 * MostFindings * findingMemory}, {All: true, Memory: 100 * hostMemory}} {
		for i := range n {
			port := uint16(i)
			if c.Memory < findingMemory*MostFindings {
				port = 80
			}
			r := odd(i+1, port, anomaly.Anomaly{Kind: "reset", Time: tcp.Time(i)})
			r.Ends[tcp.Client].Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1)
			c.Anomaly(&r.Anomalies[0], r)
		}
		list, sum := c.List(), 0
		for _, f := range list {
			if sum += f.Count; f.Hosts != 0 || len(f.seen) != 0 {
				t.Errorf("%d hosts are told of", f.Hosts)
			}
		}
		if len(list) > 2*MostFindings+5 || sum != n {
			t.Errorf("%d findings of %d anomalies, want at most %d of %d", len(list), sum, 2*MostFindings+5, n)
		}
	}
}
