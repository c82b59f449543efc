//go:build lab && linux

package lab

import (
	"errors"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/tcpwatch/tcpwatch/cmd/lab/trial"
	"github.com/tcpwatch/tcpwatch/tracker/oracle"
)

func TestMain(m *testing.M) {
	status := trial.Main(m)
	os.RemoveAll(programDir)
	os.Exit(status)
}

// needLab skips the test where there are no namespaces to be had.
func needLab(t *testing.T) *tracer {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: the lab needs root, for network namespaces")
	}
	w, err := newWorld(false, nil)
	if err != nil {
		t.Skipf("SKIPPED: there are no network namespaces to be had: %v", err)
	}
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	trace, err := newTracer()
	if err != nil {
		t.Logf("no exact times of the kernels' moves, only polled ones: %v", err)
		return nil
	}
	t.Cleanup(trace.close)
	return trace
}

// TestStories plays every story in IPv4 and IPv6, and compares.
func TestStories(t *testing.T) {
	trace := needLab(t)
	plays := trial.Stories(t, "testdata/stories")
	var jobs []func()
	for _, p := range plays {
		jobs = append(jobs, func() {
			const takes = 5 // of a story that does not go as told, since the machine was busy
			for p.Takes < takes && (p.Takes == 0 || p.Err != nil && !errors.Is(p.Err, errors.ErrUnsupported)) {
				p.Takes, p.Err = p.Takes+1, nil
				playAll([]*trial.Play{p}, p.V6, trace)
			}
		})
	}
	inParallel(12, jobs) // they wait much more than they work
	total := trial.NewTally(t)
	total.Knows(t, plays, known())
	for _, p := range plays {
		t.Run(p.Script.Name, func(t *testing.T) {
			total.Judge(t, p, func(c *oracle.Case) {
				_, misses := c.Anomalies()
				for i := range misses {
					total.Complain(t, p, "anomalies", &misses[i])
				}
			})
		})
	}
}

// TestRandomConversations plays conversations made up at random, and compares.
func TestRandomConversations(t *testing.T) {
	trace := needLab(t)
	plays := trial.Random(t)
	var jobs []func()
	for group := range slices.Chunk(plays, 20) {
		jobs = append(jobs, func() { playAll(group, group[0].Script.Seed%2 == 1, trace) })
	}
	inParallel(4, jobs)
	total := trial.NewTally(t)
	total.Tolerant = true
	for _, p := range plays {
		t.Run(p.Script.Name, func(t *testing.T) { total.Judge(t, p, func(*oracle.Case) {}) })
	}
	total.Bound(t)
}

// playAll plays stories side by side in a world of their own.
func playAll(plays []*trial.Play, v6 bool, trace *tracer) {
	w, err := newWorld(v6, trace)
	if err != nil {
		for _, p := range plays {
			p.Err = err
		}
		return
	}
	conversations := make([]*conversation, len(plays))
	var wg sync.WaitGroup
	for i, p := range plays {
		c := w.converse(i)
		conversations[i] = c
		wg.Go(func() { p.Err = c.Play(p.Script) })
	}
	wg.Wait()
	failed := w.close()
	for i, p := range plays {
		if err := conversations[i].keep(p.Dir, p.Script); p.Err == nil {
			p.Err = err
		}
		if p.Err == nil {
			p.Err = failed
		}
	}
}

// inParallel does jobs, some at a time.
func inParallel(atOnce int, jobs []func()) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, job := range jobs {
		slots <- struct{}{}
		wg.Go(func() {
			job()
			<-slots
		})
	}
	wg.Wait()
}
