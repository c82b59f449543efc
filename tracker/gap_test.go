package tracker

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Which octets the capture misses, and which frames show it.
func TestGapsAreToldExactly(t *testing.T) {
	for _, want := range []struct {
		ladder, octets string
		count          int
		certain        Confidence
		evidence       []int
	}{
		{"capture-gap", "20 octets of 192.0.2.1:49152 (111 to 130)", 1, ConfidenceAssumed, []int{5, 7}},
		{"capture-gap-fin", "One octet, or the FIN, of 192.0.2.1:49152 (111)", 1, ConfidenceAssumed, []int{7, 9}},
		{"capture-gap-acked-twice", "20 octets of 192.0.2.1:49152 (111 to 130)", 1, ConfidenceAmbiguous, []int{5}},
		{"capture-gap-no-syn-ack", "20 octets of 192.0.2.1:49152 (3000000111 to 3000000130)", 1, ConfidenceAssumed, []int{4, 6}},
		{"capture-gap-first-of-two", "20 octets of 192.0.2.1:49152 (111 to 130)", 1, ConfidenceAssumed, []int{5, 8}},
		{"capture-gap-passed-over", "20 octets of 192.0.2.1:49152 (111 to 130)", 1, ConfidenceAssumed, []int{6, 7}},
		{"capture-gap-passed-over-next", "20 octets of 192.0.2.1:49152 (111 to 130)", 1, ConfidenceAssumed, []int{7, 8}},
		{"capture-gap-passed-over-part", "10 octets of 192.0.2.1:49152 (111 to 120)", 1, ConfidenceAssumed, []int{6, 7}},
		{"capture-gap-twice", "20 octets of 192.0.2.1:49152 (111 to 130)", 2, ConfidenceAssumed, []int{5, 7}},
	} {
		list := playOdd(t, want.ladder)
		i := slices.IndexFunc(list, func(a Anomaly) bool { return a.Kind == captureGap.Name })
		if i < 0 {
			t.Errorf("%s: no %s is flagged", want.ladder, captureGap.Name)
			continue
		}
		if got := list[i]; !strings.HasPrefix(got.Text, want.octets) || got.Count != want.count || got.Confidence != want.certain || !slices.Equal(got.Evidence, want.evidence) {
			t.Errorf("%s: %d times, %v, by frames %v: %s\nwant %d times, %v, by frames %v: %s", want.ladder, got.Count, got.Confidence, got.Evidence, got.Text, want.count, want.certain, want.evidence, want.octets)
		}
	}
}

// A gap is an occasion when it turns out to be something, not while its octets
// may still come.
func TestGapsAreOccasionsOnce(t *testing.T) {
	ahead, late, behind := "< <SEQ=300><ACK=120><CTL=ACK>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=20>", "> <SEQ=120><ACK=300><CTL=ACK><DATA=10>"
	for _, test := range []struct {
		before  []string
		segment string
		after   time.Duration
		want    occasions
	}{
		{[]string{behind}, "> <SEQ=130><ACK=300><CTL=ACK><DATA=10>", time.Second, 0}, // passed over, and not acknowledged
		{nil, ahead, 0, 0},
		{[]string{ahead}, ahead, time.Second, 0},
		{[]string{ahead}, behind, 0, 0},
		{[]string{ahead}, late, 0, onGap},
		{[]string{ahead}, late, time.Second, 0}, // sent again: no gap any more
		{[]string{ahead}, behind, time.Second, onGap},
		{[]string{ahead, behind}, "< <SEQ=300><ACK=130><CTL=ACK>", time.Second, onGap},
	} {
		c, s, from := played(t, slices.Concat(underway, test.before, []string{test.segment})...)
		now := max(c.ends[tcp.Client].sentAt, c.ends[tcp.Server].sentAt).Add(test.after)
		if got := c.watchGaps(s, from, c.read(s, from), now); got != test.want {
			t.Errorf("after %v %s, %v later, is occasion %b, want %b", test.before, test.segment, test.after, got, test.want)
		}
	}
}

// The first ACK of an end tells of missing octets only where the capture had the
// first number of its peer, and all since.
func TestGapsBeforeTheFirstACK(t *testing.T) {
	for _, test := range []struct {
		why    string
		before []string
		ack    string
		want   gapState
	}{
		{"both SYNs were captured", []string{"> <SEQ=100><CTL=SYN>", "< <SEQ=300><ACK=101><CTL=SYN,ACK>"}, "> <SEQ=101><ACK=331><CTL=ACK>", gapOpen},
		{"the SYN+ACK may be a second copy, behind data that a Fast Open (RFC 7413) let B send before the capture", []string{"< <SEQ=300><ACK=101><CTL=SYN,ACK>"}, "> <SEQ=101><ACK=331><CTL=ACK>", gapNone},
		{"a RST in the name of B does not tell its first number", []string{"> <SEQ=100><CTL=SYN>", "< <SEQ=0><ACK=50><CTL=RST,ACK>"}, "> <SEQ=101><ACK=301><CTL=ACK>", gapNone},
	} {
		c, s, from := played(t, append(test.before, test.ack)...)
		c.watchGaps(s, from, c.read(s, from), c.last())
		if got := c.oddments().gaps[tcp.Server].is; got != test.want {
			t.Errorf("after %v and %s the gap is %v, want %v: %s", test.before, test.ack, got, test.want, test.why)
		}
	}
}
