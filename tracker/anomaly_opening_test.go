package tracker_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// anomaliesOf returns what is flagged in the ladder, its end included.
func anomaliesOf(t *testing.T, text string) (list []anomaly.Anomaly) {
	for _, r := range recordsOf(t, text) {
		list = append(list, r.Anomalies...)
	}
	return list
}

// recordsOf plays the ladder, closes the tracker, and returns the records.
func recordsOf(t *testing.T, text string) (list []*tracker.Record) {
	l, err := parseLadder(text)
	if err != nil {
		t.Fatal(err)
	}
	tk, err := tracker.New(l.config, func(e *tracker.Event) {
		if e.Kind == tracker.EventConnection {
			list = append(list, e.Record.Clone())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	now := tcp.Time(1_000_000 * tcp.Second)
	for i, r := range l.rungs {
		now = now.Add(r.pause)
		if s := r.segment; s != nil {
			s.Time, s.Packet, s.Src, s.Dst = now, i, peerA, peerB
			if !r.fromA {
				s.Src, s.Dst = peerB, peerA
			}
			tk.Observe(s)
		}
		tk.Advance(now)
	}
	tk.Close()
	return list
}

// The causes of a kind are told apart, and the frames cited that show it. The
// first rung of a ladder is no frame: rung 2 is frame 1.
func TestCausesOfOpening(t *testing.T) {
	for _, c := range []struct {
		ladder, kind, cause string
		end                 tcp.Endpoint
		evidence            []int
	}{
		{"connection-refused", "connection-refused", "", tcp.Client, []int{1, 2}},
		{"syn-retransmitted", "syn-retransmitted", "no-answer", tcp.Client, []int{1, 2}},
		{"syn-retransmitted-answered", "syn-retransmitted", "answer-not-received", tcp.Client, []int{1, 2, 3}},
		{"syn-retransmitted-refused-answer", "syn-retransmitted", "answer-refused", tcp.Client, []int{1, 2, 4}},
		{"connection-refused-answered-before", "connection-refused", "answered-before", tcp.Client, []int{1, 3}},
		{"syn-timeout", "syn-timeout", "", tcp.Client, []int{1, 2}},
		{"syn-ack-retransmitted", "syn-ack-retransmitted", "no-ack", tcp.Server, []int{2, 3}},
		{"syn-ack-retransmitted-behind-tap", "syn-ack-retransmitted", "ack-not-received", tcp.Server, []int{2, 3, 4}},
		{"syn-ack-retransmitted-duplicate-syn", "syn-ack-retransmitted", "duplicate-syn", tcp.Server, []int{1, 2, 3, 4}},
		{"syn-rcvd-stuck", "syn-rcvd-stuck", "", tcp.Server, []int{1, 2, 3, 4}},
		{"syn-ack-retransmitted-deferred", "syn-ack-retransmitted", "deferred", tcp.Server, []int{1, 2, 3}},
		{"handshake-not-completed-silent", "handshake-not-completed", "gave-up-silently", tcp.Server, []int{1, 2, 3, 4, 5, 6, 7}},
		{"accept-stalled", "accept-stalled", "ack-ignored", tcp.Server, []int{2, 3, 4, 5, 6}},
		{"accept-stalled-data", "accept-stalled", "data-ignored", tcp.Server, []int{2, 3, 4, 5, 6, 7}},
		{"syn-rcvd-reset", "syn-rcvd-reset", "no-connection", tcp.Client, []int{1, 2, 3}},
		{"syn-rcvd-reset-aborted", "syn-rcvd-reset", "aborted", tcp.Client, []int{1, 2, 3}},
		{"simultaneous-open", "simultaneous-open", "", tcp.Client, []int{1, 2, 3, 4}},
		{"split-handshake", "split-handshake", "", tcp.Server, []int{1, 2, 3, 4}},
		{"old-duplicate-syn", "old-duplicate-syn", "real-syn-follows", tcp.Client, []int{1, 2, 3, 4}},
		{"old-duplicate-syn-at-a", "old-duplicate-syn", "real-syn-sent", tcp.Client, []int{1, 2, 3}},
		{"old-duplicate-syn-overtaken", "old-duplicate-syn", "real-syn-sent", tcp.Client, []int{1, 2, 3, 4}},
		{"old-duplicate-syn-earlier-connection", "old-duplicate-syn", "earlier-connection", tcp.Client, []int{5, 6, 7}},
		{"bad-syn-ack", "bad-syn-ack", "ignored", tcp.Server, []int{1, 2, 3}},
		{"bad-syn-ack-completed", "bad-syn-ack", "completed", tcp.Server, []int{1, 2, 3}},
		{"tfo-syn-data", "tfo-syn-data", "accepted", tcp.Client, []int{1, 2}},
		{"tfo-syn-data-ignored", "tfo-syn-data", "ignored", tcp.Client, []int{1, 2}},
		{"tfo-syn-data-dropped", "tfo-syn-data", "sent-without", tcp.Client, []int{1, 2}},
		{"bad-syn-ack-not-fast-open", "tfo-syn-data", "partial", tcp.Client, []int{1, 2}},
		{"unsolicited-syn-ack", "unsolicited-syn-ack", "rejected", tcp.Server, []int{3, 4}},
		{"handshake-fin", "handshake-fin", "instead-of-ack", tcp.Client, []int{2, 3}},
		{"handshake-fin-of-server", "handshake-fin", "in-syn-rcvd", tcp.Server, []int{2, 3}},
	} {
		text, err := os.ReadFile("testdata/anomaly/" + c.ladder + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		list := anomaliesOf(t, string(text))
		i := slices.IndexFunc(list, func(a anomaly.Anomaly) bool { return a.Kind == c.kind })
		if i < 0 {
			t.Errorf("%s: %s is not flagged", c.ladder, c.kind)
			continue
		}
		if a := list[i]; a.Cause != c.cause || a.End != c.end || !slices.Equal(a.Evidence, c.evidence) {
			t.Errorf("%s: %s of the %v, cause %q, frames %v; want the %v, %q, %v", c.ladder, c.kind, a.End, a.Cause, a.Evidence, c.end, c.cause, c.evidence)
		}
	}
}

// Some are found only when the capture is over.
func TestAnomaliesOfOpeningAtTheEnd(t *testing.T) {
	for _, c := range []struct {
		claim, kind string
		found       bool
		ladder      string
	}{
		{"three SYNs without an answer are a failed attempt", "syn-timeout", true, `
  1.
  2.      --> <SEQ=100><CTL=SYN> -->
  3. +1   --> <SEQ=100><CTL=SYN> -->
  4. +2   --> <SEQ=100><CTL=SYN> -->`},
		{"two SYNs may still be answered", "syn-timeout", false, `
  1.
  2.      --> <SEQ=100><CTL=SYN> -->
  3. +1   --> <SEQ=100><CTL=SYN> -->`},
		{"an end whose peer is not captured may have connected", "syn-timeout", false, `
  1.
  2.      --> <SEQ=100><CTL=SYN> -->
  3. +1   --> <SEQ=100><CTL=SYN> -->
  4. +2   --> <SEQ=100><CTL=SYN> -->
  5.      --> <SEQ=101><ACK=301><CTL=ACK> -->`},
		{"a SYN+ACK that nothing answers was not asked for", "unsolicited-syn-ack", true, `
  1.
  2.      --> <SEQ=100><CTL=SYN> -->
  3.      <-- <SEQ=0><ACK=101><CTL=RST,ACK> <--
  4. +20  <-- <SEQ=300><ACK=7001><CTL=SYN,ACK> <--
  5. +3   <-- <SEQ=300><ACK=7001><CTL=SYN,ACK> <--`},
		{"a server that goes on has a client that is not captured", "unsolicited-syn-ack", false, `
  1.
  2.      --> <SEQ=100><CTL=SYN> -->
  3.      <-- <SEQ=0><ACK=101><CTL=RST,ACK> <--
  4. +20  <-- <SEQ=300><ACK=7001><CTL=SYN,ACK> <--
  5. +3   <-- <SEQ=301><ACK=7101><CTL=ACK><DATA=10> <--`},
		{"a wrong answer that the client lets stand is odd", "bad-syn-ack", true, `
  1.
  2.      --> <SEQ=100><CTL=SYN> -->
  3.      <-- <SEQ=300><ACK=777><CTL=SYN,ACK> <--
  4. +2   <-- <SEQ=300><ACK=777><CTL=SYN,ACK> <--
  5. +2   <-- <SEQ=300><ACK=777><CTL=SYN,ACK> <--
  6. +150 CLOSED   CLOSED`},
		{"the client may yet reject a wrong answer", "bad-syn-ack", false, `
  1.
  2.      --> <SEQ=100><CTL=SYN> -->
  3.      <-- <SEQ=300><ACK=777><CTL=SYN,ACK> <--`},
	} {
		list := anomaliesOf(t, strings.Replace(c.ladder[1:], "  1.", "  1. CLOSED  CLOSED", 1))
		found := slices.ContainsFunc(list, func(a anomaly.Anomaly) bool { return a.Kind == c.kind })
		if found != c.found {
			t.Errorf("%s: %s is flagged: %v, want %v", c.claim, c.kind, found, c.found)
		}
	}
}

// The SYN+ACK of a simultaneous open has the number of the SYN before it, and
// is no retransmission.
func TestSimultaneousOpenRetransmitsNothing(t *testing.T) {
	text, err := os.ReadFile("testdata/anomaly/simultaneous-open.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recordsOf(t, string(text)) {
		for e, end := range r.Ends {
			if end.Retransmits != 0 {
				t.Errorf("%v retransmitted %d segments, want 0", tcp.Endpoint(e), end.Retransmits)
			}
		}
	}
}

// An RTT is measured only where no SYN was repeated (RFC 6298 §3).
func TestHandshakeRTTNeedsOneSYN(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       time.Duration
	}{
		{"once", `
1.      CLOSED      --> <SEQ=100><CTL=SYN>              --> LISTEN
2. +0.1 ESTABLISHED <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <-- SYN-RECEIVED
3. +0.2 ESTABLISHED --> <SEQ=101><ACK=301><CTL=ACK>     --> ESTABLISHED
`, 300 * time.Millisecond},
		{"SYN repeated", `
1.      CLOSED      --> <SEQ=100><CTL=SYN>              --> LISTEN
2. +1   SYN-SENT    --> <SEQ=100><CTL=SYN>              --> LISTEN
3.      ESTABLISHED <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <-- SYN-RECEIVED
4.      ESTABLISHED --> <SEQ=101><ACK=301><CTL=ACK>     --> ESTABLISHED
`, 0},
		{"SYN+ACK repeated", `
1.      CLOSED      --> <SEQ=100><CTL=SYN>              --> LISTEN
2.      ESTABLISHED <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <-- SYN-RECEIVED
3. +1   ESTABLISHED <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <-- SYN-RECEIVED
4.      ESTABLISHED --> <SEQ=101><ACK=301><CTL=ACK>     --> ESTABLISHED
`, 0},
		{"SYN+ACK repeated after the handshake", `
1.      CLOSED      --> <SEQ=100><CTL=SYN>              --> LISTEN
2.      ESTABLISHED <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <-- SYN-RECEIVED
3.      ESTABLISHED --> <SEQ=101><ACK=301><CTL=ACK>     --> ESTABLISHED
4. +1   ESTABLISHED <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <-- SYN-RECEIVED
5.      ESTABLISHED --> <SEQ=101><ACK=301><CTL=ACK>     --> ESTABLISHED
`, 0},
	} {
		if got := recordsOf(t, "0. CLOSED LISTEN"+test.text)[0].HandshakeRTT; got != test.want {
			t.Errorf("%s: RTT is %v, want %v", test.name, got, test.want)
		}
	}
}

// An end that does not answer a repeated SYN+ACK may never have got one.
func TestUnansweredHandshakeIsNotSettled(t *testing.T) {
	for _, test := range []struct {
		ladder  string
		state   tcp.State
		certain tcp.Certainty
	}{
		{"syn-rcvd-stuck", tcp.SynSent, tcp.Assumed},
		{"syn-rcvd-stuck-not-cookies", tcp.Established, tcp.Settled},
	} {
		r := recordsOf(t, ladderOf(t, test.ladder))[0].Ends[tcp.Client]
		if r.State != test.state || r.Certainty != test.certain {
			t.Errorf("%s: client is %v, %v, want %v, %v", test.ladder, r.State, r.Certainty, test.state, test.certain)
		}
	}
}
