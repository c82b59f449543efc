package screen

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/tcpwatch/tcpwatch/report/findings"
	"github.com/tcpwatch/tcpwatch/report/internal/replaytest"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// crowd returns a Snapshot of n connections between two hosts, of which every
// tenth is in TIME_WAIT.
func crowd(n int) *record.Snapshot {
	start := tcp.Time(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())
	s := &record.Snapshot{Time: start.Add(time.Hour), Summary: record.Summary{Packets: 9, TCPPackets: 8, Dropped: 7, First: start}}
	for i := range n {
		r := &tracker.Record{Conn: i + 1, Start: start.Add(time.Duration(i) * time.Second), End: start.Add(time.Minute)}
		for e := range r.Ends {
			host := netip.AddrFrom4([4]byte{10, 9, 0, byte(1 + e)})
			r.Ends[e] = tracker.EndRecord{Addr: netip.AddrPortFrom(host, uint16(80+(1-e)*(1000+i%60000))), State: tcp.Established, Certainty: tcp.Proved, Bytes: uint64(i)}
		}
		if i%10 == 0 {
			r.Ends[0].State = tcp.TimeWait
			r.Ends[1].State = tcp.Closed
			r.Anomalies = []anomaly.Anomaly{{Conn: i + 1, Kind: "evil\x1b[2Jkind", Text: "a \x1b]0;title\x07 text", Count: 1, Time: r.End}}
		}
		s.Records = append(s.Records, r)
	}
	return s
}

// at returns a model that shows a Snapshot on a terminal of that size.
func at(t testing.TB, s *record.Snapshot, width, height int) *model {
	t.Helper()
	d, err := New(Options{Report: record.Options{Color: true}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := newModel(record.Options{Color: true}, func() tea.Msg { return nil }, d.watch)
	if err != nil {
		t.Fatal(err)
	}
	m.Update(tea.WindowSizeMsg{Width: width, Height: height})
	m.Update(s)
	return m
}

// press presses keys, each named as bubbletea names it.
func press(m *model, keys ...string) {
	special := map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "tab": tea.KeyTab, "down": tea.KeyDown, "end": tea.KeyEnd, "right": tea.KeyRight, "backspace": tea.KeyBackspace, "pgdown": tea.KeyPgDown}
	for _, k := range keys {
		if code, ok := special[k]; ok {
			m.Update(tea.KeyPressMsg{Code: code})
			continue
		}
		for _, r := range k {
			m.Update(tea.KeyPressMsg{Code: r, Text: string(r)})
		}
	}
}

// screenOf returns the lines that are seen, without colours.
func screenOf(m *model) []string {
	return strings.Split(ansi.Strip(m.View().Content), "\n")
}

// holds fails unless the screen holds all the texts.
func holds(t *testing.T, m *model, texts ...string) {
	t.Helper()
	seen := strings.Join(screenOf(m), "\n")
	for _, text := range texts {
		if !strings.Contains(seen, text) {
			t.Errorf("no %q in\n%s", text, seen)
		}
	}
}

// d leaves what the kernel says otherwise than the packets.
func TestDiffering(t *testing.T) {
	s := crowd(3)
	s.Records[1].Ends[1].Socket = &tcp.Socket{State: tcp.CloseWait, Differs: true}
	m := at(t, s, 160, 24)
	holds(t, m, "Kernel", ">CLOSE_WAIT", ":1081", ":1080")
	press(m, "d")
	if seen := strings.Join(screenOf(m), "\n"); !strings.Contains(seen, ">CLOSE_WAIT") || strings.Contains(seen, ":1080") {
		t.Errorf("it shows\n%s", seen)
	}
	press(m, "d")
	holds(t, m, ":1080")
}

func TestViews(t *testing.T) {
	m := at(t, crowd(30), 120, 24)
	holds(t, m, "both ends", "7 packets dropped by the capture, 30 connections, 8 TCP segments", "States: ESTABLISHED 54", "Client Address", ">   tcp    10.9.0.1:1109")
	press(m, "2")
	holds(t, m, "on 10.9.0.2", "Local Address", "10.9.0.2:80")
	press(m, "2")
	holds(t, m, "on 10.9.0.1", "10.9.0.1:1100", "TIME_WAIT")
	press(m, "3")
	holds(t, m, "listeners", "Handshakes", "nothing")
	press(m, "4")
	holds(t, m, "TIME_WAIT on Server", "3 of 28,232")
	press(m, "5")
	holds(t, m, `evil\x1b[2Jkind`, `a \x1b]0;title\a text`, "10.9.0.2:80      3  59m00s ago", "conn 21 ", "first in conns 1,11,21")
	press(m, "6")
	holds(t, m, "  services  ", "Server Address", "10.9.0.2:80        30    27", "client 3")
	press(m, "6")
	holds(t, m, "  services  ", "Client Address", "10.9.0.1           30    27")
	press(m, "tab")
	holds(t, m, "both ends")
	press(m, "6")
	holds(t, m, "  services  ", "Client Address")
	press(m, "1")
	press(m, "?")
	holds(t, m, "help", "sort by age, the oldest first")
	press(m, "esc", "enter")
	holds(t, m, "ladder", "conn 30  10.9.0.1:1109 ESTABLISHED", "Segment")
	press(m, "esc")
	holds(t, m, "both ends")
}

// However many connections end alike, the first screen says what went wrong and
// where, and the view of anomalies tells it once.
func TestWhatEndsAlikeIsOneRow(t *testing.T) {
	const text = "10.9.0.2:80 answered with a RST."
	s := crowd(2000)
	for i, r := range s.Records {
		r.Anomalies = []anomaly.Anomaly{{Conn: r.Conn, Kind: "rst-instead-of-ack", Severity: anomaly.Error, Cause: "time-wait-shortened", Text: text, Count: 1, Time: r.End.Add(time.Duration(i) * time.Second)}}
	}
	s.Records[7].Anomalies[0].Severity = anomaly.Warning
	// Those that are over stay counted.
	s.Found = new(findings.Counts)
	for _, r := range s.Records[1000:] {
		s.Found.Anomaly(&r.Anomalies[0], r)
	}
	s.Records = s.Records[:1000]
	m := at(t, s, 80, 24)
	holds(t, m, "1999 errors, 1 warning: rst-instead-of-ack at 10.9.0.2:80, 1999 times\n", "row 1 of 1000")
	press(m, "5")
	holds(t, m, "error     rst-instead-of-ack  10.9.0.2:80   1999  25m41s ago", "warning   rst-instead-of-ack  10.9.0.2:80      1", "first in conns 1,2,", text)
	if n := strings.Count(strings.Join(m.lines, "\n"), text); n != 2 {
		t.Errorf("the sentence stands there %d times, want once for each finding:\n%s", n, strings.Join(m.lines, "\n"))
	}
	press(m, "6")
	holds(t, m, "Server Address", "10.9.0.2:80      1000", "999 errors, 1 warning")
	if line := screenOf(at(t, crowd(9), 80, 24))[1]; line != "0 errors, 0 warnings" {
		t.Errorf("without any it says %q", line)
	}
}

// Where a list, or a text, is longer than the screen one sees where one is.
func TestSaysWhereOneIs(t *testing.T) {
	m := at(t, crowd(100), 80, 24)
	holds(t, m, "  row 1 of 100  ")
	press(m, "down", "down")
	holds(t, m, "  row 3 of 100  ")
	press(m, "end")
	holds(t, m, "  row 100 of 100  ")
	press(m, "/", "time_wait", "enter")
	holds(t, m, "only time_wait  10 rows")
	press(m, "?")
	holds(t, m, "help  ", "  lines 1-19 of 3")
	press(m, "end")
	if at := screenOf(m)[0]; strings.Contains(at, "lines 1-") || !strings.Contains(at, "lines ") {
		t.Errorf("at the end of the help it says %q", at)
	}
	if first := screenOf(at(t, crowd(3), 80, 24))[0]; strings.Contains(first, "row") {
		t.Errorf("of three connections it says %q", first)
	}
}

// The ladder of a connection has what was before it was opened: its newest segments,
// and the states of both ends.
func TestLadderBeginsWithTheHistory(t *testing.T) {
	d, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	opened := false
	err = replaytest.File("../../pcaps/rst-instead-of-ack.pcap", 100*time.Millisecond, d, d.Take, func(s *record.Snapshot) {
		if opened || len(s.Records) == 0 || len(s.Records[0].Ends[0].History) < 2 {
			return
		}
		opened = true
		m, err := newModel(record.Options{}, func() tea.Msg { return nil }, d.watch)
		if err != nil {
			t.Fatal(err)
		}
		m.Update(s)
		press(m, "enter")
		holds(t, m, "ladder  idle 72.5ms", "conn 1  10.9.0.1:40020 ESTABLISHED  10.9.0.2:7020 ESTABLISHED",
			"7  ESTABLISHED  --> <SEQ=6><ACK=6><CTL=ACK>", "0.010877  2  client  ESTABLISHED  recv SYN,ACK     proved",
			"Times are relative to 2026-11-20T15:38:12.085177Z.")
	})
	if err != nil || !opened {
		t.Errorf("a ladder was opened: %v; %v", opened, err)
	}
}

// Before anything was captured keys do what they can.
func TestBeforeTheFirstPacket(t *testing.T) {
	m, err := newModel(record.Options{}, func() tea.Msg { return nil }, func(*tracker.Record) *watched { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range m.keys {
		k.do(m)
		m.View()
	}
	m.help, m.typing = false, false
	press(m, "1", "?")
	holds(t, m, "Waiting for packets.", "sort by age, the oldest first")
	press(m, "esc")
	m.Update(&record.Snapshot{})
	m.paused, m.filter = false, ""
	m.refresh()
	holds(t, m, "Waiting for packets.")
}

// No two keys are the same, and every one is told in the help.
func TestKeys(t *testing.T) {
	does := map[string]string{}
	for _, k := range allKeys() {
		for _, name := range k.names {
			if other := does[name]; other != "" {
				t.Errorf("%s is for %q and for %q", name, other, k.help)
			}
			does[name] = k.help
		}
	}
	if _, err := newModel(record.Options{Sort: "colour"}, nil, nil); err == nil {
		t.Error("it is sorted by colour")
	}
}

func TestSorts(t *testing.T) {
	m := at(t, crowd(30), 120, 24)
	for _, test := range []struct{ key, first string }{
		{"c", "10.9.0.1:1080 "}, // it was by that already: the other way round
		{"s", "10.9.0.1:1081 "},
		{"s", "10.9.0.1:1080 "},
		{"a", "10.9.0.1:1080 "},
		{"a", "10.9.0.1:1109 "},
		{"b", "10.9.0.1:1109 "},
		{"n", "10.9.0.1:1080 "},
		{"i", "10.9.0.1:1080 "},
	} {
		press(m, test.key)
		if got := screenOf(m)[headLines+1]; !strings.Contains(got, test.first) {
			t.Errorf("after %s the first row is %q, want %s", test.key, got, test.first)
		}
	}
}

func TestFilter(t *testing.T) {
	m := at(t, crowd(300), 120, 24)
	press(m, "/", "time_wait 1:11")
	holds(t, m, "only time_wait 1:11", "/time_wait 1:11_", "10.9.0.1:1190", "10.9.0.1:1110")
	if n := m.list.Len(); n != 10 {
		t.Errorf("%d rows hold the words, want 10", n)
	}
	press(m, "q") // is a letter while it is typed
	holds(t, m, "nothing", "/time_wait 1:11q_")
	m.Update(tea.PasteMsg{Content: "\x1b[2J"})
	if m.filter != "time_wait 1:11q[2J" {
		t.Errorf("pasted was %q", m.filter)
	}
	press(m, "esc")
	if m.list.Len() != 300 {
		t.Errorf("esc leaves %d rows, want 300", m.list.Len())
	}
}

func TestMarksWhatChanged(t *testing.T) {
	m := at(t, crowd(4), 120, 24)
	mark := func(conn int) string {
		at := m.list.Find(conn)
		return screenOf(m)[headLines+1+at][:margin]
	}
	if got := mark(1) + mark(4); got != "    >   " {
		t.Errorf("at first the rows begin with %q", got)
	}
	next := crowd(5)
	next.Records[1].Ends[0].State = tcp.FinWait1
	next.Records[2].Ends[0].Packets = 3
	m.Update(next)
	for conn, want := range []string{1: "    ", 2: " *  ", 3: " .  ", 4: "    ", 5: ">+  "} {
		if conn > 0 && mark(conn) != want {
			t.Errorf("conn %d begins with %q, want %q", conn, mark(conn), want)
		}
	}
}

func TestPauseKeepsWhatIsSeen(t *testing.T) {
	m := at(t, crowd(3), 120, 24)
	press(m, "p")
	m.Update(crowd(9))
	holds(t, m, "PAUSED", "3 connections")
	press(m, "p")
	holds(t, m, "9 connections")
}

func TestChosenRowStaysChosen(t *testing.T) {
	m := at(t, crowd(100), 120, 24)
	press(m, "pgdown", "pgdown")
	conn := m.list.Conn(m.cursor)
	m.Update(crowd(120))
	if got := m.list.Conn(m.cursor); got != conn {
		t.Errorf("conn %d is chosen after a refresh, want %d", got, conn)
	}
}

// Every line fits, at every size, in every view, wherever one is.
func TestFitsEveryTerminal(t *testing.T) {
	m := at(t, crowd(50), 80, 24)
	for _, size := range [][2]int{{80, 24}, {1, 1}, {3, 2}, {20, 5}, {40, 100}, {200, 10}, {80, 24}} {
		m.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
		for _, keys := range [][]string{{"1"}, {"end"}, {"right"}, {"2"}, {"3"}, {"4"}, {"5", "end"}, {"1", "enter"}, {"esc", "?"}, {"end"}, {"esc"}, {"/", "1080", "enter"}, {"esc"}} {
			press(m, keys...)
			lines := strings.Split(m.View().Content, "\n")
			if len(lines) > size[1] {
				t.Errorf("%v, after %v: %d lines", size, keys, len(lines))
			}
			for _, line := range lines {
				if n := ansi.StringWidth(line); n > size[0] {
					t.Errorf("%v, after %v: %d columns: %q", size, keys, n, line)
				}
			}
		}
	}
}

func TestEightyColumnsHoldBothStates(t *testing.T) {
	m := at(t, crowd(2), 80, 24)
	if row := screenOf(m)[headLines+2]; !strings.Contains(row, "TIME_WAIT") || !strings.Contains(row, "CLOSED") || !strings.HasSuffix(row, ">") {
		t.Errorf("row is %q", row)
	}
}

// Colours say nothing that the text does not: without them nothing is missing.
func TestColourOnlyPaints(t *testing.T) {
	m := at(t, crowd(20), 100, 24)
	coloured := screenOf(m)
	m.opts.Color = false
	m.draw()
	plain := strings.Split(m.View().Content, "\n")
	for i := range plain {
		if got := strings.TrimRight(coloured[i], " "); got != strings.TrimRight(plain[i], " ") {
			t.Errorf("line %d: %q in colour, %q without", i, got, plain[i])
		}
	}
}

// BenchmarkTenThousand is a second of a screen: a refresh with 10,000
// connections, and how it is drawn.
func BenchmarkTenThousand(b *testing.B) {
	s := crowd(10_000)
	m := at(b, s, 120, 40)
	for _, filter := range []string{"", "10.9.0.1:11"} {
		m.filter = filter
		b.Run(fmt.Sprintf("filter=%s", filter), func(b *testing.B) {
			for b.Loop() {
				m.Update(s)
				m.View()
			}
		})
	}
	b.Run("key", func(b *testing.B) {
		for b.Loop() {
			press(m, "j")
			m.View()
		}
	})
}
