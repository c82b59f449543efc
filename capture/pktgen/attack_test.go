package pktgen_test

import (
	"bytes"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
)

// Every attack is one on what reads captures: it is read to its end, and the same
// again from the same seed.
func TestAttacksAreRead(t *testing.T) {
	if n := len(pktgen.Attacks()); n < 30 {
		t.Fatalf("%d kinds of attacks, want at least 30", n)
	}
	for _, kind := range pktgen.Attacks() {
		t.Run(kind, func(t *testing.T) {
			const packets = 2000
			var written [3]bytes.Buffer
			for i, seed := range []uint64{1, 1, 2} {
				if n, err := (pktgen.Attack{Kind: kind, Packets: packets, Seed: seed}).Write(&written[i]); err != nil || n < packets {
					t.Fatalf("%d packets, %v", n, err)
				}
			}
			if !bytes.Equal(written[0].Bytes(), written[1].Bytes()) {
				t.Error("one seed gives two captures")
			}
			src, err := capture.OpenReader(kind, &written[2], capture.Options{AsTheyAre: true})
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			for _, err := range src.Segments() {
				if err != nil {
					t.Fatal(err)
				}
			}
			s := src.Stats()
			if s.Packets < packets || s.Truncated {
				t.Errorf("it is read as %+v", s)
			}
			t.Logf("%d packets, %d segments, %d not decoded, %v", s.Packets, s.Segments, s.Undecodable, s.Passed)
		})
	}
}
