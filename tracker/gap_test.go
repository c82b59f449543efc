package tracker_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
)

// Which octets the capture misses, and which frames show it.
func TestGapsAreToldExactly(t *testing.T) {
	for _, want := range []struct {
		ladder, octets string
		count          int
		certain        anomaly.Confidence
		evidence       []int
	}{
		{"capture-gap", "20 bytes of 192.0.2.1:49152 (111 to 130)", 1, anomaly.ConfidenceAssumed, []int{5, 7}},
		{"capture-gap-fin", "One byte or the FIN of 192.0.2.1:49152 (111)", 1, anomaly.ConfidenceAssumed, []int{7, 9}},
		{"capture-gap-acked-twice", "20 bytes of 192.0.2.1:49152 (111 to 130)", 1, anomaly.ConfidenceAmbiguous, []int{5}},
		{"capture-gap-no-syn-ack", "20 bytes of 192.0.2.1:49152 (3000000111 to 3000000130)", 1, anomaly.ConfidenceAssumed, []int{4, 6}},
		{"capture-gap-first-of-two", "20 bytes of 192.0.2.1:49152 (111 to 130)", 1, anomaly.ConfidenceAssumed, []int{5, 8}},
		{"capture-gap-passed-over", "20 bytes of 192.0.2.1:49152 (111 to 130)", 1, anomaly.ConfidenceAssumed, []int{6, 7}},
		{"capture-gap-passed-over-next", "20 bytes of 192.0.2.1:49152 (111 to 130)", 1, anomaly.ConfidenceAssumed, []int{7, 8}},
		{"capture-gap-passed-over-part", "10 bytes of 192.0.2.1:49152 (111 to 120)", 1, anomaly.ConfidenceAssumed, []int{6, 7}},
		{"capture-gap-twice", "20 bytes of 192.0.2.1:49152 (111 to 130)", 2, anomaly.ConfidenceAssumed, []int{5, 7}},
	} {
		list := playOdd(t, want.ladder)
		i := slices.IndexFunc(list, func(a anomaly.Anomaly) bool { return a.Kind == "capture-gap" })
		if i < 0 {
			t.Errorf("%s: no %s is flagged", want.ladder, "capture-gap")
			continue
		}
		if got := list[i]; !strings.HasPrefix(got.Text, want.octets) || got.Count != want.count || got.Confidence != want.certain || !slices.Equal(got.Evidence, want.evidence) {
			t.Errorf("%s: %d times, %v, by frames %v: %s\nwant %d times, %v, by frames %v: %s", want.ladder, got.Count, got.Confidence, got.Evidence, got.Text, want.count, want.certain, want.evidence, want.octets)
		}
	}
}
