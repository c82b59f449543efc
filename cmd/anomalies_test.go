package cmd

import (
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly/kinds"
)

// A number that the catalogue says a flag sets has such a flag.
func TestFlagsOfThresholds(t *testing.T) {
	flags, set := newReplay().Flags(), 0
	for _, k := range kinds.All() {
		for _, threshold := range k.Thresholds {
			if threshold.Flag == "" {
				continue
			}
			if set++; flags.Lookup(threshold.Flag) == nil {
				t.Errorf("%s: %s is set by --%s, which replay does not have", k.Name, threshold.Name, threshold.Flag)
			}
		}
	}
	if set == 0 {
		t.Error("no number of the catalogue is set by a flag")
	}
}
