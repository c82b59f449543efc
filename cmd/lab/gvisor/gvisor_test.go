package gvisor

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/cmd/lab/story"
	"github.com/tcpwatch/tcpwatch/cmd/lab/trial"
	"github.com/tcpwatch/tcpwatch/tracker/oracle"
)

func TestMain(m *testing.M) { os.Exit(trial.Main(m)) }

// playAll plays stories, each in a lab of its own.
func playAll(plays []*trial.Play) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 2)
	for _, p := range plays {
		slots <- struct{}{}
		wg.Go(func() {
			l := newLab(p.V6, p.Script.Seed)
			p.Takes, p.Err = 1, l.play(p.Script, p.Dir)
			l.close()
			<-slots
		})
	}
	wg.Wait()
}

// TestStories plays every story that the stack can play in IPv4 and IPv6, and
// compares.
func TestStories(t *testing.T) {
	plays := trial.Stories(t, "../testdata/stories")
	playAll(plays)
	refused, met := maps.Clone(cannotBePlayed), map[deviation]int{}
	var played []*trial.Play
	for _, p := range plays {
		name, _, _ := strings.Cut(p.Script.Name, "/")
		what, cannot := cannotBePlayed[name]
		switch {
		case cannot && errors.Is(p.Err, errors.ErrUnsupported) && strings.Contains(p.Err.Error(), what):
			delete(refused, name)
			continue
		case cannot:
			t.Errorf("%s: want a refusal of %s, have %v", p.Script.Name, what, p.Err)
		case errors.Is(p.Err, errors.ErrUnsupported):
			t.Errorf("%s cannot be played, and is not said to: %v", p.Script.Name, p.Err)
			continue
		}
		p.Err = unexpected(p.Err, name, met)
		played = append(played, p)
	}
	for name := range refused {
		t.Errorf("%s cannot be played, it is said, but there is no such story", name)
	}
	for _, d := range deviations {
		if met[d] != 2 {
			t.Errorf("%s, quiet moment %d: %s in %d of 2 families: %s", d.story, d.moment, d.states, met[d], d.why)
		}
	}
	t.Logf("%d stories played, %d cannot be", len(played), len(plays)-len(played))
	total := newTally(t)
	total.Knows(t, played, knownInStories())
	for _, p := range played {
		t.Run(p.Script.Name, func(t *testing.T) { total.Judge(t, p, func(*oracle.Case) {}) })
	}
}

// unexpected returns what is left of the error of a story without deviations,
// which it counts.
func unexpected(err error, name string, met map[deviation]int) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var rest []error
	for _, err := range joined.Unwrap() {
		known := false
		var other *story.NotAsTold
		if errors.As(err, &other) {
			for _, d := range deviations {
				if d.story == name && d.moment == other.Moment && d.states == strings.Join(other.Were, " ") {
					met[d]++
					known = true
				}
			}
		}
		if !known {
			rest = append(rest, err)
		}
	}
	return errors.Join(rest...)
}

// TestRandomConversations plays conversations made up at random, and compares.
func TestRandomConversations(t *testing.T) {
	plays := trial.Random(t)
	began := time.Now()
	playAll(plays)
	t.Logf("%d conversations were played in %.1f s", len(plays), time.Since(began).Seconds())
	began = time.Now()
	total := newTally(t)
	total.Tolerant = true
	for _, p := range plays {
		t.Run(p.Script.Name, func(t *testing.T) { total.Judge(t, p, func(*oracle.Case) {}) })
	}
	t.Logf("and judged in %.1f s", time.Since(began).Seconds())
	total.Bound(t)
}

// Each known difference is there still, in the conversation of its seed.
func TestKnownDifferences(t *testing.T) {
	total := newTally(t)
	for i, k := range knownDifferences {
		p := trial.Seeded(t, k.seed)
		playAll([]*trial.Play{p})
		before := total.Differences[i].Times()
		t.Run(p.Script.Name, func(t *testing.T) { total.Judge(t, p, func(*oracle.Case) {}) })
		if total.Differences[i].Times() == before {
			t.Errorf("seed %d does not show it any more: %s", k.seed, k.Why)
		}
	}
}

// A conversation is the same each time it is played.
func TestPlayIsRepeatable(t *testing.T) {
	for seed := range uint64(20) {
		var files [2]string
		for i := range files {
			p := trial.Seeded(t, seed)
			playAll([]*trial.Play{p})
			if p.Err != nil {
				t.Fatal(p.Err)
			}
			for _, name := range []string{"client.pcap", "server.pcap", "truth.json"} {
				b, err := os.ReadFile(p.Dir + "/" + name)
				if err != nil {
					t.Fatal(err)
				}
				files[i] += fmt.Sprintf("%s %x\n", name, b)
			}
		}
		if files[0] != files[1] {
			t.Errorf("seed %d was played in two ways", seed)
		}
	}
}
