//go:build lab && linux

package lab

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/cmd"
	"github.com/tcpwatch/tcpwatch/tracker/judge"
)

var (
	keepDir       = flag.String("keep", "", "write the captures and the truth of every story into this `directory`, not only of those that fail")
	conversations = flag.Int("conversations", 500, "how many random conversations are played")
	tolerate      = flag.Float64("tolerate", 0, "the `share` of what is compared of random conversations that may differ, and be shown, without a failure; proved states may never be ahead")
	seed          = flag.Uint64("seed", 0, "of the first random conversation, the next ones counting on; 0 takes the time")
)

// The test binary is tcpwatch too, when asked, so that a failure can show a ladder.
const beTcpwatch = "TCPWATCH_LAB_BE_TCPWATCH"

func TestMain(m *testing.M) {
	if os.Getenv(beTcpwatch) != "" {
		os.Exit(cmd.Main())
	}
	status := m.Run()
	os.RemoveAll(programDir)
	for _, f := range failures {
		fmt.Println(f) // once more, behind all that is only shown
	}
	os.Exit(status)
}

// failures has a line for each story that failed, or differed.
var failures []string

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

// A play is what came of a story.
type play struct {
	script *script
	dir    string
	takes  int // of which the last counts
	err    error
}

// TestStories plays every story in IPv4 and IPv6, and compares.
func TestStories(t *testing.T) {
	trace := needLab(t)
	files, err := filepath.Glob("testdata/stories/*.txt")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d stories found, want at least 40: %v", len(files), err)
	}
	var plays []*play
	var jobs []func()
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range []string{"ipv4", "ipv6"} {
			p := &play{
				script: parseScript(strings.TrimSuffix(filepath.Base(path), ".txt")+"/"+family, string(text)),
				dir:    storyDir(t),
			}
			plays = append(plays, p)
			jobs = append(jobs, func() {
				const takes = 3 // of a story that the kernels do not play as told, since the machine was busy
				for p.takes < takes && (p.takes == 0 || errors.Is(p.err, errNotAsTold)) {
					p.takes, p.err = p.takes+1, nil
					playAll([]*play{p}, family == "ipv6", trace)
				}
			})
		}
	}
	inParallel(12, jobs) // they wait much more than they work
	total := newTally(t)
	for _, p := range plays {
		t.Run(p.script.name, func(t *testing.T) {
			total.judge(t, p, func(c *judge.Case) {
				_, misses := c.Anomalies()
				for i := range misses {
					t.Error(&misses[i])
				}
			})
		})
	}
}

// TestRandomConversations plays conversations made up at random, and compares.
func TestRandomConversations(t *testing.T) {
	trace := needLab(t)
	first := *seed
	if first == 0 {
		first = uint64(time.Now().UnixNano()) / 1e6 % 1e9 * 1000
	}
	t.Logf("seeds %d to %d", first, first+uint64(*conversations)-1)
	var plays []*play
	for i := range *conversations {
		plays = append(plays, &play{script: randomScript(first + uint64(i)), dir: storyDir(t)})
	}
	var jobs []func()
	for group := range slices.Chunk(plays, 20) {
		jobs = append(jobs, func() { playAll(group, group[0].script.seed%2 == 1, trace) })
	}
	inParallel(4, jobs)
	total := newTally(t)
	total.tolerant = true
	for _, p := range plays {
		t.Run(p.script.name, func(t *testing.T) { total.judge(t, p, func(*judge.Case) {}) })
	}
	wrong, all := total.wrong+total.differ+total.ahead, total.states+total.histories+total.firm
	if float64(wrong) > *tolerate*float64(all) {
		t.Errorf("%d of %d states, histories and firm states differ, at most %g of them may", wrong, all, *tolerate)
	}
}

// playAll plays stories side by side in a world of their own.
func playAll(plays []*play, v6 bool, trace *tracer) {
	w, err := newWorld(v6, trace)
	if err != nil {
		for _, p := range plays {
			p.err = err
		}
		return
	}
	conversations := make([]*conversation, len(plays))
	var wg sync.WaitGroup
	for i, p := range plays {
		c := w.converse(i)
		conversations[i] = c
		wg.Go(func() {
			p.err = c.play(p.script)
			for _, process := range c.processes {
				process.end()
			}
		})
	}
	wg.Wait()
	failed := w.close()
	for i, p := range plays {
		if err := conversations[i].keep(p.dir, p.script); p.err == nil {
			p.err = err
		}
		if p.err == nil {
			p.err = failed
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

// storyDir makes a directory for a story's captures.
func storyDir(t *testing.T) string {
	dir, err := os.MkdirTemp(t.TempDir(), "story-")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// A tally counts how tcpwatch and the kernels agree.
type tally struct {
	states, wrong, undecidable int
	firm, ahead, unsure        int
	histories, differ, unseen  int
	excused                    map[judge.Excuse]int
	tolerant                   bool // what differs is shown and counted
}

// mostExcused is the share of what is compared that one excuse may have. The
// wire loses up to 15 % of the segments of a conversation.
const mostExcused = 0.1

// newTally begins to count, and prints the figures when the test ends.
func newTally(t *testing.T) *tally {
	n := tally{excused: map[judge.Excuse]int{}}
	t.Cleanup(func() {
		t.Logf("states at quiet moments: %d of %d that the packets decide equal the kernel's; %d others they do not decide",
			n.states-n.undecidable-n.wrong, n.states-n.undecidable, n.undecidable)
		t.Logf("firm states that are not the kernel's: %d of %d; %d others the packets do not decide", n.ahead, n.firm, n.unsure)
		t.Logf("histories: %d of %d that the packets decide equal the kernel's; %d others they do not decide",
			n.histories-n.unseen-n.differ, n.histories-n.unseen, n.unseen)
		for excuse, times := range n.excused {
			t.Logf("excused %d times: %s", times, excuse)
			if most := max(3, mostExcused*float64(n.states)); float64(times) > most {
				t.Errorf("excused %d times that %q, want at most %.0f", times, excuse, most)
			}
		}
	})
	return &n
}

// judge compares the tracker with the truth of a story, and has more judge it too.
func (n *tally) judge(t *testing.T, p *play, more func(c *judge.Case)) {
	if *keepDir != "" {
		keep(t, p, filepath.Join(*keepDir, strings.ReplaceAll(p.script.name, "/", "-")+time.Now().Format("-150405")))
	}
	if p.takes > 1 {
		t.Logf("this is take %d: before, the kernels did not do as told", p.takes)
	}
	if p.err != nil {
		t.Error(p.err)
		fail(t, p, judge.Miss{}, p.err)
		return
	}
	c, err := judge.Load(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	var first *judge.Miss
	report := func(misses []judge.Miss, complain func(args ...any)) (decidable, undecidable int) {
		for i := range misses {
			m := &misses[i]
			if m.Excuse != "" {
				undecidable++
				n.excused[m.Excuse]++
				t.Logf("%v", m)
				continue
			}
			decidable++
			complain(m)
			if first == nil {
				first = m
			}
		}
		return decidable, undecidable
	}
	add := func(compared, wrong, undecidable *int, complain func(args ...any), compare func() (int, []judge.Miss)) {
		all, misses := compare()
		bad, open := report(misses, complain)
		*compared += all
		*wrong += bad
		*undecidable += open
	}
	differs := t.Error
	if n.tolerant {
		differs = t.Log
	}
	add(&n.states, &n.wrong, &n.undecidable, differs, c.States)
	add(&n.firm, &n.ahead, &n.unsure, differs, func() (int, []judge.Miss) {
		all, _, misses := c.Firm()
		return all, misses
	})
	add(&n.histories, &n.differ, &n.unseen, differs, c.Histories)
	more(c)
	if t.Failed() || first != nil {
		if first == nil {
			fail(t, p, judge.Miss{}, "its anomalies")
		} else {
			fail(t, p, *first, first)
		}
	}
}

// fail keeps what a story left, and shows the ladder up to the first miss.
func fail(t *testing.T, p *play, m judge.Miss, what any) {
	dir, err := os.MkdirTemp("", "tcpwatch-lab-")
	if err != nil {
		t.Fatal(err)
	}
	keep(t, p, dir)
	failures = append(failures, fmt.Sprintf("WRONG: %s: %v (%s)", p.script.name, what, dir))
	t.Logf("captures, truth and script are kept in %s", dir)
	taps := []string{m.Tap}
	if m.Tap == "" {
		taps = []string{"client.pcap", "server.pcap"}
	}
	for _, tap := range taps {
		args := []string{"explain", filepath.Join(dir, tap)}
		if m.At != 0 {
			args = append(args, "--at", time.Unix(0, int64(m.At*1e9)).UTC().Format(time.RFC3339Nano))
		}
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		explain := exec.Command(program, args...)
		explain.Env = append(os.Environ(), beTcpwatch+"=1")
		out, _ := explain.CombinedOutput() // what goes wrong is part of it
		t.Logf("%s:\n%s", tap, out)
	}
}

// keep copies what a story left into a directory, with its script.
func keep(t *testing.T, p *play, dir string) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(p.dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "story.txt"), []byte(p.script.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// String returns the script as it can be put into testdata/stories.
func (s *script) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", s.description)
	for _, st := range s.steps {
		fmt.Fprintln(&b, st.text)
	}
	return b.String()
}
