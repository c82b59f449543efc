package tracker_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What an end would show by repeating its FIN is settled only once it would
// have: after twice the pause that came before (RFC 6298 §5.5).
func TestSettledHeedsBackOff(t *testing.T) {
	l, err := parseLadder(` 1. --> <SEQ=100><CTL=SYN> -->
 2. <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <--
 3. --> <SEQ=101><ACK=301><CTL=ACK><DATA=1> -->
 4. <-- <SEQ=301><ACK=102><CTL=FIN,ACK> <--
 5. +1 <-- <SEQ=301><ACK=102><CTL=FIN,ACK> <--
 6. +4 <-- <SEQ=301><ACK=102><CTL=FIN,ACK> <--
 7. --> <SEQ=102><ACK=302><CTL=ACK> -->
`)
	if err != nil {
		t.Fatal(err)
	}
	var tk *tracker.Tracker
	l.run(t, func(*tracker.Event) {}, func(last *tracker.Tracker, _, _ int) { tk = last })
	acked := tk.Now()
	for _, row := range []struct {
		after time.Duration
		want  tcp.Certainty
	}{
		{3500 * time.Millisecond, tcp.Assumed}, // enough where nothing is repeated
		{8 * time.Second, tcp.Assumed},
		{10 * time.Second, tcp.Settled},
	} {
		tk.Advance(acked.Add(row.after))
		told := 0
		tk.Each(func(r *tracker.Record) {
			told++
			if server := &r.Ends[tcp.Server]; server.State != tcp.FinWait2 || server.Certainty != row.want {
				t.Errorf("after %v the server is %v, %v, want FIN_WAIT_2, %v", row.after, server.State, server.Certainty, row.want)
			}
		})
		if told != 1 {
			t.Errorf("after %v there are %d connections, want 1", row.after, told)
		}
	}
}

// What an end would have shown by now, had it been in a state or received a
// segment, is not said firmly any more, and the other state is possible.
func TestSilenceLeavesOpen(t *testing.T) {
	const (
		closed, listens, opening = 1 << tcp.Closed, 1 << tcp.Listen, 1 << tcp.SynSent
		answering, open          = 1 << tcp.SynReceived, 1 << tcp.Established
	)
	for _, test := range []struct {
		ladder    string
		rungs     int // that are played after the first
		after     time.Duration
		end       tcp.Endpoint
		state     tcp.State
		certainty tcp.Certainty
		possible  tcp.StateSet
	}{
		{"views/syn-not-answered", 1, 1900 * time.Millisecond, tcp.Client, tcp.SynSent, tcp.Proved, 0},
		{"views/syn-not-answered", 1, 2100 * time.Millisecond, tcp.Client, tcp.SynSent, tcp.Assumed, opening | closed},
		{"views/syn-not-answered", 1, 2100 * time.Millisecond, tcp.Server, tcp.Listen, tcp.Assumed, listens | answering},
		{"views/syn-not-answered", 6, 0, tcp.Server, tcp.SynReceived, tcp.Proved, 0},
		{"anomaly/syn-rcvd-stuck-not-cookies", 2, 1900 * time.Millisecond, tcp.Server, tcp.SynReceived, tcp.Proved, 0},
		{"anomaly/syn-rcvd-stuck-not-cookies", 2, 2100 * time.Millisecond, tcp.Server, tcp.SynReceived, tcp.Assumed, listens | answering},
		{"views/syns-cross-unanswered", 2, 1100 * time.Millisecond, tcp.Server, tcp.SynSent, tcp.Assumed, opening | answering},
		{"views/handshake-ack-ignored-once", 5, time.Hour, tcp.Server, tcp.Established, tcp.Assumed, answering | open},
		{"views/handshake-acks-ignored", 6, 0, tcp.Server, tcp.SynReceived, tcp.Proved, 0},
		{"views/handshake-acks-ignored", 7, 0, tcp.Server, tcp.SynReceived, tcp.Assumed, answering | open},
		{"anomaly/syn-rcvd-stuck", 3, time.Second, tcp.Client, tcp.SynSent, tcp.Assumed, opening | open | closed},
		{"views/fin-not-answered", 13, 0, tcp.Client, tcp.FinWait2, tcp.Assumed, 1<<tcp.FinWait1 | 1<<tcp.FinWait2 | 1<<tcp.TimeWait},
		{"views/fin-not-answered", 15, 0, tcp.Client, tcp.FinWait2, tcp.Proved, 0},
		{"states/give-up-established", 11, 4100 * time.Millisecond, tcp.Client, tcp.Established, tcp.Proved, 0},
		{"states/give-up-established", 11, 4700 * time.Millisecond, tcp.Client, tcp.Closed, tcp.Assumed, closed | open},
		{"states/give-up-established", 10, 2700 * time.Millisecond, tcp.Client, tcp.Established, tcp.Proved, 0},
		{"states/give-up-established", 10, 2900 * time.Millisecond, tcp.Client, tcp.Established, tcp.Assumed, closed | open},
		{"views/probes-after-giving-up", 9, 7 * time.Second, tcp.Client, tcp.Established, tcp.Proved, 0},
		{"views/probes-after-giving-up", 9, 8 * time.Second, tcp.Client, tcp.Established, tcp.Assumed, closed | open},
		{"views/probes-after-giving-up", 9, 11 * time.Second, tcp.Client, tcp.Closed, tcp.Assumed, closed | open},
		{"views/probes-after-giving-up", 12, 0, tcp.Client, tcp.Established, tcp.Proved, 0},
		{"gate/inexact-rst", 6, 0, tcp.Server, tcp.Established, tcp.Proved, 0},
		{"gate/doubted-rst", 6, 0, tcp.Server, tcp.Established, tcp.Assumed, closed | open},
		{"gate/doubted-rst", 7, 0, tcp.Server, tcp.Established, tcp.Proved, 0},
		{"gate/doubted-rst-taken", 7, 0, tcp.Server, tcp.Established, tcp.Assumed, closed | open},
		{"gate/doubted-rst-last-ack", 7, 0, tcp.Server, tcp.Established, tcp.Assumed, closed | open},
		{"gate/doubted-rst-last-ack", 8, 0, tcp.Server, tcp.Established, tcp.Proved, 0},
	} {
		text, err := os.ReadFile("testdata/" + test.ladder + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		l, err := parseLadder(string(text))
		if err != nil {
			t.Fatal(err)
		}
		l.rungs = l.rungs[:test.rungs+1]
		var tk *tracker.Tracker
		l.run(t, func(*tracker.Event) {}, func(last *tracker.Tracker, _, _ int) { tk = last })
		tk.Advance(tk.Now().Add(test.after))
		tk.Each(func(r *tracker.Record) {
			if e := &r.Ends[test.end]; e.State != test.state || e.Certainty != test.certainty || e.Possible != test.possible {
				t.Errorf("%s, rung %d and %v: the %v is %v, %v, of %v; want %v, %v, of %v", test.ladder, test.rungs, test.after,
					test.end, e.State, e.Certainty, e.Possible.List(), test.state, test.certainty, test.possible.List())
			}
		})
	}
}

// An end that had to repeat its SYN waits for longer before it repeats its FIN; and
// what a newer SYN in its name has left behind is not said for sure.
func TestSettledHeedsSYNs(t *testing.T) {
	const opening = ` 1. --> <SEQ=100><CTL=SYN> -->
 2. <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <--
 3. --> <SEQ=101><ACK=301><CTL=ACK> -->
`
	const closing = `11. --> <SEQ=101><ACK=301><CTL=ACK><DATA=1> -->
12. <-- <SEQ=301><ACK=102><CTL=ACK> <--
13. --> <SEQ=102><ACK=301><CTL=FIN,ACK> -->
14. <-- <SEQ=301><ACK=103><CTL=FIN,ACK> <--
15. --> <SEQ=103><ACK=302><CTL=ACK> -->
`
	const crossing = `11. --> <SEQ=101><ACK=301><CTL=FIN,ACK> -->
12. <-- <SEQ=301><ACK=101><CTL=FIN,ACK> <--
13. --> <SEQ=102><ACK=302><CTL=ACK> -->
`
	for _, test := range []struct {
		name, text string
		after      time.Duration
		end        tcp.Endpoint
		state      tcp.State
		want       tcp.Certainty
	}{
		{"nothing repeated", opening + closing, 4 * time.Second, tcp.Server, tcp.Closed, tcp.Settled},
		{"SYN+ACK repeated", opening + " 4. +1 <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <--\n 5. --> <SEQ=101><ACK=301><CTL=ACK> -->\n" + closing, 4 * time.Second, tcp.Server, tcp.Closed, tcp.Assumed},
		{"SYN+ACK repeated, later", opening + " 4. +1 <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <--\n 5. --> <SEQ=101><ACK=301><CTL=ACK> -->\n" + closing, 13 * time.Second, tcp.Server, tcp.Closed, tcp.Settled},
		{"open", opening + closing[:strings.Index(closing, "13.")], time.Second, tcp.Client, tcp.Established, tcp.Proved},
		{"called again", opening + closing[:strings.Index(closing, "13.")] + "16. +1 --> <SEQ=90000><CTL=SYN> -->\n", time.Second, tcp.Client, tcp.Established, tcp.Assumed},
		{"called again, and gone on", opening + closing[:strings.Index(closing, "13.")] + "16. +1 --> <SEQ=90000><CTL=SYN> -->\n17. --> <SEQ=102><ACK=301><CTL=ACK><DATA=1> -->\n", time.Second, tcp.Client, tcp.Established, tcp.Proved},
		{"SYN not repeated, FINs crossed", opening + crossing, 4 * time.Second, tcp.Server, tcp.TimeWait, tcp.Settled},
		{"SYN repeated, FINs crossed", " 0. --> <SEQ=100><CTL=SYN> -->\n 0. +1 --> <SEQ=100><CTL=SYN> -->\n" + opening[strings.Index(opening, " 2."):] + crossing, 4 * time.Second, tcp.Server, tcp.TimeWait, tcp.Assumed},
		{"gave up", "stack: linux\n 1. --> <SEQ=100><CTL=SYN> -->\n 2. +1 --> <SEQ=100><CTL=SYN> -->\n", time.Minute, tcp.Client, tcp.Closed, tcp.Settled},
		{"gave up, or was answered", "stack: linux\n 1. --> <SEQ=100><CTL=SYN> -->\n 2. +1 --> <SEQ=100><CTL=SYN> -->\n 3. <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <--\n 4. +1 <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <--\n", 30 * time.Second, tcp.Client, tcp.Closed, tcp.Assumed},
	} {
		l, err := parseLadder(test.text)
		if err != nil {
			t.Fatal(err)
		}
		var tk *tracker.Tracker
		l.run(t, func(*tracker.Event) {}, func(last *tracker.Tracker, _, _ int) { tk = last })
		tk.Advance(tk.Now().Add(test.after))
		tk.Each(func(r *tracker.Record) {
			if end := &r.Ends[test.end]; end.State != test.state || end.Certainty != test.want {
				t.Errorf("%s: it is %v, %v, want %v, %v", test.name, end.State, end.Certainty, test.state, test.want)
			}
		})
	}
}
