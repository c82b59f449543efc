package tracker_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// timeWaitFindings returns what this group of kinds found in all connections on
// the ladders' addresses, the oldest connection first, as "conn kind cause
// severity certainty frames".
func timeWaitFindings(t *tracker.Tracker) (list []string) {
	k, _ := flow.KeyOf(&tcp.Segment{Src: peerA, Dst: peerB})
	for c := t.Machine().NewestOf(k); c != nil; c = c.Older() {
		for _, a := range slices.Backward(t.Book().Of(c)) {
			if !strings.HasPrefix(a.Kind, "time-wait-") && a.Kind != "wandering-duplicate" {
				continue
			}
			list = append(list, fmt.Sprintf("%d %s %s %v %v %v", a.Conn, a.Kind, a.Cause, a.Severity, a.Confidence, a.Evidence))
		}
	}
	slices.Reverse(list)
	return list
}

// playFile runs the ladder in the file and returns the tracker as it is after it.
func playFile(t *testing.T, file string) *tracker.Tracker {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	l, err := parseLadder(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var last *tracker.Tracker
	l.play(t, func(tk *tracker.Tracker, _ int, _ []string) { last = tk })
	return last
}

// What the ladders do not show of the findings: their causes and what they cite.
func TestTimeWaitCausesAndEvidence(t *testing.T) {
	for _, c := range []struct {
		ladder string
		want   []string
	}{
		{"time-wait-assassination", []string{
			"1 time-wait-assassination spurious-fin-retransmission warning assumed [7 9 11 12 13]",
		}},
		{"wandering-duplicate-in-time-wait", []string{
			"1 wandering-duplicate  warning proved [4 10]",
			"1 time-wait-assassination old-duplicate warning assumed [6 8 10 11 12]",
		}},
		{"time-wait-syn-challenged", []string{
			"1 time-wait-assassination syn warning assumed [7 9 11 12 13]",
			"1 time-wait-syn-challenged reset warning assumed [7 9 11 12 13]",
			"2 time-wait-reuse-unsafe time-wait-cut-short-live error assumed [7 9 13 14 15]",
		}},
		{"time-wait-syn-challenged-bsd", []string{
			"1 time-wait-assassination syn warning assumed [7 9 11 12 13]",
			"1 time-wait-syn-challenged reset-ignored warning assumed [7 9 11 12 13]",
		}},
		{"time-wait-syn-challenged-silent", []string{
			"2 time-wait-syn-challenged silent warning ambiguous [9 11 13]",
		}},
		{"time-wait-syn-challenged-ack-not-heeded", []string{
			"2 time-wait-syn-challenged ack-not-heeded warning ambiguous [9 11 12 14 15]",
		}},
		{"time-wait-truncated", []string{
			"2 time-wait-truncated new-connection notice assumed [9 11 12 13]",
			"2 time-wait-reuse-safe  info assumed [9 11 12]",
		}},
		{"time-wait-truncated-reply", []string{
			"1 time-wait-truncated reset-in-reply notice assumed [9 10 11 12]",
		}},
		{"time-wait-reuse-safe", []string{
			"2 time-wait-reuse-safe linux info assumed [9 11 12]",
		}},
		{"time-wait-reuse-unsafe", []string{
			"2 time-wait-truncated new-connection notice assumed [9 11 12 13]",
			"2 time-wait-reuse-unsafe both-numbers-behind-live error assumed [7 9 11 12]",
		}},
		{"time-wait-reuse-unsafe-answer", []string{
			"2 time-wait-reuse-unsafe answer-number-behind-live error assumed [7 9 11 12]",
		}},
		{"time-wait-reuse-unsafe-latent", []string{
			"2 time-wait-truncated new-connection notice assumed [7 9 10 11]",
			"2 time-wait-reuse-unsafe syn-number-behind-latent error assumed [6 7 9 10]",
		}},
		{"time-wait-reuse-unsafe-aborted", []string{
			"2 time-wait-reuse-unsafe time-wait-cut-short-live error assumed [9 10 11]",
		}},
		{"time-wait-reuse-unsafe-nat", []string{
			"2 time-wait-truncated new-connection notice assumed [9 11 12 13]",
			"2 time-wait-reuse-unsafe nat-live error assumed [7 9 11 12]",
		}},
		{"wandering-duplicate", []string{
			"1 wandering-duplicate  warning proved [4 13]",
			"2 time-wait-reuse-safe linux info assumed [8 10 11]",
		}},
		{"wandering-duplicate-older-timestamp", []string{
			"1 wandering-duplicate  warning assumed [13]",
			"2 time-wait-reuse-safe linux info assumed [8 10 11]",
		}},
		{"time-wait-hazard-h1-in-turn", []string{
			"2 time-wait-truncated new-connection notice assumed [9 11 12 13]",
			"2 time-wait-reuse-unsafe both-numbers-behind-live error assumed [7 9 11 12]",
			"2 wandering-duplicate  warning proved [4 17]",
			"2 time-wait-hazard-h1  error assumed [4 17 18]",
		}},
		{"time-wait-hazard-h2", []string{
			"2 time-wait-truncated new-connection notice assumed [9 11 12 13]",
			"2 time-wait-reuse-unsafe both-numbers-behind-live error assumed [7 9 11 12]",
			"2 wandering-duplicate  warning proved [5 16]",
			"2 time-wait-hazard-h1  error assumed [5 16 19]",
			"2 time-wait-hazard-h2  error assumed [5 16 19 20 21]",
		}},
		{"time-wait-hazard-h3", []string{
			"1 wandering-duplicate  warning proved [7 12]",
			"2 time-wait-hazard-h3  error assumed [12 13 14 15 16]",
		}},
		{"time-wait-hazard-h3-alone", []string{
			"1 time-wait-hazard-h3  error ambiguous [2 3 4 5 6]",
		}},
	} {
		got := timeWaitFindings(playFile(t, "testdata/anomaly/"+c.ladder+".txt"))
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: findings are\n\t%q, want\n\t%q", c.ladder, got, c.want)
		}
	}
}

// An end that accepts a new connection does not hold the old one any more, even
// where it would not have yielded to the SYN had it been in TIME-WAIT.
func TestAcceptingEndsTimeWait(t *testing.T) {
	tk := playFile(t, "testdata/anomaly/time-wait-reuse-unsafe.txt")
	k, low := flow.KeyOf(&tcp.Segment{Src: peerA, Dst: peerB})
	old := tk.Machine().NewestOf(k).Older()
	if got := old.Ends[old.EndOf(low)].Assumed; got != tcp.Closed.Set() {
		t.Errorf("the end that accepted is in %v of the old connection, want %v", got.List(), tcp.Closed)
	}
}
