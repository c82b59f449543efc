package tracker_test

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"testing"

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
