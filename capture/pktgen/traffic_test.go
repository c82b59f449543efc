package pktgen_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/crossflow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func TestTrafficIsTheSameAgain(t *testing.T) {
	for _, kind := range pktgen.TrafficKinds() {
		var written [3]bytes.Buffer
		for i, seed := range []uint64{1, 1, 2} {
			if _, err := (pktgen.Traffic{Kind: kind, Packets: 2000, Seed: seed}).Write(&written[i]); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(written[0].Bytes(), written[1].Bytes()) {
			t.Errorf("%s: one seed gives two captures", kind)
		}
		if bytes.Equal(written[0].Bytes(), written[2].Bytes()) {
			t.Errorf("%s: two seeds give one capture", kind)
		}
	}
}

// Traffic is TCP as it should be: whoever replays it finds every connection,
// open and closed as it was, and nothing to warn of but the flood that SYNs are.
func TestTrafficIsInOrder(t *testing.T) {
	const packets = 20_000
	for _, c := range []struct {
		kind  pktgen.TrafficKind
		conns int // 0: as many as it comes to
		alarm string
	}{
		{pktgen.LongFlows, 16, ""},
		{pktgen.ShortConnections, packets / 10, ""},
		{pktgen.SYNs, packets, "syn-flood"},
		{pktgen.FullPayloads, 16, ""},
		{pktgen.Mixed, 0, ""},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			got := replay(t, pktgen.Traffic{Kind: c.kind, Packets: packets, Seed: 1})
			if n := got.stats.Packets; n < packets*9/10 || n > packets*11/10 {
				t.Errorf("%d packets are captured, want about %d", n, packets)
			}
			if c.conns > 0 && got.conns != c.conns {
				t.Errorf("%d connections are found, want %d", got.conns, c.conns)
			}
			for kind, text := range got.alarms {
				if kind != c.alarm {
					t.Errorf("%s: %s", kind, text)
				}
			}
			if c.alarm != "" && got.alarms[c.alarm] == "" {
				t.Errorf("no %s is found", c.alarm)
			}
			if c.kind != pktgen.SYNs && got.closed != got.conns {
				t.Errorf("%d of %d connections are closed; the states are %v", got.closed, got.conns, got.states)
			}
			if s := got.stats; c.kind == pktgen.Mixed && (s.Segments == s.Packets || s.Undecodable == 0) {
				t.Errorf("there is nothing but TCP: %+v", s)
			}
			t.Logf("%d connections, states %v, anomalies %v", got.conns, got.states, got.kinds)
		})
	}
}

// A replayed is what tcpwatch makes of traffic.
type replayed struct {
	stats  capture.Stats
	conns  int
	closed int               // by FINs or a RST, and nothing left but TIME-WAIT
	states map[string]int    // of both ends
	alarms map[string]string // the first of each kind of warning and error
	kinds  map[string]int    // of all anomalies
}

func replay(t *testing.T, traffic pktgen.Traffic) replayed {
	path := filepath.Join(t.TempDir(), "traffic.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := traffic.Write(f); err != nil {
		t.Fatal(err)
	}
	src, err := capture.Open([]string{path}, capture.Options{VerifyChecksums: true})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	r := replayed{states: map[string]int{}, alarms: map[string]string{}, kinds: map[string]int{}}
	crowd := crossflow.New(r.event)
	tk, err := tracker.New(tracker.Config{}, crowd.Event)
	if err != nil {
		t.Fatal(err)
	}
	for s, err := range src.Segments() {
		if err != nil {
			t.Fatal(err)
		}
		if s.Sum == tcp.SumBad {
			t.Errorf("frame %d has a wrong checksum", s.Packet)
		}
		tk.Observe(s)
	}
	tk.Close()
	crowd.Close()
	r.stats = src.Stats()
	return r
}

func (r *replayed) event(e *tracker.Event) {
	switch e.Kind {
	case tracker.EventAnomaly:
		a := e.Anomaly
		r.kinds[a.Kind]++
		if a.Severity > anomaly.Notice && r.alarms[a.Kind] == "" {
			r.alarms[a.Kind] = fmt.Sprintf("%s (frames %v)", a.Text, a.Evidence)
		}
	case tracker.EventConnection:
		r.conns++
		over := e.Record.ClosedBy != tcp.NotClosed
		for _, end := range e.Record.Ends {
			r.states[end.State.String()]++
			over = over && (end.State == tcp.Closed || end.State == tcp.TimeWait)
		}
		if over {
			r.closed++
		}
	}
}
