package ladder

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What a ladder says of segments that did not arrive.
func TestFates(t *testing.T) {
	const opening = "0 > <SEQ=1000><CTL=SYN>\n10 < <SEQ=5000><ACK=1001><CTL=SYN,ACK>\n0 > <SEQ=1001><ACK=5001><CTL=ACK>\n"
	for _, test := range []struct{ name, segments, want string }{
		{"nothing is lost", opening + "0 > <SEQ=1001><ACK=5001><CTL=ACK><DATA=100>\n10 < <SEQ=5001><ACK=1101><CTL=ACK>", ""},
		{"a SYN without an answer", "0 > <SEQ=1000><CTL=SYN>\n1000 > <SEQ=1000><CTL=SYN>\n10 < <SEQ=5000><ACK=1001><CTL=SYN,ACK>", "1 unanswered 2"},
		{"data sent again", opening + "0 > <SEQ=1001><ACK=5001><CTL=ACK><DATA=100>\n300 > <SEQ=1001><ACK=5001><CTL=ACK><DATA=100>\n10 < <SEQ=5001><ACK=1101><CTL=ACK>", "4 unanswered 5"},
		{"a SACK shows a hole", opening + "0 > <SEQ=1001><ACK=5001><CTL=ACK><DATA=100>\n0 > <SEQ=1101><ACK=5001><CTL=ACK><DATA=100>\n" +
			"10 < <SEQ=5001><ACK=1001><CTL=ACK><SACK=1101:1201>\n0 > <SEQ=1001><ACK=5001><CTL=ACK><DATA=100>\n10 < <SEQ=5001><ACK=1201><CTL=ACK>", "4 missed 6"},
		{"the last ACK is lost", opening + "0 > <SEQ=1001><ACK=5001><CTL=FIN,ACK>\n10 < <SEQ=5001><ACK=1002><CTL=FIN,ACK>\n0 > <SEQ=1002><ACK=5002><CTL=ACK>\n" +
			"300 < <SEQ=5001><ACK=1002><CTL=FIN,ACK>\n0 > <SEQ=1002><ACK=5002><CTL=ACK>", "6 missed 7"},
		{"data that the capture lacks", opening + "0 > <SEQ=1101><ACK=5001><CTL=ACK><DATA=100>\n10 < <SEQ=5001><ACK=1001><CTL=ACK>\n0 > <SEQ=1001><ACK=5001><CTL=ACK><DATA=100>\n10 < <SEQ=5001><ACK=1201><CTL=ACK>", "gap 6"},
		{"keepalives without an answer", opening + "0 > <SEQ=1001><ACK=5001><CTL=ACK><DATA=5>\n10 < <SEQ=5001><ACK=1006><CTL=ACK>\n" +
			"60000 > <SEQ=1005><ACK=5001><CTL=ACK>\n1000 > <SEQ=1005><ACK=5001><CTL=ACK>\n1000 > <SEQ=1006><ACK=5001><CTL=RST,ACK>", "6 unanswered 7, 7 unanswered 8"},
		{"data that nobody answers", opening + "0 > <SEQ=1001><ACK=5001><CTL=ACK><DATA=100>\n5000 > <SEQ=1001><ACK=5001><CTL=ACK><DATA=100>\n" +
			"5000 > <SEQ=1101><ACK=5001><CTL=ACK><DATA=100>", "4 unanswered 5, 5 unanswered 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			lines := strings.Split(test.segments, "\n")
			var records []*tracker.Record
			sample.Observe(t, lines, nil, func(e *tracker.Event) {
				if e.Kind == tracker.EventConnection {
					records = append(records, e.Record.Clone())
				}
			})
			l, last := New(io.Discard, records, Options{}), tcp.Time(0)
			sample.Observe(t, lines, l.Take, func(e *tracker.Event) { last = max(last, e.Time); l.Event(e) })
			pages, _ := l.Pages(last)
			var got []string
			for _, r := range pages[1].Rows {
				switch {
				case r.Kind == rungGap:
					got = append(got, fmt.Sprintf("gap %d", r.By))
				case r.Fate != arrived:
					got = append(got, fmt.Sprintf("%d %s %d", r.Packet, [...]string{missed: "missed", unanswered: "unanswered"}[r.Fate], r.By))
				}
			}
			if got := strings.Join(got, ", "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
