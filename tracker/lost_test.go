package tracker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What is found in a connection in whose life the capture lost packets says so,
// unless the packets at hand prove it.
func TestLost(t *testing.T) {
	const (
		first  = 0 // connections: one that the server does not close,
		second = 1 // one that nobody answers,
		third  = 2 // one with flags that do not fit together
	)
	play := func(w *wire) {
		w.open(clientOf(first))
		w.put(clientOf(first), true, tcp.FIN|tcp.ACK, 1, 1_000_001, 0)
		w.put(clientOf(first), false, tcp.ACK, 1_000_001, 2, 0)
		w.put(clientOf(second), true, tcp.SYN, 0, 0, 0)
		w.open(clientOf(third))
	}
	goOn := func(w *wire) {
		w.put(clientOf(third), true, 0, 1, 0, 0)
		w.put(clientOf(third), true, 0, 1, 0, 0)
		w.tk.Advance(w.now.Add(time.Hour))
		w.tk.Close()
	}
	for _, c := range []struct {
		claim string
		play  func(w *wire)
		want  map[string]anomaly.Confidence
	}{
		{"nothing-was-lost", func(w *wire) { play(w); goOn(w) },
			map[string]anomaly.Confidence{"close-wait-leak": anomaly.ConfidenceProved, "syn-timeout": anomaly.ConfidenceAssumed, "null-flags": anomaly.ConfidenceProved}},
		{"lost-before", func(w *wire) { w.tk.Lost(w.now); play(w); goOn(w) },
			map[string]anomaly.Confidence{"close-wait-leak": anomaly.ConfidenceProved, "syn-timeout": anomaly.ConfidenceAssumed, "null-flags": anomaly.ConfidenceProved}},
		{"lost-meanwhile", func(w *wire) { play(w); w.tk.Lost(w.now); goOn(w) },
			map[string]anomaly.Confidence{"close-wait-leak": anomaly.ConfidenceAmbiguous, "syn-timeout": anomaly.ConfidenceAmbiguous, "null-flags": anomaly.ConfidenceProved}},
		{"lost-when-it-was-too-late", func(w *wire) { play(w); goOn(w); w.tk.Lost(w.now) },
			map[string]anomaly.Confidence{"close-wait-leak": anomaly.ConfidenceProved, "syn-timeout": anomaly.ConfidenceAssumed, "null-flags": anomaly.ConfidenceProved}},
	} {
		t.Run(c.claim, func(t *testing.T) {
			w, got := newWire(t), map[string]anomaly.Confidence{}
			w.tk.SetEmit(func(e *tracker.Event) {
				if e.Kind != tracker.EventAnomaly || e.Conn == 0 {
					return
				}
				got[e.Anomaly.Kind] = e.Anomaly.Confidence
				if says, ambiguous := strings.Contains(e.Anomaly.Text, "The capture lost packets"), e.Anomaly.Confidence == anomaly.ConfidenceAmbiguous; says != ambiguous {
					t.Errorf("%s is %v, and its text is %q", e.Anomaly.Kind, e.Anomaly.Confidence, e.Anomaly.Text)
				}
			})
			c.play(w)
			for kind, want := range c.want {
				if certain, found := got[kind]; !found || certain != want {
					t.Errorf("%s: found %t, %v, want %v", kind, found, certain, want)
				}
			}
		})
	}
}
