package table_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/report/internal/printtest"
	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/services"
	"github.com/tcpwatch/tcpwatch/report/table"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// snapshot returns a record.Snapshot of the sample's connections.
func snapshot() *record.Snapshot {
	s := &record.Snapshot{Time: sample.At(60_000), Summary: printtest.Whole()}
	records := sample.Records()
	for i := range records {
		s.Records = append(s.Records, &records[i])
	}
	return s
}

// A List has the rows that the table prints, in the same order.
func TestListIsTheTable(t *testing.T) {
	for _, o := range []record.Options{{}, {Sort: "-bytes"}, {Sort: "client.state"}, {Existing: true}, {Filter: record.Selection{States: []tcp.State{tcp.TimeWait}}}} {
		l, err := table.NewList(table.BothEnds, snapshot(), o, "")
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for line := range strings.Lines(string(printtest.Print(t, "table", o, printtest.Play))) {
			if fields := strings.Fields(line); len(fields) > 5 && strings.HasPrefix(fields[0], "tcp") {
				want = append(want, strings.Join(fields[:5], " "))
			}
		}
		var got []string
		for i := range l.Len() {
			got = append(got, strings.Join(l.Cells(i)[:5], " "))
		}
		if len(got) == 0 || !slices.Equal(got, want) {
			t.Errorf("%+v: got rows\n%s\nwant\n%s", o, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if _, err := table.NewList(table.BothEnds, snapshot(), record.Options{Sort: "colour"}, ""); err == nil {
		t.Error("a List is sorted by colour")
	}
}

// The sockets of a host, and those that listen, are those that the tables of
// --on and --listening print.
func TestListOfSockets(t *testing.T) {
	for _, test := range []struct {
		view table.View
		opts record.Options
	}{
		{table.OneHost, record.Options{On: netip.MustParseAddr("10.9.0.1")}},
		{table.OneHost, record.Options{On: netip.MustParseAddr("10.9.0.2")}},
		{table.Listeners, record.Options{Listening: true}},
	} {
		l, err := table.NewList(test.view, snapshot(), test.opts, "")
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Fields(string(printtest.Print(t, "table", test.opts, printtest.Play)))
		var got []string
		for i := range l.Len() {
			got = append(got, l.Cells(i)...)
		}
		if len(got) == 0 || len(text) < len(got) || !slices.Equal(got, text[len(text)-len(got):]) {
			t.Errorf("%v %v: got %q, the table is %q", test.view, test.opts.On, got, text)
		}
	}
}

func TestListOfWhatMatches(t *testing.T) {
	all, _ := table.NewList(table.BothEnds, snapshot(), record.Options{}, "")
	for i := range all.Len() {
		cells := all.Cells(i)
		some, _ := table.NewList(table.BothEnds, snapshot(), record.Options{}, strings.ToLower(cells[3])+" "+cells[1])
		if some.Find(all.Conn(i)) < 0 {
			t.Errorf("conn %d does not match its own addresses", all.Conn(i))
		}
	}
	if none, _ := table.NewList(table.BothEnds, snapshot(), record.Options{}, "10.9 nowhere"); none.Len() != 0 {
		t.Errorf("%d rows hold a word that no row has", none.Len())
	}
}

// Only the rows asked for are drawn, and columns grow but never shrink.
func TestDraw(t *testing.T) {
	l, _ := table.NewList(table.BothEnds, snapshot(), record.Options{}, "")
	lines, widths := l.Draw(0, 1, nil)
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "Proto  Client Address") {
		t.Errorf("drawn was %q", lines)
	}
	for i := range l.Len() {
		_, grown := l.Draw(i, i+1, widths)
		for j := range grown {
			if grown[j] < widths[j] {
				t.Errorf("row %d: column %d shrinks from %d to %d", i, j, widths[j], grown[j])
			}
		}
	}
	if lines, _ := l.Draw(0, 0, widths); len(lines) != 1 {
		t.Errorf("of no rows were drawn %q", lines)
	}
}

// Services are counted of the connections that are selected, over or not, and of
// those before.
func TestServiceLines(t *testing.T) {
	s := snapshot()
	s.Ended = ended()
	o := record.Options{NoHeader: true, Existing: true, Where: func(r *tracker.Record) bool { return r.Conn == 3 }}
	lines := strings.Join(table.ServiceLines(s, o), "\n")
	for _, want := range []string{"10.9.0.2:80  ", "  4  ", "10.9.0.2:81  ", "  3  "} {
		if !strings.Contains(lines, want) {
			t.Errorf("no %q in\n%s", want, lines)
		}
	}
	if s.Ended.Rows(services.ByServer)[0].Connections != 4 {
		t.Error("what was counted before has changed")
	}
	if got := table.ServiceLines(&record.Snapshot{}, record.Options{}); len(got) != 1 || got[0] != "No connections." {
		t.Errorf("of nothing: %q", got)
	}
}

// What kernels say has columns where it is known, and only there; what they say
// otherwise than the packets can be picked out.
func TestColumnsOfHosts(t *testing.T) {
	titles := func(s *record.Snapshot, o record.Options) (*table.List, string) {
		l, err := table.NewList(table.BothEnds, s, o, "")
		if err != nil {
			t.Fatal(err)
		}
		return l, strings.Join(l.Titles(), " ")
	}
	s := snapshot()
	if _, all := titles(s, record.Options{}); strings.Contains(all, "Process") || strings.Contains(all, "Kernel") {
		t.Errorf("columns without anything in them: %s", all)
	}
	r := s.Records[0]
	r.Ends[tcp.Client].Socket = &tcp.Socket{State: tcp.Established, Owner: tcp.Owner{PID: 812, Program: "my curl", Unit: "cron.service"}}
	r.Ends[tcp.Server].Socket = &tcp.Socket{State: tcp.CloseWait, Differs: true, Owner: tcp.Owner{Program: "nginx", Container: "0123456789ab", Pod: "shop/web"}}
	l, all := titles(s, record.Options{})
	if !strings.Contains(all, "Process Service Pod Kernel Anomalies") {
		t.Errorf("columns %s", all)
	}
	cells := strings.Join(l.Cells(l.Find(r.Conn)), " ")
	if want := `my\x20curl/812>nginx cron.service>0123456789ab >shop/web >CLOSE_WAIT`; !strings.Contains(cells, want) {
		t.Errorf("cells %s, want %s", cells, want)
	}
	if l, _ := titles(s, record.Options{Differing: true}); l.Len() != 1 || l.Conn(0) != r.Conn {
		t.Errorf("%d connections differ, want conn %d", l.Len(), r.Conn)
	}
	r.Ends[tcp.Client].State, r.Ends[tcp.Client].Socket.RecvQueue = tcp.Established, 77
	host := r.Ends[tcp.Client].Addr
	l, err := table.NewList(table.OneHost, s, record.Options{On: host.Addr()}, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(l.Cells(l.Find(r.Conn)), " "); !strings.HasPrefix(got, "tcp 77 0 "+host.String()) {
		t.Errorf("the socket of the host is %s", got)
	}
	s.Summary.Kernel = &record.Compared{Compared: 9, Differed: 1}
	if totals, _ := table.StatusLines(s, record.Options{}); !strings.Contains(totals, "1 difference from the kernel's states") {
		t.Errorf("totals %s", totals)
	}
}
