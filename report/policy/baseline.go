package policy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/check"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A baseline is a text that people read and diff tools compare: of each capture,
// by its name without the folder, the connections and the anomalies, alike ones
// counted, without times and numbers of packets. The client's port is masked, since
// it is another in every run; the server's is kept: it names the service.
//
//	# tcpwatch check: what captures showed; --baseline FILE --update writes it anew
//	normal-close.pcap
//	  1 10.9.0.1:* TIME_WAIT, 10.9.0.2:7000 CLOSED?, from syn, ended: client
//	  2 10.9.0.1:* CLOSED, 10.9.0.2:7052 CLOSED, from syn, ended: refused; connection-refused
//
// A "?" marks a state that is only assumed.

const baselineHead = "# tcpwatch check: what captures showed; --baseline FILE --update writes it anew"

// maxBaseline bounds the size of a baseline, in octets.
const maxBaseline = 64 << 20

// A Baseline is what captures showed.
type Baseline struct {
	path   string
	update bool
	shapes map[string]*Shape // by name
	given  int               // captures of this run
}

// A Shape is what one capture shows: lines, how often each is there, and in which
// states the ends of connections of that line may be besides.
type Shape struct {
	lines map[string]int
	maybe map[string][2]tcp.StateSet
}

func newShape() *Shape { return &Shape{make(map[string]int), make(map[string][2]tcp.StateSet)} }

// add adds a connection, whose ends may be in other states besides, and returns how many
// octets more that takes.
func (s *Shape) add(c *tracker.Record, others [2][]tcp.State) (octets int64) {
	var ends []string
	for e := range c.Ends {
		x := &c.Ends[e]
		addr := x.Addr.String()
		if tcp.Endpoint(e) == tcp.Client {
			addr = strings.TrimSuffix(addr, strconv.Itoa(int(x.Addr.Port()))) + "*"
		}
		ends = append(ends, addr+" "+text.State(x))
	}
	line := strings.Join(ends, ", ") + ", from " + c.Origin.String()
	if c.ClosedBy == tcp.NotClosed {
		line += ", open"
	} else {
		line += ", ended: " + c.ClosedBy.String()
	}
	kinds := make(map[string]int)
	for i := range c.Anomalies {
		kinds[c.Anomalies[i].Kind]++
	}
	line += kindText(kinds, "; ")
	if s.lines[line]++; s.lines[line] == 1 {
		octets = lineMemory + int64(len(line))
	}
	maybe := s.maybe[line]
	for e := range others {
		for _, state := range others[e] {
			maybe[e] |= state.Set()
		}
	}
	s.maybe[line] = maybe
	return octets
}

// many adds an anomaly over many connections.
func (s *Shape) many(a *anomaly.Anomaly) {
	line := "over many connections: " + a.Kind
	if a.Addr.IsValid() {
		line += " of " + a.Addr.String()
	}
	if a.Port > 0 {
		line += " port " + strconv.Itoa(int(a.Port))
	}
	s.lines[line]++
}

// kindText writes kinds of anomalies and how often each is there.
func kindText(kinds map[string]int, before string) (text string) {
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		text += before + kind
		if n := kinds[kind]; n > 1 {
			text += " x" + strconv.Itoa(n)
		}
		before = ", "
	}
	return text
}

// OpenBaseline reads a baseline for a run over the given captures. With update
// it need not exist.
func OpenBaseline(path string, update bool, captures []string) (*Baseline, error) {
	b := &Baseline{path: path, update: update, shapes: make(map[string]*Shape), given: len(captures)}
	names := make(map[string]string)
	for _, c := range captures {
		if other, taken := names[filepath.Base(c)]; taken {
			return nil, fmt.Errorf("%s and %s have the same name in a baseline", text.Escape(other), text.Escape(c))
		}
		names[filepath.Base(c)] = c
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && update {
		return b, nil
	}
	if err != nil {
		return nil, &Error{File: text.Escape(path), Err: pathless(err)}
	}
	defer f.Close()
	if err := b.read(io.LimitReader(f, maxBaseline)); err != nil {
		return nil, err
	}
	return b, nil
}

// read reads the text of a baseline.
func (b *Baseline) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	var at *Shape
	n := 0
	fault := func(format string, args ...any) error {
		return &Error{File: text.Escape(b.path), Line: n, Err: fmt.Errorf(format, args...)}
	}
	for lines.Scan() {
		n++
		line := strings.TrimRight(lines.Text(), "\r")
		switch {
		case n == 1 && line != baselineHead:
			return fault("not a baseline: its first line must be %q (--update writes one)", baselineHead)
		case line == "" || strings.HasPrefix(line, "#"):
		case !strings.HasPrefix(line, " "):
			if b.shapes[line] != nil {
				return fault("%q appears twice", text.Escape(line))
			}
			at = newShape()
			b.shapes[line] = at
		default:
			count, what, ok := strings.Cut(strings.TrimSpace(line), " ")
			times, err := strconv.Atoi(count)
			if !ok || err != nil || times < 1 || at == nil {
				return fault("not a valid line; use the name of a capture, or below it a count and the description of what was counted")
			}
			at.lines[what] += times
		}
	}
	if err := lines.Err(); err != nil {
		return &Error{File: text.Escape(b.path), Err: pathless(err)}
	}
	if n == 0 {
		return &Error{File: text.Escape(b.path), Err: errors.New("not a baseline: the file is empty (--update writes one)")}
	}
	return nil
}

// Set puts in what a capture shows now.
func (b *Baseline) Set(j *Judge) { b.shapes[nameOf(j.out.Path)] = j.shape }

// nameOf is the name of a capture in a baseline.
func nameOf(path string) string {
	name := text.Escape(strings.TrimSpace(filepath.Base(path)))
	if strings.HasPrefix(name, "#") {
		return `\x23` + name[1:] // no comment
	}
	return name
}

// Write writes the baseline, if it is to be written anew.
func (b *Baseline) Write() error {
	if !b.update {
		return nil
	}
	if err := os.WriteFile(b.path, b.text(), 0o644); err != nil {
		return &Error{File: text.Escape(b.path), Err: pathless(err)}
	}
	return nil
}

// text writes the text of a baseline.
func (b *Baseline) text() []byte {
	var out bytes.Buffer
	fmt.Fprintln(&out, baselineHead)
	for _, name := range slices.Sorted(maps.Keys(b.shapes)) {
		fmt.Fprintln(&out, name)
		shape := b.shapes[name]
		for _, line := range slices.Sorted(maps.Keys(shape.lines)) {
			fmt.Fprintf(&out, "  %d %s\n", shape.lines[line], line)
		}
	}
	return out.Bytes()
}

// of returns what the baseline has of a capture. One capture alone is compared
// with a baseline of one alone, whatever their names.
func (b *Baseline) of(path string) *Shape {
	if s := b.shapes[nameOf(path)]; s != nil {
		return s
	}
	if b.given == 1 && len(b.shapes) == 1 {
		for _, s := range b.shapes {
			return s
		}
	}
	return nil
}

// compare compares the capture with the baseline.
func (j *Judge) compare() {
	b := j.p.baseline
	j.worst = check.Passed
	defer func() { j.out.Tallies[j.p.same].Add(j.worst, 1) }()
	if b.update {
		return
	}
	was := b.of(j.out.Path)
	if was == nil {
		j.found(j.p.same, check.Failed, nil, nil, fmt.Sprintf("it is not in %s (--update adds it)", text.Escape(b.path)))
		return
	}
	before, now := was.plain(), j.shape.plain()
	var gone, come []string
	for line := range before {
		if before[line] > now[line] {
			gone = append(gone, line)
		}
	}
	for line := range now {
		if now[line] > before[line] {
			come = append(come, line)
		}
	}
	slices.Sort(gone)
	slices.Sort(come)
	verdict, note := check.Failed, ""
	if j.sameButAssumed(before, now, gone, come) {
		verdict, note = check.Undecided, " (it is the same if ends are in other possible states)"
	}
	for _, line := range gone {
		j.found(j.p.same, verdict, nil, nil, fmt.Sprintf("-%d %s%s", before[line]-now[line], line, note))
	}
	for _, line := range come {
		j.found(j.p.same, verdict, nil, nil, fmt.Sprintf("+%d %s%s", now[line]-before[line], line, note))
	}
}

// plain returns the lines without the marks of what is assumed.
func (s *Shape) plain() map[string]int {
	lines := make(map[string]int)
	for line, n := range s.lines {
		lines[strings.ReplaceAll(line, "?", "")] += n
	}
	return lines
}

// marked returns the lines with their marks, by the lines without: of several
// the one with the fewest.
func (s *Shape) marked() map[string]string {
	lines := make(map[string]string)
	for _, l := range slices.Sorted(maps.Keys(s.lines)) {
		plain := strings.ReplaceAll(l, "?", "")
		if other, ok := lines[plain]; !ok || len(l) < len(other) {
			lines[plain] = l
		}
	}
	return lines
}

// maxPairs is how many pairs of lines are compared to say that captures differ
// in what is assumed only; where there are more, they differ.
const maxPairs = 1_000_000

// sameButAssumed reports whether every line that is gone can be one that has
// come, with ends in other states that are possible now. How sure the baseline
// was does not count: it says what is expected.
func (j *Judge) sameButAssumed(before, now map[string]int, gone, come []string) bool {
	if len(gone)*len(come) > maxPairs {
		return false
	}
	marked := j.shape.marked()
	left := make(map[string]int)
	for _, line := range come {
		left[line] = now[line] - before[line]
	}
	for _, line := range gone {
		n := before[line] - now[line]
		for _, other := range come {
			if n > 0 && left[other] > 0 && maySame(line, marked[other], j.shape.maybe[marked[other]]) {
				both := min(n, left[other])
				n, left[other] = n-both, left[other]-both
			}
		}
		if n > 0 {
			return false
		}
	}
	for _, n := range left {
		if n > 0 {
			return false
		}
	}
	return true
}

// maySame reports whether a line differs from what was expected only in states of
// the ends, which may be in those besides.
func maySame(want, marked string, maybe [2]tcp.StateSet) bool {
	x, y := strings.SplitN(want, ", ", 3), strings.SplitN(marked, ", ", 3)
	if len(x) != 3 || len(y) != 3 || x[2] != y[2] {
		return false
	}
	for e := range maybe {
		addr, expected, _ := strings.Cut(x[e], " ")
		other, state, _ := strings.Cut(y[e], " ")
		s, err := tcp.ParseState(expected)
		if addr != other || expected != strings.TrimSuffix(state, text.AssumedMark) && (err != nil || !maybe[e].Has(s)) {
			return false
		}
	}
	return true
}
