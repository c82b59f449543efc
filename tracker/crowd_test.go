package tracker

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// crowded plays the ladder of the given text and returns what the Crowd found.
func crowded(t *testing.T, text string) (found []*Anomaly) {
	t.Helper()
	l, err := parseLadder(text)
	if err != nil {
		t.Fatal(err)
	}
	l.run(t, func(e *Event) {
		if e.Kind == EventAnomaly && e.Conn == 0 {
			found = append(found, e.Anomaly)
		}
	}, func(*Tracker, int, int) {})
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

func TestCrowdTellsWhoAndHowMany(t *testing.T) {
	a, b := peerA.Addr(), peerB.Addr()
	for _, tt := range []struct {
		ladder  string
		cause   string
		addr    netip.Addr
		port    uint16
		count   int
		certain Confidence
		says    string
	}{
		{"port-scan", "syn", a, 0, 20, ConfidenceAssumed, "probed 20 ports on 1 host (syn scan): 0 open, 20 refused, 0 silent"},
		{"port-scan-half-open", "syn", a, 0, 20, ConfidenceAssumed, "20 open, 0 refused, 0 silent"},
		{"port-scan-connect", "connect", a, 0, 20, ConfidenceAssumed, "(connect scan): 20 open"},
		{"port-scan-hosts", "syn", a, 0, 20, ConfidenceAssumed, "probed 1 port on 20 hosts"},
		{"port-scan-ack", "ack", a, 0, 20, ConfidenceAmbiguous, "20 refused"},
		{"port-scan-null", "null", a, 0, 20, ConfidenceAssumed, "20 refused"},
		{"syn-flood", "", b, 80, 300, ConfidenceAssumed, "300 SYNs in 897 ms to 198.51.100.1:80, 100 %"},
		{"backscatter", "", b, 0, 30, ConfidenceAmbiguous, "30 answers"},
		{"server-time-wait-accumulation", "", b, 80, 60, ConfidenceAssumed, "60 connections of 198.51.100.1:80"},
		{"ephemeral-port-exhaustion", "", a, 0, 13200, ConfidenceAssumed, "uses 13200 of about 16384 ports toward 198.51.100.1:80"},
	} {
		found := crowded(t, ladderOf(t, tt.ladder))
		if len(found) != 1 {
			t.Errorf("%s: %d findings, want one", tt.ladder, len(found))
			continue
		}
		f := found[0]
		if f.Addr != tt.addr || f.Port != tt.port || f.Count != tt.count || f.Cause != tt.cause || f.Confidence != tt.certain || !strings.Contains(f.Text, tt.says) {
			t.Errorf("%s: got %v port %d, count %d, cause %q, %v: %s\nwant %v port %d, count %d, cause %q, %v: %s", tt.ladder,
				f.Addr, f.Port, f.Count, f.Cause, f.Confidence, f.Text, tt.addr, tt.port, tt.count, tt.cause, tt.certain, tt.says)
		}
		if len(f.Samples) != maxSamples || !slices.IsSorted(f.Samples) || f.Samples[0] < 1 || len(f.Evidence) != maxSamples {
			t.Errorf("%s: samples are %v, frames %v", tt.ladder, f.Samples, f.Evidence)
		}
		if f.Packet == 0 || f.Time == 0 || f.Until < f.Time || f.Conn != 0 {
			t.Errorf("%s: conn %d, frame %d, from %d until %d", tt.ladder, f.Conn, f.Packet, f.Time, f.Until)
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
	c := NewCrowd(func(e *Event) {
		if e.Kind == EventAnomaly {
			found = append(found, e.Anomaly.Kind)
		}
	})
	now, conn := tcp.Time(1_000_000*second), 0
	flood := func(n int) {
		for range n {
			conn++
			now = now.Add(time.Millisecond)
			c.Event(&Event{Kind: EventOpen, Time: now, Conn: conn, Packet: conn, Client: clientOf(conn), Server: peerB, Incarnation: 1, Flags: tcp.SYN})
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
	c := NewCrowd(func(e *Event) {
		if e.Kind == EventAnomaly {
			t.Errorf("found %s", e.Anomaly.Text)
		}
	})
	for i := range 1000 {
		c.Event(&Event{Kind: EventOpen, Time: tcp.Time(1_000_000*second) + tcp.Time(i)*1e6, Conn: i + 1, Client: peerA, Server: peerB, Incarnation: i + 1, Flags: tcp.SYN})
	}
	c.Close()
}

func TestCrowdPassesEventsOn(t *testing.T) {
	var kinds []EventKind
	c := NewCrowd(func(e *Event) { kinds = append(kinds, e.Kind) })
	tk, err := New(Config{}, c.Event)
	if err != nil {
		t.Fatal(err)
	}
	tk.Observe(&tcp.Segment{Time: second, Packet: 1, Src: peerA, Dst: peerB, Flags: tcp.SYN, Seq: 1, TTL: 64})
	tk.Close()
	c.Close()
	if want := []EventKind{EventOpen, EventTransition, EventTransition, EventConnection}; !slices.Equal(kinds, want) {
		t.Errorf("events %v, want %v", kinds, want)
	}
}

// What is counted up is counted down again, however a connection ends.
func TestCrowdForgetsWhatIsOver(t *testing.T) {
	for _, file := range []string{"server-time-wait-accumulation", "ephemeral-port-exhaustion-not-many", "syn-flood", "port-scan-connect"} {
		l, err := parseLadder(ladderOf(t, file))
		if err != nil {
			t.Fatal(err)
		}
		crowd := NewCrowd(func(*Event) {})
		l.run(t, crowd.Event, func(tk *Tracker, n, i int) {
			if n == l.times-1 && i == len(l.rungs)-1 {
				tk.Advance(tk.Now().Add(time.Hour))
				tk.Close()
				crowd.Close()
			}
		})
		if crowd.waits.N > 0 || crowd.ports.N > 0 {
			t.Errorf("%s: %d listeners and %d clients are still counted", file, crowd.waits.N, crowd.ports.N)
		}
	}
}

func TestCrowdIsBounded(t *testing.T) {
	c := NewCrowd(func(*Event) {})
	for i := range 3 * maxRoutes {
		a, b := clientOf(i*60_001), clientOf(i) // a new address each time
		now := tcp.Time(1_000_000*second) + tcp.Time(i)
		c.Event(&Event{Kind: EventOpen, Time: now, Conn: i + 1, Client: a, Server: b, Incarnation: 1, Flags: tcp.SYN})
		c.Event(&Event{Kind: EventTransition, Time: now, Conn: i + 1, Client: a, Server: b, End: tcp.Client, From: tcp.Closed, To: tcp.SynSent})
		c.Event(&Event{Kind: EventTransition, Time: now, Conn: i + 1, Client: a, Server: b, End: tcp.Server, From: tcp.FinWait2, To: tcp.TimeWait})
	}
	for _, tt := range []struct {
		what      string
		got, most int
	}{
		{"scans", c.scans.N, maxHosts},
		{"floods", c.floods.N, maxHosts},
		{"listeners in TIME-WAIT", c.waits.N, maxRoutes},
		{"routes", c.ports.N, maxRoutes},
		{"targets", c.targets, maxTargets},
	} {
		if tt.got != tt.most && (tt.what != "targets" || tt.got != maxHosts) {
			t.Errorf("%d %s are kept, want %d", tt.got, tt.what, tt.most)
		}
	}
	// One source with very many targets.
	for i := range 3 * maxTries {
		c.Event(&Event{Kind: EventOpen, Time: c.now, Conn: 1, Client: peerA, Server: clientOf(i), Incarnation: 1, Flags: tcp.SYN})
	}
	if s := c.scans.find(hostOf(peerA.Addr())); len(s.tries) > maxTries+1 || s.index.N != len(s.tries) {
		t.Errorf("%d tries and %d targets are kept of one source, want %d", len(s.tries), s.index.N, maxTries)
	}
}
