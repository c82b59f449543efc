package tracker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// playOdd plays an anomaly's ladder and returns what it raised.
func playOdd(t *testing.T, name string) (list []anomaly.Anomaly) {
	text, err := os.ReadFile(filepath.Join("testdata", "anomaly", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := parseLadder(string(text))
	if err != nil {
		t.Fatal(err)
	}
	l.play(t, func(tk *tracker.Tracker, i int, odd []string) {
		if k, _ := flow.KeyOf(&tcp.Segment{Src: peerA, Dst: peerB}); i == len(l.rungs)-1 {
			for c := tk.Machine().NewestOf(k); c != nil; c = c.Older() {
				list = append(list, tk.Book().Of(c)...)
			}
		}
	})
	return list
}

func TestCausesAndEvidenceOfClosing(t *testing.T) {
	for _, want := range []struct {
		ladder, kind, cause string
		severity            anomaly.Severity
		certain             anomaly.Confidence
		end                 tcp.Endpoint
		evidence            []int
	}{
		{"fin-retransmitted", "fin-retransmitted", "ack-not-seen", anomaly.Notice, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 8}},
		{"fin-retransmitted-ack-lost", "fin-retransmitted", "ack-captured-then-lost", anomaly.Notice, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 8, 9}},
		{"fin-retransmitted-spurious", "fin-retransmitted", "spurious", anomaly.Notice, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 8, 9}},
		{"fin-retransmitted-both-arrived", "fin-retransmitted", "both-arrived", anomaly.Notice, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 8, 9, 10}},
		{"fin-retransmitted-d-sack-of-data", "fin-retransmitted", "ack-captured-then-lost", anomaly.Notice, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 8, 9}},
		{"fin-never-acked", "fin-never-acked", "", anomaly.Warning, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 8, 9, 10}},
		{"fin-never-acked-closing", "fin-never-acked", "", anomaly.Warning, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 10, 11}},
		{"last-ack-timeout", "last-ack-timeout", "no-ack", anomaly.Warning, anomaly.ConfidenceAssumed, tcp.Server, []int{7, 9, 10, 11}},
		{"last-ack-timeout-acks-lost", "last-ack-timeout", "acks-lost", anomaly.Warning, anomaly.ConfidenceAssumed, tcp.Server, []int{7, 9, 10, 11, 12, 13}},
		{"simultaneous-close", "simultaneous-close", "", anomaly.Info, anomaly.ConfidenceProved, tcp.Server, []int{7, 8}},
		{"data-after-fin", "data-after-fin", "data", anomaly.Warning, anomaly.ConfidenceProved, tcp.Client, []int{7, 8}},
		{"data-after-fin-second-fin", "data-after-fin", "second-fin", anomaly.Warning, anomaly.ConfidenceProved, tcp.Client, []int{8, 9}},
		{"rst-instead-of-ack", "rst-instead-of-ack", "time-wait-shortened", anomaly.Error, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 9, 10, 11, 12}},
		{"rst-instead-of-ack-expired", "rst-instead-of-ack", "time-wait-expired", anomaly.Error, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 9, 10, 11, 12}},
		{"rst-instead-of-ack-2msl", "rst-instead-of-ack", "time-wait-shortened", anomaly.Error, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 9, 10, 11, 12}},
		{"rst-instead-of-ack-forgotten", "rst-instead-of-ack", "fin-wait-2-expired", anomaly.Error, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 9, 10, 11}},
		{"late-fin-reset", "late-fin-reset", "timer-expired", anomaly.Warning, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 8, 9, 10}},
		{"late-fin-reset-early", "late-fin-reset", "closed-early", anomaly.Warning, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 8, 9, 10}},
		{"data-after-close-reset", "data-after-close-reset", "closed", anomaly.Warning, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 9, 10}},
		{"data-after-close-reset-expired", "data-after-close-reset", "timer-expired", anomaly.Warning, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 9, 10}},
		{"data-after-close-reset-crossing", "data-after-close-reset", "closed", anomaly.Warning, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 8, 10}},
		{"linger-zero-abort", "linger-zero-abort", "clean", anomaly.Notice, anomaly.ConfidenceAssumed, tcp.Client, []int{4, 5, 7}},
		{"linger-zero-abort-unacked", "linger-zero-abort", "unacked", anomaly.Warning, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 8}},
		{"linger-zero-abort-bare", "linger-zero-abort", "clean", anomaly.Notice, anomaly.ConfidenceAmbiguous, tcp.Client, []int{4, 5, 7}},
		{"close-with-unread-data", "close-with-unread-data", "window-stood-still", anomaly.Warning, anomaly.ConfidenceAmbiguous, tcp.Client, []int{10, 11, 12}},
		{"close-with-unread-data-window-zero", "close-with-unread-data", "window-zero", anomaly.Warning, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 8, 9}},
		{"abort-after-fin", "abort-after-fin", "gave-up", anomaly.Notice, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 9}},
		{"half-close-lingering", "half-close-lingering", "", anomaly.Info, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 8, 11, 12}},
		{"half-close-lingering-silent", "half-close-lingering", "", anomaly.Info, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 8}},
		{"close-wait-leak", "close-wait-leak", "", anomaly.Warning, anomaly.ConfidenceProved, tcp.Server, []int{7, 8}},
		{"fin-wait-2-stuck", "fin-wait-2-stuck", "", anomaly.Warning, anomaly.ConfidenceAssumed, tcp.Client, []int{7, 8}},
		{"no-close-seen", "no-close-seen", "", anomaly.Notice, anomaly.ConfidenceAssumed, tcp.Client, []int{5, 6}},
	} {
		list := playOdd(t, want.ladder)
		i := slices.IndexFunc(list, func(a anomaly.Anomaly) bool { return a.Kind == want.kind })
		if i < 0 {
			t.Errorf("%s: no %s is flagged", want.ladder, want.kind)
			continue
		}
		got := list[i]
		if got.Cause != want.cause || got.Severity != want.severity || got.Confidence != want.certain || got.End != want.end || !slices.Equal(got.Evidence, want.evidence) {
			t.Errorf("%s: %s is %q, %v, %v, of the %v, by frames %v, want %q, %v, %v, of the %v, by frames %v", want.ladder, want.kind,
				got.Cause, got.Severity, got.Confidence, got.End, got.Evidence, want.cause, want.severity, want.certain, want.end, want.evidence)
		}
		if testing.Verbose() {
			t.Logf("%s: %s", want.ladder, got.Text)
		}
	}
}

// A server that never closes is told of once for each connection, as soon as
// it has lasted long enough, and gravely from the tenth on.
func TestLeaksOfOneServerAreCounted(t *testing.T) {
	const leaksOfServer = 10 // that make it an error
	var got []anomaly.Anomaly
	w := newWire(t)
	w.tk.SetEmit(func(e *tracker.Event) {
		if e.Kind == tracker.EventAnomaly && e.Anomaly.Kind == "close-wait-leak" {
			got = append(got, *e.Anomaly)
		}
		if e.Kind == tracker.EventConnection {
			for _, a := range e.Record.Anomalies {
				if a.Count != 1 {
					t.Errorf("connection %d: %s is counted %d times, want once", e.Conn, a.Kind, a.Count)
				}
			}
		}
	})
	for i := range leaksOfServer + 2 {
		client := clientOf(i)
		w.open(client)
		w.put(client, true, tcp.FIN|tcp.ACK, 1, 1_000_001, 0)
		w.put(client, false, tcp.ACK, 1_000_001, 2, 0)
	}
	w.tk.Advance(w.now.Add(conn.DefaultLeakAfter - time.Second))
	if len(got) != 0 {
		t.Errorf("after %v, %d connections are leaked, want none", conn.DefaultLeakAfter-time.Second, len(got))
	}
	w.tk.Advance(w.now.Add(time.Hour))
	w.tk.Close()
	if len(got) != leaksOfServer+2 {
		t.Fatalf("%d connections are leaked, want %d", len(got), leaksOfServer+2)
	}
	for i, a := range got {
		want := anomaly.Warning
		if i+1 >= leaksOfServer {
			want = anomaly.Error
		}
		if a.Severity != want {
			t.Errorf("leak number %d is %v, want %v", i+1, a.Severity, want)
		}
		if late := a.Time.Sub(w.now); late > conn.DefaultLeakAfter {
			t.Errorf("leak number %d is told %v after the last segment, want %v", i+1, late, conn.DefaultLeakAfter)
		}
	}
	if testing.Verbose() {
		fmt.Println(got[leaksOfServer].Text)
	}
}

// That the timer of an orphaned FIN-WAIT-2 ran is never settled: the socket may be
// held, and who answers in its name may be a balancer that has forgotten it.
func TestFinWait2MayBeHeld(t *testing.T) {
	for _, ladder := range []string{"fin-wait-2-stuck", "late-fin-reset", "data-after-close-reset-expired"} {
		r := recordsOf(t, ladderOf(t, ladder))[0].Ends[tcp.Client]
		if want := tcp.FinWait2.Set() | tcp.Closed.Set(); r.State != tcp.Closed || r.Certainty != tcp.Assumed || r.Possible != want {
			t.Errorf("%s: client is %v, %v, %v, want CLOSED, assumed, %v", ladder, r.State, r.Certainty, r.Possible.List(), want.List())
		}
	}
}

// Who closed is told by what is left of the RSTs once later segments have denied
// some: nobody, what lies between the ends, or the end whose own RST stands.
func TestDeniedResetsCloseNothing(t *testing.T) {
	for _, test := range []struct {
		ladder string
		want   tcp.ClosedBy
	}{
		{"rst-not-taken-as-later-data-is-acknowledged", tcp.NotClosed},
		{"rst-in-name-of-one-that-lives", tcp.ByMiddlebox},
		{"rst-by-a-device", tcp.ByMiddlebox},
		{"rst-not-by-a-device", tcp.ByServerReset},
		{"rst-then-older-ack", tcp.ByClientReset},
	} {
		if got := recordsOf(t, ladderOf(t, "../views/"+test.ladder))[0].ClosedBy; got != test.want {
			t.Errorf("%s: closed by %q, want %q", test.ladder, got, test.want)
		}
	}
}

// An end in whose name something between the ends sent a RST keeps its state, and
// is not known to be in it.
func TestEndThatADeviceSpokeForIsAssumed(t *testing.T) {
	r := recordsOf(t, ladderOf(t, "../views/rst-by-a-device"))[0].Ends[tcp.Server]
	if want := tcp.Established.Set() | tcp.Closed.Set(); r.State != tcp.Established || r.Certainty != tcp.Assumed || r.Possible != want {
		t.Errorf("server is %v, %v, %v, want ESTABLISHED, assumed, %v", r.State, r.Certainty, r.Possible.List(), want.List())
	}
}
