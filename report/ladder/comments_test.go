package ladder

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// commentsOf returns the comments on the packets of a capture whose connections
// are selected.
func commentsOf(t *testing.T, lines []string, selected ...int) []string {
	t.Helper()
	c := NewComments()
	sample.Observe(t, lines, c.Take, func(e *tracker.Event) {
		c.Event(e)
		if e.Kind == tracker.EventConnection {
			chosen := false
			for _, n := range selected {
				chosen = chosen || n == e.Record.Conn
			}
			c.Connection(e.Record, chosen)
		}
	})
	var list []string
	for i := range lines {
		if comment, ok := c.Of(i + 1); ok {
			list = append(list, comment)
		}
	}
	return list
}

// opened are the segments with which a connection opens that carries ten octets.
var opened = []string{
	"0 > <SEQ=100><CTL=SYN>",
	"10 < <SEQ=300><ACK=101><CTL=SYN,ACK>",
	"10 > <SEQ=101><ACK=301><CTL=ACK><DATA=10>",
	"10 < <SEQ=301><ACK=111><CTL=ACK>",
}

func TestComments(t *testing.T) {
	const opening = "frame 1, conn 1\nclient CLOSED -> SYN_SENT (sent)\nserver LISTEN -> SYN_RCVD (proved)|" +
		"frame 2, conn 1\nclient SYN_SENT -> ESTABLISHED (proved)|" +
		"frame 3, conn 1\nserver SYN_RCVD -> ESTABLISHED (proved)|" +
		"frame 4, conn 1"
	for _, row := range []struct {
		name     string
		lines    []string
		selected []int
		want     string // the comments, without the sentences of anomalies
	}{
		{"a-fin-that-is-held-and-then-taken", []string{
			"1000 < <SEQ=301><ACK=161><CTL=FIN,ACK>",
			"50 > <SEQ=161><ACK=302><CTL=FIN,ACK>",
		}, []int{1}, opening +
			"|frame 5, conn 1\nclient ESTABLISHED -> CLOSE_WAIT (proved)\nserver ESTABLISHED -> FIN_WAIT_1 (sent)" +
			"|frame 6, conn 1\nclient CLOSE_WAIT -> LAST_ACK (sent)\nserver FIN_WAIT_1 -> TIME_WAIT (assumed)"},
		{"a-fin-that-is-held", []string{
			"1000 < <SEQ=301><ACK=161><CTL=FIN,ACK>",
		}, []int{1}, opening + "|frame 5, conn 1\nnot applied: no later segment shows that its receiver accepted it"},
		{"a-segment-that-is-refused", []string{
			"1000 < <SEQ=90000><ACK=111><CTL=ACK><DATA=5>",
			"1 > <SEQ=111><ACK=301><CTL=ACK>",
		}, []int{1}, opening + "|frame 5, conn 1\nrefused: its sequence number is outside the window (RFC 9293 §3.10.7.4)\n! out-of-window-data|frame 6, conn 1"},
		{"a-rst-that-proves-forged", []string{
			"1000 > <SEQ=111><ACK=301><CTL=RST,ACK>",
			"200 > <SEQ=111><ACK=301><CTL=ACK><DATA=10>",
			"10 < <SEQ=301><ACK=121><CTL=ACK>",
		}, []int{1}, opening + "|frame 5, conn 1|frame 6, conn 1\n! data-after-rst\n! forged-rst|frame 7, conn 1\n! rst-ignored"},
		{"a-syn-that-opens-nothing", []string{
			"30000 > <SEQ=70000><CTL=SYN>",
			"10 < <SEQ=301><ACK=111><CTL=ACK>",
			"1000 > <SEQ=111><ACK=301><CTL=ACK><DATA=10>",
		}, []int{1}, opening + "|frame 5, conn 1|frame 6, conn 1|frame 7, conn 1\n! blind-syn\n! challenge-ack"},
		{"a-syn-that-waits-for-its-connection", []string{
			"30000 > <SEQ=70000><CTL=SYN>",
			"10 < <SEQ=301><ACK=111><CTL=ACK>",
			"1000 > <SEQ=70000><CTL=SYN>",
			"10 < <SEQ=301><ACK=111><CTL=ACK>",
		}, []int{2}, "frame 5, conn 2\nclient CLOSED -> SYN_SENT (sent)|frame 7, conn 2\n! syn-retransmitted"},
		{"a-syn-that-opened-nothing-before", []string{
			"30000 > <SEQ=70000><CTL=SYN>",
			"10 < <SEQ=301><ACK=111><CTL=ACK>",
			"1000 > <SEQ=111><ACK=301><CTL=RST,ACK>",
			"1000 > <SEQ=900000><CTL=SYN>",
		}, []int{2}, "frame 8, conn 2\nclient CLOSED -> SYN_SENT (sent)\nserver LISTEN -> SYN_RCVD (assumed)"},
		{"a-packet-of-another-connection-that-moves-this", []string{
			"1000 > <SEQ=111><ACK=301><CTL=FIN,ACK>",
			"10 < <SEQ=301><ACK=112><CTL=FIN,ACK>",
			"10 > <SEQ=112><ACK=302><CTL=ACK>",
			"1000 > <SEQ=700000><CTL=SYN>",
			"10 < <SEQ=900000><ACK=700001><CTL=SYN,ACK>",
		}, []int{1}, opening + "|frame 5, conn 1\nclient ESTABLISHED -> FIN_WAIT_1 (sent)\nserver ESTABLISHED -> CLOSE_WAIT (proved)" +
			"|frame 6, conn 1\nclient FIN_WAIT_1 -> TIME_WAIT (proved)\nserver CLOSE_WAIT -> LAST_ACK (sent)" +
			"|frame 7, conn 1\nserver LAST_ACK -> CLOSED (assumed)" +
			"|frame 8, conn 2\nconn 1: client TIME_WAIT -> CLOSED (sent)"},
		{"nothing-is-selected", nil, nil, ""},
	} {
		var got []string
		for _, comment := range commentsOf(t, append(opened[:4:4], row.lines...), row.selected...) {
			lines := strings.Split(comment, "\n")
			for i, line := range lines {
				if head, _, odd := strings.Cut(line, " ("); odd && strings.Contains(line, "! ") {
					lines[i] = head
				}
			}
			got = append(got, strings.Join(lines, "\n"))
		}
		if got := strings.Join(got, "|"); got != row.want {
			t.Errorf("%s: got\n%s\n\nwant\n%s\n", row.name, strings.ReplaceAll(got, "|", "\n|"), strings.ReplaceAll(row.want, "|", "\n|"))
		}
	}
}

// That a receiver refuses a segment is not said where it proves to have taken it,
// and is where only its sender has moved.
func TestCommentsOnRefusals(t *testing.T) {
	for basis, want := range map[tcp.InputSet]string{
		tcp.SndFIN.Set(): "frame 5, conn 1\nrefused: its sequence number is outside the window (RFC 9293 §3.10.7.4)\nclient SYN_SENT -> FIN_WAIT_1 (proved)",
		tcp.RcvFIN.Set(): "frame 5, conn 1\nclient SYN_SENT -> FIN_WAIT_1 (proved)",
	} {
		c := NewComments()
		c.Event(&tracker.Event{Kind: tracker.EventSegment, Packet: 5, Conn: 1, Skipped: tcp.OutsideWindow})
		r := &tracker.Record{Conn: 1}
		r.Ends[tcp.Client].History = []tracker.Step{
			{Packet: 1, State: tcp.SynSent, Inputs: tcp.SndSYN.Set()},
			{Packet: 5, State: tcp.FinWait1, Inputs: basis, Basis: tcp.ByProof},
		}
		c.Connection(r, true)
		if got, ok := c.Of(5); !ok || got != want {
			t.Errorf("%v: got %q, want %q", basis, got, want)
		}
	}
}

// What no packet shows stands on the last that is evidence, or the last of the
// connection.
func TestCommentsOnWhatNoPacketShows(t *testing.T) {
	c := NewComments()
	for packet, conn := range []int{0, 1, 2, 1, 2} {
		c.Event(&tracker.Event{Kind: tracker.EventSegment, Packet: packet, Conn: conn})
	}
	c.Connection(&tracker.Record{Conn: 1, Anomalies: []anomaly.Anomaly{
		{Kind: "a", Severity: anomaly.Error, Text: "late"},
		{Kind: "b", Evidence: []int{1}, Count: 3, Text: "by evidence"},
	}}, true)
	c.Connection(&tracker.Record{Conn: 2}, false)
	for packet, want := range []string{"", "frame 1, conn 1\n! b (info, proved, 3 times, frames 1): by evidence", "", "frame 3, conn 1\n! a (error, proved): late", ""} {
		if got, _ := c.Of(packet); got != want {
			t.Errorf("packet %d: got %q, want %q", packet, got, want)
		}
	}
}

// The fragments of a segment are there with it.
func TestCommentsOnFragments(t *testing.T) {
	c := NewComments()
	c.Event(&tracker.Event{Kind: tracker.EventSegment, Packet: 5000, Conn: 1})
	c.Event(&tracker.Event{Kind: tracker.EventSegment, Packet: 5001, Conn: 2})
	c.Part(4998, 5001)
	c.Part(5003, 5000) // a copy
	c.Part(4999, 5000)
	c.Connection(&tracker.Record{Conn: 1}, true)
	c.Connection(&tracker.Record{Conn: 2}, false)
	const part = "frame %d, conn 1\na fragment; frame 5000 completes the segment"
	for packet, want := range map[int]string{
		4997: "", 4998: "", 4999: fmt.Sprintf(part, 4999), 5000: "frame 5000, conn 1", 5001: "", 5003: fmt.Sprintf(part, 5003), 100_000: "",
	} {
		if got, ok := c.Of(packet); ok != (want != "") || ok && got != want {
			t.Errorf("packet %d: got %q, want %q", packet, got, want)
		}
	}
}
