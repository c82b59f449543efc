package gvisor

import (
	"os"
	"sync"
	"testing"

	"github.com/tcpwatch/tcpwatch/cmd/lab/trial"
	"github.com/tcpwatch/tcpwatch/tracker/judge"
)

func TestMain(m *testing.M) { os.Exit(trial.Main(m)) }

// playAll plays stories, each in a lab of its own.
func playAll(plays []*trial.Play, seed func(p *trial.Play) uint64) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 2)
	for _, p := range plays {
		slots <- struct{}{}
		wg.Go(func() {
			l := newLab(p.V6, seed(p))
			p.Takes, p.Err = 1, l.play(p.Script, p.Dir)
			l.close()
			<-slots
		})
	}
	wg.Wait()
}

func TestStories(t *testing.T) {
	plays := trial.Stories(t, "../testdata/stories")
	playAll(plays, func(*trial.Play) uint64 { return 1 })
	total := trial.NewTally(t)
	for _, p := range plays {
		t.Run(p.Script.Name, func(t *testing.T) { total.Judge(t, p, func(*judge.Case) {}) })
	}
}

func TestRandomConversations(t *testing.T) {
	plays := trial.Random(t)
	for _, p := range plays {
		p.V6 = p.Script.Seed%2 == 1
	}
	playAll(plays, func(p *trial.Play) uint64 { return p.Script.Seed })
	total := trial.NewTally(t)
	total.Tolerant = true
	for _, p := range plays {
		t.Run(p.Script.Name, func(t *testing.T) { total.Judge(t, p, func(*judge.Case) {}) })
	}
	total.Bound(t)
}
