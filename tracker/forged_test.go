package tracker

import (
	"slices"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Every signature of connection-tampering by RST has its own name.
func TestTamperingSignatures(t *testing.T) {
	syn, open, psh, later := opening{}, opening{acked: true}, opening{acked: true, data: 1}, opening{acked: true, data: 2}
	for _, row := range []struct {
		stage  opening
		resets []tcp.Seq
		bare   int
		want   string
	}{
		{syn, []tcp.Seq{0}, 1, "post-syn-rst"},
		{syn, []tcp.Seq{5}, 0, "post-syn-rst-ack"},
		{syn, []tcp.Seq{0, 5}, 1, "post-syn-rst-and-rst-ack"},
		{open, []tcp.Seq{0}, 1, "post-ack-rst"},
		{open, []tcp.Seq{0, 0}, 2, "post-ack-rst-twice"},
		{open, []tcp.Seq{5}, 0, "post-ack-rst-ack"},
		{open, []tcp.Seq{5, 5}, 0, "post-ack-rst-ack-twice"},
		{psh, []tcp.Seq{0}, 1, "post-psh-rst"},
		{psh, []tcp.Seq{5}, 0, "post-psh-rst-ack"},
		{psh, []tcp.Seq{5, 0}, 1, "post-psh-rst-and-rst-ack"},
		{psh, []tcp.Seq{5, 5}, 0, "post-psh-rst-ack-twice"},
		{psh, []tcp.Seq{5, 5}, 2, "post-psh-rst-same-ack"},
		{psh, []tcp.Seq{5, 6}, 2, "post-psh-rst-other-ack"},
		{psh, []tcp.Seq{5, 0}, 2, "post-psh-rst-ack-0"},
		{later, []tcp.Seq{0}, 1, "later-data-rst"},
		{later, []tcp.Seq{5}, 0, "later-data-rst-ack"},
	} {
		o := row.stage
		o.resets, o.bare = row.resets, row.bare
		if got := o.signature(); got != row.want {
			t.Errorf("signature of %v, %d of them bare, is %s, want %s", row.resets, row.bare, got, row.want)
		}
	}
}

// findings plays the ladder to its end and returns what is flagged.
func findings(t *testing.T, name string) map[string]Anomaly {
	found := map[string]Anomaly{}
	ladders(t, "anomaly", func(t *testing.T, file string, l ladder) {
		if file != "testdata/anomaly/"+name+".txt" {
			return
		}
		l.play(t, func(tk *Tracker, i int, _ []string) {
			if i < len(l.rungs)-1 {
				return
			}
			k, _ := flow.KeyOf(&tcp.Segment{Src: peerA, Dst: peerB})
			for c := tk.machine.newestOf(k); c != nil; c = c.older() {
				for _, a := range tk.book.Of(c) {
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
		severity            Severity
		count               int
		evidence            []int
	}{
		{"null-flags-closed", "null-flags", "", Warning, 1, []int{1, 2}},
		{"syn-fin-answered", "syn-fin", "", Warning, 1, []int{1, 2}},
		{"blind-rst-in-window-guesses", "blind-rst-in-window", "", Error, 3, nil},
		{"blind-rst-in-window-same-number", "blind-rst-in-window", "", Warning, 2, nil},
		{"blind-rst-in-window-twice", "blind-rst-in-window", "", Warning, 2, nil},
		{"blind-rst-in-window-number-zero", "blind-rst-in-window", "", Error, 3, nil},
		{"blind-rst-in-window-after-replies", "blind-rst-in-window", "", Warning, 1, nil},
		{"blind-rst-in-window-unseen-receiver", "blind-rst-in-window", "", Warning, 1, nil},
		{"challenge-ack-rst", "challenge-ack", "rst", Notice, 1, []int{7, 8, 9}},
		{"challenge-ack-rst-overtook-data", "challenge-ack", "rst-overtook-data", Notice, 1, []int{9, 10, 11}},
		{"challenge-ack-syn", "challenge-ack", "syn", Notice, 1, []int{7, 8, 9}},
		{"challenge-ack-ack", "challenge-ack", "ack", Notice, 1, []int{7, 8, 9}},
		{"challenge-ack-ack-behind-another", "challenge-ack", "ack", Notice, 1, []int{7, 8, 9}},
		{"forged-rst-proved", "forged-rst", "data-after-rst", Error, 1, []int{7, 8}},
		{"rst-storm-replies", "rst-storm", "replies", Info, 2, nil},
		{"connection-tampering-post-psh", "connection-tampering", "post-psh-rst-ack-twice", Warning, 1, nil},
		{"connection-tampering-silence", "connection-tampering", "post-psh-none", Info, 1, nil},
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
