package report

import (
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// written returns what f writes.
func written(t testing.TB, f func(io.Writer) error) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := f(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// drawn are the segments of the ladders drawn here, in the tracker's notation,
// from the client (>) or the server (<), after so many milliseconds. They carry
// a long transfer with a retransmission and a second record of one packet, a
// close whose last ACK meets nobody, and a second connection in its place.
func drawn() []string {
	list := []string{
		"0 > <SEQ=1000><CTL=SYN><WND=64240><MSS=1460><WS=7><SACKOK><TS=1,0><ID=1>",
		"10 < <SEQ=5000><ACK=1001><CTL=SYN,ACK><WND=65160><MSS=1460><WS=7><SACKOK><TS=9,1>",
		"0 > <SEQ=1001><ACK=5001><CTL=ACK><WND=502><ID=2>",
		"0 > <SEQ=1001><ACK=5001><CTL=PSH,ACK><DATA=100><WND=502><ID=3>",
		"10 < <SEQ=5001><ACK=1101><CTL=ACK><WND=509><ID=1>",
	}
	for i := range 40 {
		seq := tcp.Seq(5001 + 1000*i)
		s := tcp.Segment{Seq: seq, Ack: 1101, Flags: tcp.ACK, Data: 1000, Wnd: 509, TTL: 64, ID: uint16(i + 2)}
		list = append(list, "1 < "+s.String())
		if i == 20 {
			list = append(list, "0 < "+s.String()) // the capture has it twice
			s.ID = 1000
			list = append(list, "300 < "+s.String()) // and it was sent twice
		}
		a := tcp.Segment{Seq: 1101, Ack: seq + 1000, Flags: tcp.ACK, Wnd: 502, TTL: 64, ID: uint16(i + 4)}
		list = append(list, "1 > "+a.String())
	}
	return append(list,
		"5 > <SEQ=1101><ACK=45001><CTL=FIN,ACK><WND=502><ID=60>",
		"10 < <SEQ=45001><ACK=1102><CTL=FIN,ACK><WND=509><ID=1060>",
		"0 > <SEQ=1102><ACK=45002><CTL=ACK><WND=502><ID=61>",
		"40000 < <SEQ=900><CTL=RST><SUM=bad>",
		"30000 > <SEQ=90000><CTL=SYN><WND=64240><MSS=1460><ID=62>",
		"10 < <SEQ=0><ACK=90001><CTL=RST,ACK><WND=0>",
	)
}

// ladderOf draws them.
func ladderOf(o LadderOptions) func(testing.TB) []byte {
	return func(t testing.TB) []byte {
		return written(t, func(w io.Writer) error {
			var records []*tracker.Record
			observe(t, nil, func(e *tracker.Event) {
				if e.Kind == tracker.EventConnection {
					records = append(records, e.Record.Clone())
				}
			})
			l := NewLadders(w, records, o)
			observe(t, l.Take, l.Event)
			return l.Close()
		})
	}
}

// observe plays what drawn returns to a tracker.
func observe(t testing.TB, take func(*tcp.Segment), emit func(*tracker.Event)) {
	observeLines(t, drawn(), take, emit)
}

// observeLines plays segments, written as drawn writes them, to a tracker.
func observeLines(t testing.TB, lines []string, take func(*tcp.Segment), emit func(*tracker.Event)) {
	tk, err := tracker.New(tracker.Config{Segments: take != nil, TwoMSL: 30 * time.Second}, emit)
	if err != nil {
		t.Fatal(err)
	}
	client, server := netip.MustParseAddrPort("10.9.0.1:37520"), netip.MustParseAddrPort("10.9.0.2:80")
	now := begin
	for i, line := range lines {
		pause, rest, _ := strings.Cut(line, " ")
		from, text, _ := strings.Cut(rest, " ")
		s, err := tcp.ParseSegment(text)
		if err != nil {
			t.Fatal(err)
		}
		d, err := time.ParseDuration(pause + "ms")
		if err != nil {
			t.Fatal(err)
		}
		now = now.Add(d)
		s.Time, s.Packet, s.Src, s.Dst = now, i+1, client, server
		if from == "<" {
			s.Src, s.Dst = server, client
		}
		if take != nil {
			take(&s)
		}
		tk.Observe(&s)
	}
	tk.Close()
}

// No line of a ladder is wider than the terminal, as long as there is something
// left to leave out.
func TestLadderFits(t *testing.T) {
	for _, width := range []int{62, 80, 100, 120, 200} {
		for _, line := range strings.Split(string(ladderOf(LadderOptions{Width: width})(t)), "\n") {
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
		{folded{segments: 1204, octets: 1_600_000, repeated: 3}, "... 1,204 segments, 1.6 MB, 3 again or late ..."},
		{folded{segments: 4}, "... 4 segments ..."},
		{folded{segments: 5, octets: 999, unread: 1}, "... 5 segments, 999 B, 1 not taken in ..."},
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
		drawn := string(written(t, func(w io.Writer) error {
			var records []*tracker.Record
			observeLines(t, row.lines, nil, func(e *tracker.Event) {
				if e.Kind == tracker.EventConnection {
					records = append(records, e.Record.Clone())
				}
			})
			l := NewLadders(w, records, LadderOptions{})
			observeLines(t, row.lines, l.Take, l.Event)
			return l.Close()
		}))
		for _, want := range row.want {
			if !strings.Contains(drawn, want) {
				t.Errorf("there is no line %q in\n%s", want, drawn)
			}
		}
	}
}
