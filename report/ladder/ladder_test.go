package ladder

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/report/internal/golden"
	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/tracker"
)

func TestGoldens(t *testing.T) {
	golden.Test(t, []golden.Output{
		{Name: "ladder", Text: ladderOf(Options{})},
		{Name: "ladder-all", Text: ladderOf(Options{All: true})},
		{Name: "ladder-absolute", Text: ladderOf(Options{Absolute: true, Color: true})},
		{Name: "ladder-120", Text: ladderOf(Options{Width: 120})},
		{Name: "ladder-100", Text: ladderOf(Options{Width: 100})},
		{Name: "ladder-80", Text: ladderOf(Options{Width: 80})},
		{Name: "ladder-60", Text: ladderOf(Options{Width: 60})},
		{Name: "ladder-notation", Text: ladderOf(Options{Absolute: true, All: true, Stack: "linux", TwoMSL: 30 * time.Second, LeakAfter: 90 * time.Second})},
	})
}

// ladderOf draws them.
func ladderOf(o Options) func(testing.TB) []byte {
	return func(t testing.TB) []byte {
		var records []*tracker.Record
		sample.Observe(t, sample.Segments(), nil, func(e *tracker.Event) {
			if e.Kind == tracker.EventConnection {
				records = append(records, e.Record.Clone())
			}
		})
		return golden.Of(func(w io.Writer) error {
			l := New(w, records, o)
			sample.Observe(t, sample.Segments(), l.Take, l.Event)
			return l.Close()
		})(t)
	}
}

// No line of a ladder is wider than the terminal, as long as there is something
// left to leave out.
func TestLadderFits(t *testing.T) {
	for _, width := range []int{62, 80, 100, 120, 200} {
		for _, line := range strings.Split(string(ladderOf(Options{Width: width})(t)), "\n") {
			fold := width < 80 && strings.Contains(line, " ... ")
			if n := len([]rune(line)); n > width && !fold && !strings.HasPrefix(line, "conn ") {
				t.Errorf("%d columns: a line has %d: %s", width, n, line)
			}
		}
	}
}

func TestFoldedText(t *testing.T) {
	for _, test := range []struct {
		f    folded
		want string
	}{
		{folded{segments: 1204, octets: 1_600_000, repeated: 3}, "... 1,204 segments, 1.6 MB, 3 retransmitted/late ..."},
		{folded{segments: 4}, "... 4 segments ..."},
		{folded{segments: 5, octets: 999, unread: 1}, "... 5 segments, 999 B, 1 ignored ..."},
		{folded{segments: 1_000_000, octets: 99_960_000_000}, "... 1,000,000 segments, 100 GB ..."},
	} {
		if got := test.f.String(); got != test.want {
			t.Errorf("%+v: got %q, want %q", test.f, got, test.want)
		}
	}
}

// The client is on the left, also where the same two ports had their roles the
// other way round before, or where those of a connection picked up midway turned
// out later.
func TestLadderColumnsFollowRoles(t *testing.T) {
	for _, row := range []struct {
		lines []string
		want  []string
	}{
		{[]string{
			"0 > <SEQ=1000><CTL=SYN>",
			"10 < <SEQ=5000><ACK=1001><CTL=SYN,ACK>",
			"0 > <SEQ=1001><ACK=5001><CTL=RST,ACK>",
			"1000 < <SEQ=80000><CTL=SYN>",
			"10 > <SEQ=90000><ACK=80001><CTL=SYN,ACK>",
		}, []string{
			"SYN-SENT              --> <SEQ=0><CTL=SYN>            --> LISTEN..SYN-RECEIVED",
			"SYN-SENT..ESTABLISHED <-- <SEQ=0><ACK=1><CTL=SYN,ACK> <-- SYN-RECEIVED",
		}},
		{[]string{
			"0 < <SEQ=5000><ACK=1000><CTL=FIN,ACK>", // from the lower port
			"10 > <SEQ=1000><ACK=5001><CTL=FIN,ACK>",
			"10 < <SEQ=5001><ACK=1001><CTL=ACK>",
			"1000 < <SEQ=80000><CTL=SYN>",
		}, []string{"client TIME_WAIT?: its FIN is acknowledged by #2", "client SYN_SENT: it opens with #4"}},
	} {
		drawn := string(golden.Of(func(w io.Writer) error {
			var records []*tracker.Record
			sample.Observe(t, row.lines, nil, func(e *tracker.Event) {
				if e.Kind == tracker.EventConnection {
					records = append(records, e.Record.Clone())
				}
			})
			l := New(w, records, Options{})
			sample.Observe(t, row.lines, l.Take, l.Event)
			return l.Close()
		})(t))
		for _, want := range row.want {
			if !strings.Contains(drawn, want) {
				t.Errorf("there is no line %q in\n%s", want, drawn)
			}
		}
	}
}
