//go:build unix

// Command mutants asks the tests of the inference which faults they would not
// see. It puts one fault at a time into a package, runs its tests, and names
// the faults that pass them.
//
//	go run ./cmd/mutants                                # all, some hours
//	go run ./cmd/mutants -only 'conn/received.go .*heard' # those whose file and name match
//	go run ./cmd/mutants -sample 100 -limit 4m -seed "$(git rev-parse HEAD)"
//
// All mutants of a package are built into one test program, each a branch of
// its function, and a file says which of them is on; so a mutant costs its
// tests alone. A mutant is run with the quick tests first, with the slow ones
// if it passes those. One in code that no test reaches is not run.
//
// The faults: a condition or an operand of && and || is true or false, an
// operator of order takes in the bound or leaves it out, another comparison is
// turned round, + and - are swapped, a call or an assignment is left out, zero
// values are returned.
//
// accepted.txt lists the mutants that may survive, each with the reason: "same",
// it does what the original does; "time", it costs time alone; "open", a test is
// still to be written. It fails a run that a mutant survives that is not listed,
// or that a listed one is killed or is none.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A target is a package that is mutated, with the tests that may see it, in the
// order in which they are run: the quick ones that see most come first. Those of
// memory and allocations are left out: they measure what the branches cost.
type target struct {
	dir    string
	stages []tests
}

var targets = []target{
	{"tracker/tcp", []tests{
		{"tracker/tcp", "-test.run=."},
		{"tracker", "-test.run=^TestLadders$"},
	}},
	{"tracker/internal/conn", ofTracker("tracker/internal/conn")},
	{"tracker/anomaly", ofTracker("tracker/anomaly")},
	{"tracker/anomaly/opening", ofTracker()},
	{"tracker/anomaly/closing", ofTracker()},
	{"tracker/anomaly/timewait", ofTracker()},
	{"tracker/anomaly/resets", ofTracker()},
	{"tracker/anomaly/established", ofTracker()},
	{"tracker/anomaly/captures", ofTracker()},
	{"tracker/crossflow", ofTracker("tracker/crossflow")},
	{"tracker", ofTracker()},
	{"report/policy", []tests{
		{"report/policy", "-test.run=."},
		{"cmd", "-test.run=^TestScripts$/^(check|policy|baseline|bounds|where)$"},
	}},
}

// ofTracker returns the tests of the packages that make up the tracker: those of
// the package itself, then those of the whole.
func ofTracker(own ...string) (stages []tests) {
	for _, dir := range own {
		stages = append(stages, tests{dir, "-test.run=."})
	}
	return append(stages,
		tests{"tracker", "-test.run=^TestLadders$"},
		tests{"tracker", "-test.skip=^(TestLadders|TestTruth|TestEdges.*|Test.*Kernels|TestHeap.*|TestEveryday.*)$"},
		tests{"tracker", "-test.run=^(TestTruth|TestEdges.*|Test.*Kernels)$"},
	)
}

// tests are some of the tests of a package.
type tests struct{ dir, which string }

//go:embed accepted.txt
var acceptedText string

func main() {
	var r run
	only := flag.String("only", "", "run the mutants whose file and name match the `pattern`")
	flag.IntVar(&r.sample, "sample", 0, "run `n` mutants of each package, chosen at random from those not accepted")
	flag.DurationVar(&r.limit, "limit", 1000*time.Hour, "run no more mutants after so `long`, the time to build them apart")
	flag.StringVar(&r.seed, "seed", time.Now().Format(time.DateOnly), "the `text` that the order follows from")
	flag.IntVar(&r.stages, "stages", 9, "run the first `n` stages of tests alone, to find what to look at")
	flag.BoolVar(&r.verbose, "v", false, "name the killed as well")
	flag.BoolVar(&r.list, "list", false, "name the mutants, and run none")
	flag.Parse()
	r.only = regexp.MustCompile(*only)
	if err := r.all(); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// A run is what the command line asks for.
type run struct {
	only           *regexp.Regexp
	sample, stages int
	limit          time.Duration
	seed           string
	list, verbose  bool

	root, tmp string
	accepted  map[string]bool
	known     map[string]bool // names of mutants
	jobs      []job
	patience  map[tests]time.Duration
}

// A job is a mutant that is to be run.
type job struct {
	*mutant
	target
	number  int
	covered bool
}

func (r *run) all() (err error) {
	if r.root, err = os.Getwd(); err != nil {
		return err
	}
	if r.tmp, err = os.MkdirTemp("", "mutants"); err != nil {
		return err
	}
	defer os.RemoveAll(r.tmp)
	r.accepted, r.known, r.patience = map[string]bool{}, map[string]bool{}, map[tests]time.Duration{}
	for line := range strings.Lines(acceptedText) {
		name, reason, ok := strings.Cut(strings.TrimSpace(line), "  # ")
		if !ok || reason == "" {
			return fmt.Errorf("accepted.txt: no reason: %s", line)
		}
		r.accepted[name] = true
	}
	for _, t := range targets {
		if err := r.prepare(t); err != nil {
			return fmt.Errorf("%s: %w", t.dir, err)
		}
	}
	return r.judge(time.Now().Add(r.limit))
}

// prepare finds the mutants of a package and builds the programs that test them.
func (r *run) prepare(t target) error {
	files, err := filepath.Glob(filepath.Join(t.dir, "*.go"))
	if err != nil {
		return err
	}
	files = slices.DeleteFunc(files, func(file string) bool { return strings.HasSuffix(file, "_test.go") })
	functions, names := map[string][]function{}, map[string]int{}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if functions[file], err = find(file, path.Base(t.dir), src, names); err != nil {
			return err
		}
	}
	r.choose(functions)
	for {
		mutants, err := r.overlay(t, files, functions)
		if err != nil || r.list || len(mutants) == 0 {
			return err
		}
		out, err := exec.Command("go", "build", "-gcflags=-e", "-overlay="+r.path("overlay.json"), "./"+t.dir).CombinedOutput()
		if err == nil {
			return r.build(t, mutants)
		}
		if !r.discard(functions, string(out)) {
			return fmt.Errorf("%w\n%s", err, out)
		}
	}
}

// choose leaves the functions those mutants that are to be run.
func (r *run) choose(functions map[string][]function) {
	var chosen []*mutant
	for _, m := range all(functions) {
		r.known[m.name] = true
		if r.only.MatchString(m.file+" "+m.name) && !(r.sample > 0 && r.accepted[m.name]) {
			chosen = append(chosen, m)
		}
	}
	if r.sample > 0 && len(chosen) > 0 {
		h := fnv.New64()
		h.Write([]byte(r.seed))
		rand.New(rand.NewPCG(h.Sum64(), 0)).Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
		chosen = chosen[:min(r.sample, len(chosen))]
		fmt.Printf("%d mutants by -seed %s\n", len(chosen), r.seed)
	}
	keep := map[*mutant]bool{}
	for _, m := range chosen {
		keep[m] = true
		if r.list {
			fmt.Println(m.file, m.name)
		}
	}
	remove(functions, func(m *mutant) bool { return !keep[m] })
}

// all returns the mutants in the order of their files.
func all(functions map[string][]function) (mutants []*mutant) {
	for _, file := range slices.Sorted(maps.Keys(functions)) {
		for _, fn := range functions[file] {
			mutants = append(mutants, fn.mutants...)
		}
	}
	return mutants
}

// remove takes away mutants, and functions that have none.
func remove(functions map[string][]function, gone func(*mutant) bool) {
	for file, list := range functions {
		for i := range list {
			list[i].mutants = slices.DeleteFunc(list[i].mutants, gone)
		}
		functions[file] = slices.DeleteFunc(list, func(fn function) bool { return len(fn.mutants) == 0 })
	}
}

func (r *run) path(name string) string {
	return filepath.Join(r.tmp, strings.ReplaceAll(name, "/", "-"))
}

// overlay writes the files of the package with all mutants, and what tells
// which of them is on. It returns the mutants in the order of their numbers.
func (r *run) overlay(t target, files []string, functions map[string][]function) (mutants []*mutant, err error) {
	replace := map[string]string{}
	put := func(file string, text []byte) {
		replace[filepath.Join(r.root, file)] = r.path(file)
		err = errors.Join(err, os.WriteFile(r.path(file), text, 0o600))
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		put(file, together(src, functions[file], func(m *mutant) int {
			mutants = append(mutants, m)
			return len(mutants)
		}))
	}
	put(filepath.Join(t.dir, "mutant_on.go"), fmt.Appendf(nil, `package %s

import (
	"os"
	"strconv"
)

var mutantOn = func() int {
	text, _ := os.ReadFile(%q)
	n, _ := strconv.Atoi(string(text))
	return n
}()
`, path.Base(t.dir), r.path("on-"+t.dir)))
	text, _ := json.Marshal(map[string]any{"Replace": replace})
	return mutants, errors.Join(err, os.WriteFile(r.path("overlay.json"), text, 0o600))
}

// discard takes away the mutants that the compiler rejects.
func (r *run) discard(functions map[string][]function, complaints string) (some bool) {
	wrong := map[string]bool{}
	for _, complaint := range regexp.MustCompile(`(?m)^(\S+/)(\S+\.go:\d+)`).FindAllStringSubmatch(complaints, -1) {
		if dir, _ := filepath.Abs(complaint[1]); dir == r.tmp {
			wrong[filepath.Join(dir, complaint[2])] = true
		}
	}
	remove(functions, func(m *mutant) (is bool) {
		for line := m.first; line <= m.last; line++ {
			is = is || wrong[fmt.Sprintf("%s:%d", r.path(m.file), line)]
		}
		some = some || is
		return is
	})
	return some
}

// build builds the programs, sees that they pass without a mutant, and puts the
// mutants among the jobs.
func (r *run) build(t target, mutants []*mutant) error {
	reached := &coverage{}
	for _, some := range t.stages[:min(r.stages, len(t.stages))] {
		if out, err := exec.Command("go", "test", "-c", "-o", r.program(t, some), "-overlay="+r.path("overlay.json"), "./"+some.dir).CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		begin := time.Now()
		r.patience[some] = 10 * time.Minute
		if passed, out := r.test(job{target: t}, some); !passed {
			return fmt.Errorf("the tests fail without a mutant:\n%s", out)
		}
		r.patience[some] = 4*time.Since(begin) + 5*time.Second
		if some.dir == "cmd" { // programs that tests start do not say what they reach
			reached = nil
		} else if err := reached.measure(t, some, r.path("cover")); err != nil {
			return err
		}
	}
	for i, m := range mutants {
		r.jobs = append(r.jobs, job{m, t, i + 1, reached.has(m.at)})
	}
	return nil
}

func (r *run) program(t target, some tests) string { return r.path(t.dir + "-" + some.dir + ".test") }

// test runs some of the tests with the mutant, in bounded time and memory.
func (r *run) test(j job, some tests) (passed bool, out []byte) {
	if err := os.WriteFile(r.path("on-"+j.dir), []byte(strconv.Itoa(j.number)), 0o600); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.patience[some])
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", `ulimit -v 8000000; exec "$@"`, "sh", r.program(j.target, some), "-test.short", "-test.failfast", some.which)
	cmd.Dir, cmd.WaitDelay = some.dir, time.Second
	out, err := cmd.CombinedOutput()
	return err == nil, out
}

// judge runs the mutants and reports those that the tests do not see.
func (r *run) judge(end time.Time) error {
	counts, unseen, stale := map[string]int{}, 0, 0
	for _, j := range r.jobs {
		accepted := r.accepted[j.name]
		if time.Now().After(end) {
			break
		}
		verdict := r.verdict(j)
		counts[verdict]++
		switch {
		case accepted && verdict == "killed":
			verdict, stale = "listed as accepted, but killed", stale+1
		case accepted:
			continue
		case verdict == "survives":
			unseen++
		}
		if verdict != "killed" || r.verbose {
			fmt.Printf("%s: %s:%d %s\n", verdict, j.file, j.at.Line, j.name)
		}
	}
	for name := range r.accepted {
		if !r.known[name] {
			fmt.Println("listed as accepted, but no mutant:", name)
			stale++
		}
	}
	fmt.Println(counts)
	if ran := counts["killed"] + counts["survives"]; ran < len(r.jobs)/4 {
		return fmt.Errorf("only %d of %d mutants were run before the time was over, which says nothing", ran, len(r.jobs))
	}
	if unseen+stale > 0 {
		return fmt.Errorf("%d mutants that no test sees, %d stale lines in accepted.txt", unseen, stale)
	}
	return nil
}

func (r *run) verdict(j job) string {
	if !j.covered {
		return "not reached"
	}
	for _, some := range j.stages[:min(r.stages, len(j.stages))] {
		if passed, _ := r.test(j, some); !passed {
			return "killed"
		}
	}
	return "survives"
}
