package tracker_test

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/crossflow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// crowded plays the ladder of the given text and returns what was found over many connections.
func crowded(t *testing.T, text string) (found []*anomaly.Anomaly) {
	t.Helper()
	l, err := parseLadder(text)
	if err != nil {
		t.Fatal(err)
	}
	l.run(t, func(e *tracker.Event) {
		if e.Kind == tracker.EventAnomaly && e.Conn == 0 {
			found = append(found, e.Anomaly)
		}
	}, func(*tracker.Tracker, int, int) {})
	return found
}

// ladderOf reads a ladder of testdata/anomaly.
func ladderOf(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/anomaly/" + name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestCrossflowTellsWhoAndHowMany(t *testing.T) {
	a, b := peerA.Addr(), peerB.Addr()
	for _, tt := range []struct {
		ladder  string
		cause   string
		addr    netip.Addr
		port    uint16
		count   int
		certain anomaly.Confidence
		says    string
	}{
		{"port-scan", "syn", a, 0, 20, anomaly.ConfidenceAssumed, "probed 20 ports on 1 host (syn scan): 0 open, 20 refused, 0 silent"},
		{"port-scan-half-open", "syn", a, 0, 20, anomaly.ConfidenceAssumed, "20 open, 0 refused, 0 silent"},
		{"port-scan-connect", "connect", a, 0, 20, anomaly.ConfidenceAssumed, "(connect scan): 20 open"},
		{"port-scan-hosts", "syn", a, 0, 20, anomaly.ConfidenceAssumed, "probed 1 port on 20 hosts"},
		{"port-scan-ack", "ack", a, 0, 20, anomaly.ConfidenceAmbiguous, "20 refused"},
		{"port-scan-null", "null", a, 0, 20, anomaly.ConfidenceAssumed, "20 refused"},
		{"syn-flood", "", b, 80, 300, anomaly.ConfidenceAssumed, "300 SYNs in 897 ms to 198.51.100.1:80; 100 %"},
		{"backscatter", "", b, 0, 30, anomaly.ConfidenceAmbiguous, "30 answers"},
		{"server-time-wait-accumulation", "", b, 80, 60, anomaly.ConfidenceAssumed, "60 connections of 198.51.100.1:80"},
		{"ephemeral-port-exhaustion", "", a, 0, 13200, anomaly.ConfidenceAssumed, "uses 13200 of about 16384 ports toward 198.51.100.1:80"},
	} {
		found := crowded(t, ladderOf(t, tt.ladder))
		if len(found) != 1 {
			t.Errorf("%s: %d findings, want one", tt.ladder, len(found))
			continue
		}
		const samples = 5 // connections that are named
		f := found[0]
		if f.Addr != tt.addr || f.Port != tt.port || f.Count != tt.count || f.Cause != tt.cause || f.Confidence != tt.certain || !strings.Contains(f.Text, tt.says) {
			t.Errorf("%s: got %v port %d, count %d, cause %q, %v: %s\nwant %v port %d, count %d, cause %q, %v: %s", tt.ladder,
				f.Addr, f.Port, f.Count, f.Cause, f.Confidence, f.Text, tt.addr, tt.port, tt.count, tt.cause, tt.certain, tt.says)
		}
		if len(f.Samples) != samples || !slices.IsSorted(f.Samples) || f.Samples[0] < 1 || len(f.Evidence) != samples {
			t.Errorf("%s: samples are %v, frames %v", tt.ladder, f.Samples, f.Evidence)
		}
		if f.Packet == 0 || f.Time == 0 || f.Until < f.Time || f.Conn != 0 {
			t.Errorf("%s: conn %d, frame %d, from %d until %d", tt.ladder, f.Conn, f.Packet, f.Time, f.Until)
		}
	}
}

// A server that closes first is ordinary, until what it keeps is a burden.
func TestTimeWaitsOfAServer(t *testing.T) {
	ladder := ladderOf(t, "server-time-wait-accumulation")
	for _, tt := range []struct {
		times string
		want  []anomaly.Severity
	}{
		{"49", nil},
		{"50", []anomaly.Severity{anomaly.Notice}},
		{"4095", []anomaly.Severity{anomaly.Notice}},
		{"4096", []anomaly.Severity{anomaly.Notice, anomaly.Warning}},
	} {
		var got []anomaly.Severity
		for _, a := range crowded(t, strings.Replace(ladder, "repeat: 60 clients +0.01", "repeat: "+tt.times+" clients +0.001", 1)) {
			got = append(got, a.Severity)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s connections at once are %v, want %v", tt.times, got, tt.want)
		}
	}
}

func TestScanThatGoesOnIsToldOnce(t *testing.T) {
	scan := "repeat: 600 server-ports +0.2\n 1. --> <SEQ=100><CTL=SYN> -->\n 2. <-- <SEQ=0><ACK=101><CTL=RST,ACK> <--\n"
	if found := crowded(t, scan); len(found) != 1 {
		t.Errorf("a scan of two minutes gives %d findings, want one", len(found))
	}
}

func TestFloodThatPausesIsToldAgain(t *testing.T) {
	var found []string
	c := crossflow.New(func(e *tracker.Event) {
		if e.Kind == tracker.EventAnomaly {
			found = append(found, e.Anomaly.Kind)
		}
	})
	now, conn := tcp.Time(1_000_000*tcp.Second), 0
	flood := func(n int) {
		for range n {
			conn++
			now = now.Add(time.Millisecond)
			c.Event(&tracker.Event{Kind: tracker.EventOpen, Time: now, Conn: conn, Packet: conn, Client: clientOf(conn), Server: peerB, Incarnation: 1, Flags: tcp.SYN})
		}
	}
	for _, pause := range []time.Duration{0, time.Minute} {
		now = now.Add(pause)
		flood(5000)
	}
	c.Close()
	if want := []string{"syn-flood", "syn-flood"}; !slices.Equal(found, want) {
		t.Errorf("found %v, want %v", found, want)
	}
}

// A flood from one address and port is a client that is stuck.
func TestFloodNeedsManySources(t *testing.T) {
	c := crossflow.New(func(e *tracker.Event) {
		if e.Kind == tracker.EventAnomaly {
			t.Errorf("found %s", e.Anomaly.Text)
		}
	})
	for i := range 1000 {
		c.Event(&tracker.Event{Kind: tracker.EventOpen, Time: tcp.Time(1_000_000*tcp.Second) + tcp.Time(i)*1e6, Conn: i + 1, Client: peerA, Server: peerB, Incarnation: i + 1, Flags: tcp.SYN})
	}
	c.Close()
}

func TestCrossflowPassesEventsOn(t *testing.T) {
	var kinds []tracker.EventKind
	c := crossflow.New(func(e *tracker.Event) { kinds = append(kinds, e.Kind) })
	tk, err := tracker.New(tracker.Config{}, c.Event)
	if err != nil {
		t.Fatal(err)
	}
	tk.Observe(&tcp.Segment{Time: tcp.Second, Packet: 1, Src: peerA, Dst: peerB, Flags: tcp.SYN, Seq: 1, TTL: 64})
	tk.Close()
	c.Close()
	if want := []tracker.EventKind{tracker.EventOpen, tracker.EventTransition, tracker.EventTransition, tracker.EventConnection}; !slices.Equal(kinds, want) {
		t.Errorf("events %v, want %v", kinds, want)
	}
}

// What is counted up is counted down again, however a connection ends.
func TestCrossflowForgetsWhatIsOver(t *testing.T) {
	for _, file := range []string{"server-time-wait-accumulation", "ephemeral-port-exhaustion-not-many", "syn-flood", "port-scan-connect"} {
		l, err := parseLadder(ladderOf(t, file))
		if err != nil {
			t.Fatal(err)
		}
		detector := crossflow.New(func(*tracker.Event) {})
		l.run(t, detector.Event, func(tk *tracker.Tracker, n, i int) {
			if n == l.times-1 && i == len(l.rungs)-1 {
				tk.Advance(tk.Now().Add(time.Hour))
				tk.Close()
				detector.Close()
			}
		})
		if listeners, clients := detector.Counted(); listeners > 0 || clients > 0 {
			t.Errorf("%s: %d listeners and %d clients are still counted", file, listeners, clients)
		}
	}
}
