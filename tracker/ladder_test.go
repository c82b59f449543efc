package tracker_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/crossflow"
	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A ladder is a connection drawn as RFC 9293 §3.5 draws it: two ends, the
// segments between them, and beside every segment the states of both ends after
// it. Here each rung is what the tap captured; a cell reads PROVED..ASSUMED, or
// one state where the views agree.
//
//	 1.          CLOSED                                               LISTEN
//	 2.          SYN-SENT              --> <SEQ=100><CTL=SYN>      --> LISTEN..SYN-RECEIVED
//	 3. +0.250   SYN-SENT..ESTABLISHED <-- <SEQ=300><ACK=101>...   <-- SYN-RECEIVED
//	 4. +60      CLOSED                    (2 MSL)                     CLOSED
//
// <SRC=192.0.2.1:80> and <DST=...> make it a segment of another connection; the
// cells are still those of the ladder's.
//
// A rung that reads (nothing more is captured) ends the capture, and time runs on
// behind it as --at has it.
//
// "withdrawn:" before a kind says that one found before is taken back.
//
// A rung that reads (end of capture) closes the tracker; its cells are what was
// known before.
//
// Below the last rung "= KIND: TEXT" says what is told at the end of the anomaly of
// that kind.
//
// A number with + is the seconds since the rung before; without it 1 ms pass. A
// rung without a segment lets time pass; the one that says "(end of the
// capture)" is judged as Close would. A line that begins with "!" names the
// anomalies that the rung above raises; one that begins with "~" says why the
// segment of the rung above was not taken in, by a name of tcp.Skip. Lines that
// begin with "#" are comments.
// Above the rungs may stand what else the tracker is told:
//
//	stack: NAME                                the profile of both ends
//	2msl: 30s                                  how long TIME-WAIT is held, if not as the stack does
//	leak-after: 20s                            after how long CLOSE-WAIT is called stuck, if not as usual
//	peers: 192.0.2.1:49152 198.51.100.1:80     the addresses of A and B
//	ends: one                                  A sends all to itself
//	begin: 2026-01-02T03:04:05.000000001Z      the time of the first rung
//
// "repeat: N clients|servers|client-ports|server-ports [+SECONDS]" plays the
// ladder N times, each time with the next address or port of that end and
// SECONDS (a millisecond) after the last rung of the time before. Cells and
// anomalies are those of the last time; what the Detector finds in all of them
// stands below the last rung. A pause may be written with - instead of +: the
// clock of the capture then steps back.
//
// UPDATE=1 rewrites the cells, the anomalies and the reasons with what the tracker
// says.
// Commit such a change only if you understand what caused it.

var (
	peerA = netip.MustParseAddrPort("192.0.2.1:49152")
	peerB = netip.MustParseAddrPort("198.51.100.1:80")
)

// ladderDirs are where the ladders are: the RFCs' figures, one for every row of
// the table that they do not reach, what the two views make of a capture, the
// anomalies with their innocent neighbours, and what a receiver refuses, with
// what it only just takes. Those in testdata/explained
// are what "tcpwatch explain --absolute --all" prints of captures.
var ladderDirs = []string{"rfc9293", "rfc1337", "states", "views", "anomaly", "gate"}

const (
	endOfCapture = "(end of the capture)"
	endOfPackets = "(nothing more is captured)"
)

type rung struct {
	line    int
	number  string
	pause   time.Duration
	cells   [2]string
	fromA   bool
	leg     leg
	segment *tcp.Segment
	text    string // of the segment, or the comment in parentheses
	odd     []string
	skipped string         // why the segment was not taken in; "": it was
	src     netip.AddrPort // of the segment, if others than those of the ladder
	dst     netip.AddrPort
}

var addressForm = regexp.MustCompile(`<(SRC|DST)=([^<>]*)>`)

// readAddresses reads <SRC=address> and <DST=address> of a segment that is of
// another connection than the ladder's, and returns the rest.
func (r *rung) readAddresses(text string) (rest string, err error) {
	for _, m := range addressForm.FindAllStringSubmatch(text, -1) {
		to := &r.src
		if m[1] == "DST" {
			to = &r.dst
		}
		if *to, err = netip.ParseAddrPort(m[2]); err != nil {
			return "", err
		}
	}
	return addressForm.ReplaceAllString(text, ""), nil
}

type ladder struct {
	head   []string // the lines before the first rung
	config tracker.Config
	peers  [2]netip.AddrPort
	begin  tcp.Time
	rungs  []rung

	hidden bool // among other traffic

	told []string // "KIND: what is told of it at the end"

	times int    // that the ladder is played
	each  string // what is another each time
	every time.Duration
}

// parseRepeat reads the line "repeat:".
func (l *ladder) parseRepeat(text string) error {
	var seconds float64
	n, err := fmt.Sscanf(text, "%d %s +%g", &l.times, &l.each, &seconds)
	if n == 3 {
		l.every = time.Duration(seconds * float64(time.Second))
	}
	if n < 2 || !slices.Contains([]string{"clients", "servers", "client-ports", "server-ports"}, l.each) {
		return fmt.Errorf("repeat: N clients|servers|client-ports|server-ports [+SECONDS]: %w", err)
	}
	return nil
}

// peersOf returns the two ends of the ladder when it is played for the given
// time, from 0.
func (l *ladder) peersOf(time int) (a, b netip.AddrPort) {
	host := func(p netip.AddrPort) netip.AddrPort {
		ip := p.Addr().As4()
		binary.BigEndian.PutUint32(ip[:], binary.BigEndian.Uint32(ip[:])+uint32(time))
		return netip.AddrPortFrom(netip.AddrFrom4(ip), p.Port())
	}
	port := func(p netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(p.Addr(), p.Port()+uint16(time)) }
	switch a, b = l.peers[0], l.peers[1]; l.each {
	case "clients":
		return host(a), b
	case "servers":
		return a, host(b)
	case "client-ports":
		return port(a), b
	case "server-ports":
		return a, port(b)
	}
	return a, b
}

var rungForm = regexp.MustCompile(`^\s*([0-9a-z.]+\.)(?:\s+([+-][0-9.]+))?\s+(?:([A-Z][A-Z0-9.-]*)\s+)?(?:(-->|<--|\.\.\.|\?\?\?|\+\+\+|XXX)\s*)?((?:<[^<>]*>)+|\(.*\))?(?:\s*(-->|<--|\.\.\.|\?\?\?|\+\+\+|XXX))?(?:\s+([A-Z0-9.-]+))?\s*$`)

func parseLadder(text string) (ladder, error) {
	l := ladder{peers: [2]netip.AddrPort{peerA, peerB}, begin: 1_000_000 * tcp.Second, config: tracker.Config{Stack: "linux"}, times: 1, every: time.Millisecond}
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		bare := strings.TrimSpace(line)
		if odd, ok := strings.CutPrefix(bare, "!"); ok && len(l.rungs) > 0 {
			last := &l.rungs[len(l.rungs)-1]
			last.odd = append(last.odd, strings.Fields(odd)...)
			continue
		}
		if why, ok := strings.CutPrefix(bare, "~"); ok && len(l.rungs) > 0 {
			l.rungs[len(l.rungs)-1].skipped = strings.TrimSpace(why)
			continue
		}
		if told, ok := strings.CutPrefix(bare, "= "); ok {
			l.told = append(l.told, told)
			continue
		}
		if err := l.parseHead(bare); err != nil {
			return l, fmt.Errorf("line %d: %w", i+1, err)
		}
		m := rungForm.FindStringSubmatch(line)
		if m == nil || strings.HasPrefix(bare, "#") {
			if len(l.rungs) > 0 && bare != "" && !strings.HasPrefix(bare, "#") {
				return l, fmt.Errorf("line %d is no rung: %s", i+1, line)
			}
			if len(l.rungs) == 0 {
				l.head = append(l.head, line)
			}
			continue
		}
		r := rung{line: i + 1, number: m[1], pause: time.Millisecond, cells: [2]string{m[3], m[7]}, text: m[5]}
		if m[2] != "" {
			pause, err := time.ParseDuration(m[2] + "s")
			if err != nil {
				return l, fmt.Errorf("line %d: %w", i+1, err)
			}
			r.pause = pause
		}
		if strings.HasPrefix(r.text, "<") {
			var err error
			if r.leg, r.fromA, err = parseLeg(m[4], m[6]); err != nil {
				return l, fmt.Errorf("line %d: %w", i+1, err)
			}
			bare, err := r.readAddresses(r.text)
			if err != nil {
				return l, fmt.Errorf("line %d: %w", i+1, err)
			}
			s, err := tcp.ParseSegment(bare)
			if err != nil {
				return l, fmt.Errorf("line %d: %w", i+1, err)
			}
			r.segment = &s
		}
		l.rungs = append(l.rungs, r)
	}
	return l, nil
}

// parseHead reads what the tracker is told beside the rungs.
func (l *ladder) parseHead(line string) (err error) {
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	switch name {
	case "stack":
		l.config.Stack = value
	case "2msl":
		l.config.TwoMSL, err = time.ParseDuration(value)
	case "leak-after":
		l.config.LeakAfter, err = time.ParseDuration(value)
	case "peers":
		a, b, _ := strings.Cut(value, " ")
		if l.peers[0], err = netip.ParseAddrPort(a); err == nil {
			l.peers[1], err = netip.ParseAddrPort(strings.TrimSpace(b))
		}
	case "ends":
		l.peers[1] = l.peers[0]
	case "begin":
		var at time.Time
		at, err = time.Parse(time.RFC3339Nano, value)
		l.begin = tcp.Time(at.UnixNano())
	case "repeat":
		err = l.parseRepeat(value)
	}
	return err
}

// play runs the ladder and calls after with each rung's index and the anomalies
// that it raised, the last time that it is played.
func (l ladder) play(t *testing.T, after func(tk *tracker.Tracker, i int, odd []string)) {
	l.playWith(t, func(tk *tracker.Tracker, i int, odd []string, _ tcp.Skip) { after(tk, i, odd) })
}

// playWith is play, and tells too why the segment of each rung was not taken in.
func (l ladder) playWith(t *testing.T, after func(tk *tracker.Tracker, i int, odd []string, skipped tcp.Skip)) {
	var odd, crowded []string
	var skipped tcp.Skip
	l.config.Segments = true
	l.run(t, func(e *tracker.Event) {
		switch {
		case e.Kind == tracker.EventSegment && e.Packet != 0:
			skipped = e.Skipped
		case e.Kind != tracker.EventAnomaly:
		case e.Anomaly.Addr.IsValid():
			crowded = append(crowded, e.Anomaly.Kind)
		default:
			kind := e.Anomaly.Kind
			if e.Anomaly.Withdrawn {
				kind = "withdrawn:" + kind
			}
			odd = append(odd, kind)
		}
	}, func(tk *tracker.Tracker, n, i int) {
		if n == l.times-1 {
			if i == len(l.rungs)-1 {
				odd = append(odd, crowded...)
			}
			after(tk, i, odd, skipped)
		}
		odd, skipped = nil, tcp.NotSkipped
	})
}

// run plays the ladder as often as it says, with a Detector behind the Tracker,
// and calls after with the number of the time, from 0, and of the rung.
func (l ladder) run(t *testing.T, emit func(*tracker.Event), after func(tk *tracker.Tracker, n, i int)) {
	detector := crossflow.New(emit)
	tk, err := tracker.New(l.config, detector.Event)
	if err != nil {
		t.Fatal(err)
	}
	if l.hidden {
		tk.Machine().Recent.Share(1)
	}
	now, frames := l.begin, 0
	passages, begun := l.passages(), false
	for n := range l.times {
		a, b := l.peersOf(n)
		for i, r := range l.rungs {
			switch {
			case i > 0:
				now = now.Add(r.pause)
			case n > 0:
				now = now.Add(l.every)
			}
			if r.segment != nil {
				s := *cmp.Or(passages[i].as, r.segment)
				s.Time, s.Src, s.Dst = now, a, b
				if !r.fromA {
					s.Src, s.Dst = s.Dst, s.Src
				}
				l.shift(&s, tcp.Size(n)<<20)
				if r.src.IsValid() && r.leg.leg != tcp.Neared {
					s.Src = r.src
				}
				if r.dst.IsValid() && r.leg.leg != tcp.Neared {
					s.Dst = r.dst
				}
				passages[i].pass(&s, r.leg)
				s.Packet += frames
				tk.Observe(&s)
			}
			tk.Advance(now)
			if r.text == endOfPackets {
				tk.Ends(now)
			}
			if r.text == endOfCapture {
				k, _ := flow.KeyOf(&tcp.Segment{Src: a, Dst: b})
				for c := tk.Machine().NewestOf(k); c != nil; c = c.Older() {
					tk.Machine().Ended(c)
				}
			}
			if n == l.times-1 && i == len(l.rungs)-1 {
				detector.Close()
			}
			if begun = begun || passages[i].packet > 0; begun {
				after(tk, n, i)
			}
		}
		last := 0
		for _, p := range passages {
			last = max(last, p.packet)
		}
		frames += last
	}
}

// shift gives the segment other numbers, as each connection draws its own.
func (l *ladder) shift(s *tcp.Segment, by tcp.Size) {
	if s.Seq != 0 {
		s.Seq = s.Seq.Add(by)
	}
	if s.Ack != 0 {
		s.Ack = s.Ack.Add(by)
	}
	for i := range s.Options.SACK[:s.Options.NumSACK] {
		b := &s.Options.SACK[i]
		b.Left, b.Right = b.Left.Add(by), b.Right.Add(by)
	}
}

// cell returns what both views say of the host on the left or the right, as it
// is when the ladder is played for the last time.
func (l *ladder) cell(t *tracker.Tracker, right bool) string {
	k, low := l.key()
	views := tcp.Views{State: tcp.Closed, Proved: tcp.Closed}
	if newest := t.Machine().NewestOf(k); newest != nil {
		views = t.Machine().Socket(newest, newest.EndOf(low != right))
	}
	if views.Proved == views.State {
		return views.State.RFC()
	}
	return views.Proved.RFC() + ".." + views.State.RFC()
}

// key is the flow of the ladder when it is played for the last time, and
// whether A is its lower end.
func (l *ladder) key() (flow.Key, bool) {
	a, b := l.peersOf(l.times - 1)
	return flow.KeyOf(&tcp.Segment{Src: a, Dst: b})
}

// ladders runs every ladder of the directory.
func ladders(t *testing.T, dir string, f func(t *testing.T, file string, l ladder)) {
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no ladders in testdata/%s: %v", dir, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		l, err := parseLadder(string(text))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { f(t, file, l) })
	}
}

// write prints the ladder as its file has it.
func (l ladder) write() []byte {
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	for _, line := range l.head {
		fmt.Fprintln(w, line)
	}
	left, middle := 0, 0
	for _, r := range l.rungs {
		left, middle = max(left, len(r.cells[0])), max(middle, len(r.text))
	}
	for _, r := range l.rungs {
		pause := ""
		if r.pause != time.Millisecond {
			pause = strconv.FormatFloat(r.pause.Seconds(), 'f', -1, 64)
			if r.pause >= 0 {
				pause = "+" + pause
			}
		}
		arrows := [2]string{"   ", "   "}
		if r.segment != nil {
			arrows = r.leg.arrows
		}
		line := fmt.Sprintf("%4s %-7s %-*s %s %-*s %s %s", r.number, pause, left, r.cells[0], arrows[0], middle, r.text, arrows[1], r.cells[1])
		fmt.Fprintln(w, strings.TrimRight(line, " "))
		if len(r.odd) > 0 {
			fmt.Fprintf(w, "     ! %s\n", strings.Join(r.odd, " "))
		}
		if r.skipped != "" {
			fmt.Fprintf(w, "     ~ %s\n", r.skipped)
		}
	}
	for _, told := range l.told {
		fmt.Fprintf(w, "     = %s\n", told)
	}
	w.Flush()
	return b.Bytes()
}

// tells returns what the tracker tells of the anomalies that the ladder names, as
// its file has it.
func (l *ladder) tells(tk *tracker.Tracker) (list []string) {
	key, _ := l.key()
	for _, told := range l.told {
		kind, _, _ := strings.Cut(told, ":")
		text := ""
		for c := tk.Machine().NewestOf(key); c != nil; c = c.Older() {
			for _, a := range tk.Book().Of(c) {
				if a.Kind == kind {
					text = a.Text
				}
			}
		}
		list = append(list, kind+": "+text)
	}
	return list
}

func TestLadders(t *testing.T) {
	for _, dir := range append([]string{"explained"}, ladderDirs...) {
		update := os.Getenv("UPDATE") != ""
		if update && dir == "explained" {
			continue // TestExplained of package cmd writes them
		}
		ladders(t, dir, func(t *testing.T, file string, l ladder) {
			l.playWith(t, func(tk *tracker.Tracker, i int, odd []string, why tcp.Skip) {
				r, cells, skipped := &l.rungs[i], [2]string{l.cell(tk, false), l.cell(tk, true)}, why.Name()
				var tells []string
				if i == len(l.rungs)-1 {
					tells = l.tells(tk)
				}
				if update && tells != nil {
					l.told = tells
				}
				if update {
					r.cells, r.odd, r.skipped = cells, odd, skipped
					return
				}
				if cells != r.cells {
					t.Errorf("%s:%d: states are %s and %s, want %s and %s", file, r.line, cells[0], cells[1], r.cells[0], r.cells[1])
				}
				if i == len(l.rungs)-1 && !slices.Equal(tells, l.told) {
					t.Errorf("%s: at the end is told %q, want %q", file, tells, l.told)
				}
				if !slices.Equal(odd, r.odd) {
					t.Errorf("%s:%d: anomalies are %v, want %v", file, r.line, odd, r.odd)
				}
				if dir != "explained" && skipped != r.skipped { // those there are comments
					t.Errorf("%s:%d: the segment is skipped as %q, want %q", file, r.line, skipped, r.skipped)
				}
			})
			if update {
				if err := os.WriteFile(file, l.write(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
