// Package trial has the part of the labs' tests that is the same whoever the
// hosts are: the stories and the random conversations that are to be played,
// and the judgement of what came of them, with a ladder of what went wrong.
package trial

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/cmd"
	"github.com/tcpwatch/tcpwatch/cmd/lab/story"
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

// Main runs the tests, and returns the status to exit with.
func Main(m *testing.M) int {
	if os.Getenv(beTcpwatch) != "" {
		return cmd.Main()
	}
	status := m.Run()
	for _, f := range failures {
		fmt.Println(f) // once more, behind all that is only shown
	}
	return status
}

// failures has a line for each story that failed, or differed.
var failures []string

// A Play is a script, and what came of it.
type Play struct {
	Script *story.Script
	V6     bool
	Dir    string // for captures and truth
	Takes  int    // of which the last counts
	Err    error
}

// Stories returns every story in a directory, in IPv4 and IPv6.
func Stories(t *testing.T, dir string) (plays []*Play) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) < 40 {
		t.Fatalf("%d stories found, want at least 40: %v", len(files), err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		for _, family := range []string{"ipv4", "ipv6"} {
			plays = append(plays, &Play{
				Script: story.Parse(name+"/"+family, string(text)), V6: family == "ipv6", Dir: storyDir(t),
			})
		}
	}
	return plays
}

// Random returns conversations made up at random, as many as the flags say.
func Random(t *testing.T) (plays []*Play) {
	first := *seed
	if first == 0 {
		first = uint64(time.Now().UnixNano()) / 1e6 % 1e9 * 1000
	}
	t.Logf("seeds %d to %d", first, first+uint64(*conversations)-1)
	for i := range *conversations {
		plays = append(plays, Seeded(t, first+uint64(i)))
	}
	return plays
}

// Seeded returns the random conversation of a seed.
func Seeded(t *testing.T, seed uint64) *Play {
	return &Play{Script: story.Random(seed), V6: seed%2 == 1, Dir: storyDir(t)}
}

// storyDir makes a directory for a story's captures.
func storyDir(t *testing.T) string {
	dir, err := os.MkdirTemp(t.TempDir(), "story-")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// A Tally counts how tcpwatch and the hosts agree.
type Tally struct {
	states, wrong, undecidable int
	proved, ahead              int
	histories, differ, unseen  int
	knownStates                int
	knownHistories             int
	Tolerant                   bool          // what differs is shown and counted, but for proved states
	Known                      []*Difference // but never of proved states
}

// A Difference is one that is known between the tracker and a stack.
type Difference struct {
	Why   string
	Is    func(m *judge.Miss) bool
	Share float64 // of what is compared, at most
	seen  []string
}

// Times returns how often the difference was met.
func (d *Difference) Times() int { return len(d.seen) }

// NewTally begins to count, and prints the figures when the test ends.
func NewTally(t *testing.T) *Tally {
	var n Tally
	t.Cleanup(func() {
		t.Logf("states at quiet moments: %d of %d that the packets decide equal the hosts'; %d others they do not decide",
			n.states-n.undecidable-n.wrong-n.knownStates, n.states-n.undecidable, n.undecidable)
		t.Logf("proved states ahead of the hosts: %d of %d", n.ahead, n.proved)
		t.Logf("histories: %d of %d that the packets decide equal the hosts'; %d others they do not decide",
			n.histories-n.unseen-n.differ-n.knownHistories, n.histories-n.unseen, n.unseen)
		for _, d := range n.Known {
			if d.Times() > 0 {
				t.Logf("known: %d times: %s: %s", d.Times(), d.Why, strings.Join(slices.Compact(slices.Clone(d.seen)), " "))
			}
		}
	})
	return &n
}

// Judge compares the tracker with the truth of a story, and has more judge it too.
func (n *Tally) Judge(t *testing.T, p *Play, more func(c *judge.Case)) {
	if *keepDir != "" {
		keep(t, p, filepath.Join(*keepDir, strings.ReplaceAll(p.Script.Name, "/", "-")+time.Now().Format("-150405")))
	}
	if p.Takes > 1 {
		t.Logf("this is take %d: before, the hosts did not do as told", p.Takes)
	}
	if p.Err != nil {
		t.Error(p.Err)
		fail(t, p, judge.Miss{}, p.Err)
		return
	}
	c, err := judge.Load(p.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var first *judge.Miss
	add := func(compared, wrong, undecidable, known *int, complain func(args ...any), compare func() (int, []judge.Miss)) {
		all, misses := compare()
		*compared += all
		for i := range misses {
			m := &misses[i]
			d := n.known(m)
			switch {
			case m.Why != "":
				*undecidable++
				t.Log(m)
			case d != nil && known != nil:
				*known++
				d.seen = append(d.seen, m.Story)
				t.Logf("%v  known: %s", m, d.Why)
			default:
				*wrong++
				complain(m)
				if first == nil {
					first = m
				}
			}
		}
	}
	var none int
	differs := t.Error
	if n.Tolerant {
		differs = t.Log
	}
	add(&n.states, &n.wrong, &n.undecidable, &n.knownStates, differs, c.States)
	add(&n.proved, &n.ahead, &none, nil, t.Error, c.Proved)
	add(&n.histories, &n.differ, &n.unseen, &n.knownHistories, differs, c.Histories)
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
func fail(t *testing.T, p *Play, m judge.Miss, what any) {
	dir, err := os.MkdirTemp("", "tcpwatch-lab-")
	if err != nil {
		t.Fatal(err)
	}
	keep(t, p, dir)
	failures = append(failures, fmt.Sprintf("WRONG: %s: %v (%s)", p.Script.Name, what, dir))
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
func keep(t *testing.T, p *Play, dir string) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(p.Dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "story.txt"), []byte(p.Script.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// known returns the known difference that a miss is, nil if it is none.
func (n *Tally) known(m *judge.Miss) *Difference {
	for _, d := range n.Known {
		if d.Is(m) {
			return d
		}
	}
	return nil
}

// Bound fails the test if more differs than the flags tolerate, or than is known.
func (n *Tally) Bound(t *testing.T) {
	wrong, all := n.wrong+n.differ, n.states+n.histories
	if float64(wrong) > *tolerate*float64(all) {
		t.Errorf("%d of %d states and histories differ, at most %g of them may", wrong, all, *tolerate)
	}
	for _, d := range n.Known {
		if float64(d.Times()) > d.Share*float64(all) {
			t.Errorf("%d of %d states and histories differ, at most %g of them may: %s", d.Times(), all, d.Share, d.Why)
		}
	}
}
