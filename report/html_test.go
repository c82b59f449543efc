package report

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// pageOf returns what the format html prints, without its style and script.
func pageOf(play func(Printer) error) func(testing.TB) []byte {
	return func(t testing.TB) []byte {
		page := string(print(t, "html", Options{Name: "a<b>.pcap"}, play))
		attr := strings.NewReplacer("'", "&#39;", "+", "&#43;")
		for _, part := range []string{htmlStyle, htmlScript, attr.Replace(policyHash(htmlStyle)), attr.Replace(policyHash(htmlScript))} {
			if n := strings.Count(page, part); n != 1 {
				t.Errorf("the page has %.40q %d times, want once, as it is", part, n)
			}
			page = strings.Replace(page, part, "...", 1)
		}
		return []byte(page)
	}
}

// drawnPage gives p what drawn returns, twice, as a page with ladders wants it.
func drawnPage(p Printer) error {
	var t testing.T // what is drawn is known to be sound
	first, last := tcp.Time(0), tcp.Time(0)
	observe(&t, nil, func(e *tracker.Event) {
		if first == 0 {
			first = e.Time
		}
		last = e.Time
		p.Event(e)
	})
	l := LaddersOf(p)
	observe(&t, l.Take, l.Event)
	return p.Close(Summary{Packets: 94, TCPPackets: 94, First: first, Last: last})
}

// judged is the sample, with the failures of a check.
func judged(p Printer) error {
	Fail(p, []Failure{
		{Rule: "no rst-instead-of-ack", Text: "<i>10.9.0.2:80</i> answered with a RST", Conn: 1, Packet: 11},
		{Rule: "connections < 4", Text: "there are 4"},
	})
	return play(p)
}

// A page without failures says so.
func TestPageHolds(t *testing.T) {
	page := pageOf(func(p Printer) error { Fail(p, nil); return play(p) })(t)
	if !strings.Contains(string(page), "All rules hold.") {
		t.Error("the page does not say that all rules hold")
	}
	p, err := New("table", io.Discard, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if Fail(p, nil); LaddersOf(p) != nil {
		t.Error("a table has ladders")
	}
}

// Text that came with a capture cannot become markup, a script, or the end of
// the data, and the page loads nothing.
func TestPageCannotBeScripted(t *testing.T) {
	const evil = `</script><script>alert(1)</script><img src=x onerror=alert(1)>"'><!--{{.}}` + "\u2028\x00\x1b[31m${alert(1)}`"
	hostile := func(p Printer) error {
		r := closedByClient()
		r.Ends[0].Addr = netip.MustParseAddrPort("[fe80::1%<script>alert`1`]:1")
		a := &r.Anomalies[0]
		a.Kind, a.Text, a.Cause, a.RFC = evil, evil, evil, evil
		over := *a
		over.Conn = 0
		Fail(p, []Failure{{Rule: evil, Text: evil}})
		p.Event(&tracker.Event{Kind: tracker.EventAnomaly, Anomaly: &over})
		p.Record(&r)
		return p.Close(whole())
	}
	page := string(print(t, "html", Options{Name: evil}, hostile))
	page = strings.Replace(strings.Replace(page, htmlScript, "", 1), htmlStyle, "", 1)
	if n := strings.Count(page, "<script"); n != 2 {
		t.Errorf("the page has %d script elements, want its own 2", n)
	}
	for _, bad := range []string{"<img", "<!--", "alert(1)</script>", "\x00", "\x1b", "\u2028", "src=\"", "url(http", "@import", "<link", "<iframe"} {
		if i := strings.Index(page, bad); i >= 0 {
			t.Errorf("the page has %q: %.80q", bad, page[max(0, i-40):])
		}
	}
	if on := regexp.MustCompile(`<[^>]*\son\w+\s*=`).FindString(page); on != "" {
		t.Errorf("the page has a handler in %q", on)
	}
	if !strings.Contains(page, `content="default-src &#39;none&#39;; style-src &#39;sha256-`) || strings.Contains(page, "unsafe") {
		t.Error("the page has no strict policy")
	}
	pageData(t, page)
}

// pageData returns the data of a page.
func pageData(t *testing.T, page string) (data struct {
	Rows    [][]any
	Ladders map[string]*struct {
		Rows []struct {
			N, L, B, K int
			W, X       string
		}
	}
}) {
	t.Helper()
	_, text, _ := strings.Cut(page, `<script type="application/json" id="data">`)
	text, _, _ = strings.Cut(text, "</script>")
	if err := json.Unmarshal([]byte(text), &data); err != nil {
		t.Fatalf("the data of the page: %v", err)
	}
	return data
}

// The same capture gives the same bytes.
func TestPageIsDeterministic(t *testing.T) {
	first := pageOf(drawnPage)(t)
	for range 5 {
		if string(pageOf(drawnPage)(t)) != string(first) {
			t.Fatal("two pages of the same capture differ")
		}
	}
}

// What is too much for a page is left out, and the page says so.
func TestPageIsBounded(t *testing.T) {
	many := func(p Printer) error {
		r := closedByClient()
		r.Ends[0].History, r.Ends[1].History = nil, nil
		for i := range htmlRows + 1 {
			r.Conn = i + 1
			p.Record(&r)
		}
		l := LaddersOf(p)
		if n := uint64(len(l.ladders)) * (r.Ends[0].Packets + r.Ends[1].Packets); n > htmlSegments || n < htmlSegments/2 {
			t.Errorf("%d segments are to be drawn, want about %d", n, htmlSegments)
		}
		return p.Close(whole())
	}
	page := string(pageOf(many)(t))
	for _, want := range []string{"the first 100,000 of 100,001 connections", "as many as 10,000 segments allow", "The first 100 are listed."} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if n := len(pageData(t, page).Rows); n != htmlRows {
		t.Errorf("%d connections are listed, want %d", n, htmlRows)
	}
}

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
			page := print(t, "html", Options{}, func(p Printer) error {
				observeLines(t, lines, nil, func(e *tracker.Event) { p.Event(e) })
				l := LaddersOf(p)
				last := tcp.Time(0)
				observeLines(t, lines, l.Take, func(e *tracker.Event) { last = max(last, e.Time); l.Event(e) })
				return p.Close(Summary{Packets: uint64(len(lines)), TCPPackets: uint64(len(lines)), First: begin, Last: last})
			})
			var got []string
			for _, r := range pageData(t, string(page)).Ladders["1"].Rows {
				switch {
				case r.K == rungGap:
					got = append(got, fmt.Sprintf("gap %d", r.B))
				case r.L != 0:
					got = append(got, fmt.Sprintf("%d %s %d", r.N, [...]string{"", "missed", "unanswered"}[r.L], r.B))
				}
			}
			if got := strings.Join(got, ", "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// An arrow of the diagram counts every end that took it, also on the way
// through another state.
func TestArrowCounts(t *testing.T) {
	counts := make(arrowCounts)
	for range 2 {
		counts.count([]tracker.Step{
			{State: tcp.SynSent, Inputs: tcp.SndSYN.Set()},
			{State: tcp.Established, Inputs: tcp.InputsOf(tcp.RcvSYN, tcp.RcvAckOfSYN), Basis: tcp.ByAssumption},
			{State: tcp.FinWait1, Inputs: tcp.SndFIN.Set()},
			{State: tcp.TimeWait, Inputs: tcp.InputsOf(tcp.RcvAckOfFIN, tcp.RcvFIN), Basis: tcp.ByProof},
			{State: tcp.Established}, // by no row
		})
	}
	var got []string
	for _, row := range counts.rows() {
		got = append(got, fmt.Sprintf("%s %s %s %d/%d", row.From, row.On, row.To, row.Taken, row.Assumed))
	}
	want := []string{
		"CLOSED send SYN SYN_SENT 2/0", "SYN_SENT recv SYN SYN_RCVD 2/2", "SYN_RCVD recv ACK of SYN ESTABLISHED 2/2",
		"ESTABLISHED send FIN FIN_WAIT_1 2/0", "FIN_WAIT_1 recv ACK of FIN FIN_WAIT_2 2/0", "FIN_WAIT_2 recv FIN TIME_WAIT 2/0",
	}
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for _, w := range want {
		if !strings.Contains(strings.Join(got, "\n"), w) {
			t.Errorf("got %q, want among them %q", got, w)
		}
	}
}
