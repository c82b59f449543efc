package tracker_test

import (
	"slices"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// findings plays the ladder to its end and returns what is flagged.
func findings(t *testing.T, name string) map[string]anomaly.Anomaly {
	found := map[string]anomaly.Anomaly{}
	ladders(t, "anomaly", func(t *testing.T, file string, l ladder) {
		if file != "testdata/anomaly/"+name+".txt" {
			return
		}
		l.play(t, func(tk *tracker.Tracker, i int, _ []string) {
			if i < len(l.rungs)-1 {
				return
			}
			k, _ := flow.KeyOf(&tcp.Segment{Src: peerA, Dst: peerB})
			for c := tk.Machine().NewestOf(k); c != nil; c = c.Older() {
				for _, a := range tk.Book().Of(c) {
					found[a.Kind] = a
				}
			}
		})
	})
	return found
}

// What is learnt later completes an anomaly, and is no second one.
func TestLaterFindingsComplete(t *testing.T) {
	for _, row := range []struct {
		ladder, kind, cause string
		severity            anomaly.Severity
		count               int
		evidence            []int
	}{
		{"null-flags-closed", "null-flags", "", anomaly.Warning, 1, []int{1, 2}},
		{"syn-fin-answered", "syn-fin", "", anomaly.Warning, 1, []int{1, 2}},
		{"blind-rst-in-window-guesses", "blind-rst-in-window", "", anomaly.Error, 3, nil},
		{"blind-rst-in-window-same-number", "blind-rst-in-window", "", anomaly.Warning, 2, nil},
		{"blind-rst-in-window-twice", "blind-rst-in-window", "", anomaly.Warning, 2, nil},
		{"blind-rst-in-window-number-zero", "blind-rst-in-window", "", anomaly.Error, 3, nil},
		{"blind-rst-in-window-after-replies", "blind-rst-in-window", "", anomaly.Warning, 1, nil},
		{"blind-rst-in-window-unseen-receiver", "blind-rst-in-window", "", anomaly.Warning, 1, nil},
		{"challenge-ack-rst", "challenge-ack", "rst", anomaly.Notice, 1, []int{7, 8, 9}},
		{"challenge-ack-rst-overtook-data", "challenge-ack", "rst-overtook-data", anomaly.Notice, 1, []int{9, 10, 11}},
		{"challenge-ack-syn", "challenge-ack", "syn", anomaly.Notice, 1, []int{7, 8, 9}},
		{"challenge-ack-ack", "challenge-ack", "ack", anomaly.Notice, 1, []int{7, 8, 9}},
		{"challenge-ack-ack-behind-another", "challenge-ack", "ack", anomaly.Notice, 1, []int{7, 8, 9}},
		{"forged-rst-proved", "forged-rst", "data-after-rst", anomaly.Error, 1, []int{7, 8}},
		{"rst-storm-replies", "rst-storm", "replies", anomaly.Info, 2, nil},
		{"connection-tampering-post-psh", "connection-tampering", "post-psh-rst-ack-twice", anomaly.Warning, 1, nil},
		{"connection-tampering-silence", "connection-tampering", "post-psh-none", anomaly.Info, 1, nil},
	} {
		a, ok := findings(t, row.ladder)[row.kind]
		if !ok {
			t.Errorf("%s: %s is not flagged", row.ladder, row.kind)
			continue
		}
		if a.Severity != row.severity || a.Count != row.count || a.Cause != row.cause {
			t.Errorf("%s: %s is %v, %d times, cause %q, want %v, %d times, cause %q", row.ladder, row.kind, a.Severity, a.Count, a.Cause, row.severity, row.count, row.cause)
		}
		if row.evidence != nil && !slices.Equal(a.Evidence, row.evidence) {
			t.Errorf("%s: evidence is %v, want %v", row.ladder, a.Evidence, row.evidence)
		}
	}
}

// That an end goes on after a RST in its name proves that it did not send it only
// if it says more than the RST knew of: that it comes late may be the network's.
func TestTimingProvesNoForgery(t *testing.T) {
	for ladder, want := range map[string]anomaly.Confidence{
		"data-after-rst-late-copy": anomaly.ConfidenceAssumed,
		"data-after-rst":           anomaly.ConfidenceProved,
		"forged-rst-too-fast":      anomaly.ConfidenceAssumed,
		"forged-rst-proved":        anomaly.ConfidenceProved,
	} {
		kind := "data-after-rst"
		if _, ok := findings(t, ladder)[kind]; !ok {
			kind = "forged-rst"
		}
		if got := findings(t, ladder)[kind].Confidence; got != want {
			t.Errorf("%s: %s is %v, want %v", ladder, kind, got, want)
		}
	}
}
