package tracker_test

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// viewOf returns the ladder of the name in testdata/views.
func viewOf(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "views", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// inOrder returns the records in the order of their numbers.
func inOrder(list []*tracker.Record) []*tracker.Record {
	slices.SortFunc(list, func(a, b *tracker.Record) int { return cmp.Compare(a.Conn, b.Conn) })
	return list
}

// Which segments open another connection, and what then closed the one before:
// that is what took its addresses and ports, if it was open, as long as it does
// not go on.
func TestSuperseded(t *testing.T) {
	for _, row := range []struct {
		view     string
		closedBy []tcp.ClosedBy // of each connection
	}{
		{"one-way-syn-ack-anew", []tcp.ClosedBy{tcp.BySuperseded, tcp.NotClosed}},
		{"one-way-syn-anew", []tcp.ClosedBy{tcp.BySuperseded, tcp.NotClosed}},
		{"two-way-syn-ack-not-anew", []tcp.ClosedBy{tcp.NotClosed}},
		{"two-way-syn-not-anew", []tcp.ClosedBy{tcp.NotClosed}},
		{"syn-insists", []tcp.ClosedBy{tcp.BySuperseded, tcp.NotClosed}},
		{"syn-not-insisting", []tcp.ClosedBy{tcp.NotClosed}},
		{"syn-insists-in-vain", []tcp.ClosedBy{tcp.NotClosed, tcp.NotClosed}},
	} {
		var got []tcp.ClosedBy
		for _, r := range inOrder(recordsOf(t, viewOf(t, row.view))) {
			got = append(got, r.ClosedBy)
		}
		if !slices.Equal(got, row.closedBy) {
			t.Errorf("%s: closed by %q, want %q", row.view, got, row.closedBy)
		}
	}
}

// An end that insists on a new connection is not proved to have left the old one,
// and is not settled to have.
func TestInsistingIsAssumed(t *testing.T) {
	old := inOrder(recordsOf(t, viewOf(t, "syn-insists")))[0]
	if x := old.Ends[tcp.Client]; x.State != tcp.Closed || x.Certainty != tcp.Assumed {
		t.Errorf("the client is %v, %v in the old connection, want CLOSED, assumed", x.State, x.Certainty)
	}
	if x := old.Ends[tcp.Server]; x.State != tcp.Established {
		t.Errorf("the server is %v in the old connection, want ESTABLISHED", x.State)
	}
}

// A port listens from the SYN that it accepts on. A SYN+ACK alone shows no such
// thing, nor does an end that called itself.
func TestListener(t *testing.T) {
	for _, row := range []struct {
		ladder string
		want   bool
	}{
		{" 1. --> <SEQ=100><CTL=SYN> -->\n 2. <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <--\n", true},
		{" 1. --> <SEQ=100><CTL=SYN> -->\n 2. --> <SEQ=101><ACK=301><CTL=ACK> -->\n", true},
		{" 1. <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <--\n 2. <-- <SEQ=301><ACK=101><CTL=ACK><DATA=10> <--\n", true},
		{" 1. <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <--\n", false},
		{" 1. <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <--\n 2. --> <SEQ=101><CTL=RST> -->\n", false},
		{" 1. --> <SEQ=100><CTL=SYN> -->\n", false},
		{" 1. --> <SEQ=100><CTL=SYN> -->\n 2. <-- <SEQ=300><CTL=SYN> <--\n 3. <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <--\n", false},
	} {
		if got := recordsOf(t, "  0. (begin)\n"+row.ladder)[0].Ends[tcp.Server].Listener; got != row.want {
			t.Errorf("listens: %v, want %v, in\n%s", got, row.want, row.ladder)
		}
	}
}

// Attempts with another initial number each, of which none is answered, are told of
// once, in the first. One that is answered, or of another end, is none of them.
func TestAttemptsAreToldOnce(t *testing.T) {
	for _, row := range []struct {
		name, ladder string
		count        []int // of syn-timeout in each connection
		says         string
	}{
		{"three", ` 1. --> <SEQ=100><CTL=SYN> -->
 2. +1 --> <SEQ=100><CTL=SYN> -->
 3. +2 --> <SEQ=50000><CTL=SYN> -->
 4. +1 --> <SEQ=50000><CTL=SYN> -->
 5. +2 --> <SEQ=90000><CTL=SYN> -->
 6. +200 (all timers have run out)
`, []int{3, 0, 0}, "Nothing answered 5 SYNs, in 3 attempts"},
		{"answered between", ` 1. --> <SEQ=100><CTL=SYN> -->
 2. +1 --> <SEQ=100><CTL=SYN> -->
 3. +2 --> <SEQ=50000><CTL=SYN> -->
 4. <-- <SEQ=300><ACK=50001><CTL=SYN,ACK> <--
 5. --> <SEQ=50001><CTL=RST> -->
 6. +1 --> <SEQ=90000><CTL=SYN> -->
 7. +200 (all timers have run out)
`, []int{1, 0, 1}, "Nothing answered 2 SYNs from"},
	} {
		var count []int
		var text string
		for _, r := range inOrder(recordsOf(t, "  0. (begin)\n"+row.ladder)) {
			n := 0
			for _, a := range r.Anomalies {
				if a.Kind == "syn-timeout" {
					n += a.Count
					text = cmp.Or(text, a.Text)
				}
			}
			count = append(count, n)
		}
		if !slices.Equal(count, row.count) || !strings.HasPrefix(text, row.says) {
			t.Errorf("%s: told %v times in the connections, want %v, by %q", row.name, count, row.count, text)
		}
	}
}

// The count of connections on the same addresses and ports does not come round.
func TestIncarnationsAreCounted(t *testing.T) {
	const many = 1<<16 + 10
	newest := 0
	w := newWire(t)
	tk, err := tracker.New(tracker.Config{}, func(e *tracker.Event) {
		if e.Kind == tracker.EventOpen {
			if newest++; e.Incarnation != newest {
				t.Fatalf("connection %d is called incarnation %d", newest, e.Incarnation)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	w.tk = tk
	for i := range tcp.Seq(many) {
		w.put(clientOf(0), true, tcp.SYN, 100_000*i, 0, 0)
		w.put(clientOf(0), false, tcp.RST|tcp.ACK, 0, 100_000*i+1, 0)
		w.now = w.now.Add(time.Second)
	}
	if newest != many {
		t.Errorf("%d connections were opened, want %d", newest, many)
	}
}
