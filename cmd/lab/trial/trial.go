// Package trial has the part of the labs' tests that is the same whoever the
// hosts are: the stories and the random conversations that are to be played,
// and the judgement of what came of them, with a ladder of what went wrong.
package trial

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/cmd"
	"github.com/tcpwatch/tcpwatch/cmd/lab/story"
	"github.com/tcpwatch/tcpwatch/tracker/oracle"
)

var (
	keepDir       = flag.String("keep", "", "write the captures and the truth of every story into this `directory`, not only of those that fail")
	conversations = flag.Int("conversations", 500, "how many random conversations are played")
	tolerate      = flag.Float64("tolerate", 0, "the `share` of what is compared of random conversations that may differ, and be shown, without a failure")
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

// KeepDir is the directory into which every capture is written; "" is none.
func KeepDir() string { return *keepDir }

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
	if err != nil || len(files) < 100 {
		t.Fatalf("%d stories found, want at least 100: %v", len(files), err)
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
	states, firm, histories count
	Tolerant                bool          // what differs is shown and counted
	Differences             []*Difference // that are known between the tracker and the stack, whatever the story

	known  []Known
	judged map[string]bool // the stories, by name and family
	missed map[string]bool // the stories and checks that missed something
}

// A count is of what was compared, and of that which was missed: wrongly, as is
// known, or undecided by the packets.
type count struct {
	all, wrong, known, undecided int
	excused                      map[oracle.Excuse]int
}

func (c *count) String() string {
	decided := c.all - c.undecided
	text := fmt.Sprintf("%d of %d that the packets decide are the hosts'; %d others they do not decide", decided-c.wrong-c.known, decided, c.undecided)
	if c.known > 0 {
		text += fmt.Sprintf("; %d of those that differ are known to", c.known)
	}
	for _, why := range slices.Sorted(maps.Keys(c.excused)) {
		text += fmt.Sprintf("\n  excused %d times: %s", c.excused[why], why)
	}
	return text
}

// Known is a difference between the tracker and the hosts in one story, that is
// to be mended in the tracker.
type Known struct {
	Story  string
	Family string // ipv4, ipv6, or * for both
	Check  string // states, firm states, histories or anomalies
	What   string // differs
	Why    string // the tracker is wrong
}

// What the tracker does wrong in stories of both labs.
const (
	BelievesNext = "a FIN is believed although its alleged sender goes on to use its number"
	Cookies      = "SYN cookies are not told by a SYN+ACK that is never repeated"
)

// is reports whether the entry is of a story, by name and family.
func (k *Known) is(story string) bool {
	return story == k.Story+"/"+k.Family || k.Family == "*" && strings.HasPrefix(story, k.Story+"/")
}

// Knows has the tally log what is known to differ. When the test ends, an entry
// whose stories were played, and missed nothing, has gone stale, and fails it.
func (n *Tally) Knows(t *testing.T, plays []*Play, list []Known) {
	n.known = list
	t.Cleanup(func() {
		for _, k := range list {
			found, judged, missed := false, false, false
			for _, p := range plays {
				if name := p.Script.Name; k.is(name) {
					found, judged = true, judged || n.judged[name]
					missed = missed || n.missed[name+" "+k.Check]
				}
			}
			if !found || judged && !missed {
				t.Errorf("%s/%s: no %s differ, or there is no such story: %s", k.Story, k.Family, k.Check, k.What)
			}
		}
	})
}

// A Difference is a way in which the tracker's rules differ from a stack's.
type Difference struct {
	Why   string
	Is    func(m *oracle.Miss) bool
	Share float64 // of what is compared, at most
	seen  []string
}

// Times returns how often the difference was met.
func (d *Difference) Times() int { return len(d.seen) }

// Complain reports that a story misses something of a check: as an error, or to
// the log if that is known.
func (n *Tally) Complain(t *testing.T, p *Play, check string, m *oracle.Miss) (known bool) {
	t.Helper()
	n.missed[p.Script.Name+" "+check] = true
	for _, k := range n.known {
		if k.is(p.Script.Name) && k.Check == check {
			t.Logf("known: %s: %s\n%v", k.What, k.Why, m)
			return true
		}
	}
	for _, d := range n.Differences {
		if d.Is(m) {
			d.seen = append(d.seen, m.Story)
			t.Logf("known: %s\n%v", d.Why, m)
			return true
		}
	}
	if n.Tolerant {
		t.Log(m)
	} else {
		t.Error(m)
	}
	return false
}

// The share of what is compared that one excuse may have. The wire loses up to
// 15 % of the segments of a conversation; a firm state needs an excuse rarely.
const (
	mostStates    = 0.05
	mostFirm      = 0.02
	mostHistories = 0.1
)

// NewTally begins to count, and prints the figures when the test ends.
func NewTally(t *testing.T) *Tally {
	n := Tally{judged: map[string]bool{}, missed: map[string]bool{}}
	for _, c := range []*count{&n.states, &n.firm, &n.histories} {
		c.excused = map[oracle.Excuse]int{}
	}
	t.Cleanup(func() {
		t.Logf("states at quiet moments: %v", &n.states)
		t.Logf("firm states: %v", &n.firm)
		t.Logf("histories: %v", &n.histories)
		for _, c := range []struct {
			count
			share float64
		}{{n.states, mostStates}, {n.firm, mostFirm}, {n.histories, mostHistories}} {
			for excuse, times := range c.excused {
				if most := max(5, c.share*float64(c.all)); float64(times) > most {
					t.Errorf("excused %d times that %q, want at most %.0f", times, excuse, most)
				}
			}
		}
		for _, d := range n.Differences {
			if d.Times() > 0 {
				t.Logf("known: %d times: %s: %s", d.Times(), d.Why, strings.Join(slices.Compact(slices.Clone(d.seen)), " "))
			}
		}
	})
	return &n
}

// Judge compares the tracker with the truth of a story, and has more judge it too.
func (n *Tally) Judge(t *testing.T, p *Play, more func(c *oracle.Case)) {
	if *keepDir != "" {
		keep(t, p, filepath.Join(*keepDir, strings.ReplaceAll(p.Script.Name, "/", "-")+time.Now().Format("-150405")))
	}
	if p.Takes > 1 {
		t.Logf("this is take %d: before, the hosts did not do as told", p.Takes)
	}
	if errors.Is(p.Err, errors.ErrUnsupported) {
		t.Skipf("SKIPPED: %v", p.Err)
	}
	if p.Err != nil {
		t.Error(p.Err)
		fail(t, p, oracle.Miss{}, p.Err)
		return
	}
	c, err := oracle.Load(p.Dir)
	if err != nil {
		t.Fatal(err)
	}
	n.judged[p.Script.Name] = true
	var first *oracle.Miss
	add := func(check string, to *count, compare func() (int, []oracle.Miss)) {
		all, misses := compare()
		to.all += all
		for i := range misses {
			m := &misses[i]
			switch {
			case m.Excuse != "":
				n.missed[p.Script.Name+" "+check] = true
				to.excused[m.Excuse]++
				to.undecided++
				t.Log(m)
			case n.Complain(t, p, check, m):
				to.known++
			default:
				to.wrong++
				if first == nil {
					first = m
				}
			}
		}
	}
	add("states", &n.states, c.States)
	add("firm states", &n.firm, func() (int, []oracle.Miss) {
		all, _, misses := c.Firm()
		return all, misses
	})
	add("histories", &n.histories, c.Histories)
	more(c)
	if t.Failed() || first != nil {
		if first == nil {
			fail(t, p, oracle.Miss{}, "its anomalies")
		} else {
			fail(t, p, *first, first)
		}
	}
}

// fail keeps what a story left, and shows the ladder up to the first miss.
func fail(t *testing.T, p *Play, m oracle.Miss, what any) {
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

// Bound fails the test if more differs than the flags tolerate, or than is known.
func (n *Tally) Bound(t *testing.T) {
	wrong, all := 0, 0
	for _, c := range []count{n.states, n.firm, n.histories} {
		wrong, all = wrong+c.wrong, all+c.all
	}
	if float64(wrong) > *tolerate*float64(all) {
		t.Errorf("%d of %d states, firm states and histories differ, at most %g of them may", wrong, all, *tolerate)
	}
	for _, d := range n.Differences {
		if float64(d.Times()) > d.Share*float64(all) {
			t.Errorf("%d of %d states, firm states and histories differ, at most %g of them may: %s", d.Times(), all, d.Share, d.Why)
		}
	}
}
