package run

import (
	"context"
	"io"
	"net/netip"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/cmd/watch"
	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/findings"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/services"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
)

// A snapshots keeps what it is shown.
type snapshots struct {
	display
	list []*record.Snapshot
}

func (s *snapshots) Event(*tracker.Event) {}

func (s *snapshots) Refresh(snap *record.Snapshot) error {
	s.list = append(s.list, snap)
	return nil
}

// What is over while there is no room for it is counted at once.
func TestEndedConnectionsKeepToMemory(t *testing.T) {
	shown := new(snapshots)
	w, err := watch.Files([]string{"../../pcaps/refused.pcap"}, capture.Options{}, tracker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	p, err := report.New("summary", io.Discard, record.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := &Live{watch: w, printer: p, ended: new(services.Counts), found: new(findings.Counts), displays: []display{shown}}
	l.options.Memory = 1 << 20
	c := tracker.Config{MaxMemory: 1 << 20}
	if l.share(&c); c.MaxMemory == 0 || c.MaxMemory+l.options.Memory > 2<<20 || l.mostOver < 10 || l.mostOver > 1000 {
		t.Fatalf("2 MiB are shared as %d for connections, %d for reports, %d records of what is over", c.MaxMemory, l.options.Memory, l.mostOver)
	}
	const extra = 7
	for i := range l.mostOver + extra {
		r := &tracker.Record{Conn: i + 1}
		r.Ends[1].Addr = netip.MustParseAddrPort("192.0.2.1:80")
		if err := l.event(&tracker.Event{Kind: tracker.EventConnection, Conn: r.Conn, Record: r}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.show(); err != nil {
		t.Fatal(err)
	}
	s := shown.list[0]
	if ended := s.Ended.Rows(services.ByServer); len(s.Records) != l.mostOver || s.Over != l.mostOver || len(ended) != 1 || ended[0].Connections != extra {
		t.Errorf("%d records, %d of them over, and %v besides; want %d and %d", len(s.Records), s.Over, ended, l.mostOver, extra)
	}
}

// A connection that is over is counted in every snapshot once: with its record, and
// from the next one on in Ended. One that is not selected is not.
func TestEndedConnectionsAreCounted(t *testing.T) {
	w, err := watch.Files([]string{"../../pcaps/refused.pcap"}, capture.Options{}, tracker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var over []*tracker.Record
	if _, err := w.Run(context.Background(), watch.Sink{Event: func(e *tracker.Event) error {
		if e.Kind == tracker.EventConnection {
			over = append(over, e.Record.Clone())
		}
		return nil
	}}); err != nil || len(over) != 1 {
		t.Fatalf("%d connections, %v", len(over), err)
	}
	for want, selected := range map[int]bool{0: false, 1: true} {
		shown := new(snapshots)
		l := &Live{watch: w, over: over, ended: new(services.Counts), found: new(findings.Counts), displays: []display{shown}}
		l.options.Where = func(*tracker.Record) bool { return selected }
		for range 3 {
			if err := l.show(); err != nil {
				t.Fatal(err)
			}
		}
		for i, s := range shown.list {
			ended := 0
			for _, r := range s.Ended.Rows(services.ByServer) {
				ended += r.Connections
			}
			if expected := want * min(i, 1); ended != expected || len(s.Records) != 1-min(i, 1) {
				t.Errorf("selected %v: snapshot %d has %d records and counts %d that were over before, want %d", selected, i, len(s.Records), ended, expected)
			}
			if refused := s.Findings(&l.options).Of(anomaly.Warning); refused != want {
				t.Errorf("selected %v: snapshot %d has %d anomalies, want %d", selected, i, refused, want)
			}
		}
	}
}
