package html_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/check"
	"github.com/tcpwatch/tcpwatch/report/html"
	"github.com/tcpwatch/tcpwatch/report/internal/golden"
	"github.com/tcpwatch/tcpwatch/report/internal/printtest"
	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func TestGoldens(t *testing.T) {
	golden.Test(t, []golden.Output{
		{Name: "html", Text: pageOf(printtest.Play)},
		{Name: "html-ladder", Text: pageOf(drawnPage)},
		{Name: "html-judged", Text: pageOf(judged)},
		{Name: "html-empty", Text: pageOf(func(p record.Printer) error { return p.Close(record.Summary{}) })},
	})
}

// pageOf returns what the format html prints, without its style and script.
func pageOf(play func(record.Printer) error) func(testing.TB) []byte {
	return func(t testing.TB) []byte {
		page := string(printtest.Print(t, "html", record.Options{Name: "a<b>.pcap"}, play))
		attr := strings.NewReplacer("'", "&#39;", "+", "&#43;")
		for _, part := range []string{html.Style, html.Script, attr.Replace(html.PolicyHash(html.Style)), attr.Replace(html.PolicyHash(html.Script))} {
			if n := strings.Count(page, part); n != 1 {
				t.Errorf("the page has %.40q %d times, want once, as it is", part, n)
			}
			page = strings.Replace(page, part, "...", 1)
		}
		return []byte(page)
	}
}

// drawnPage gives p what drawn returns, twice, as a page with ladders wants it.
func drawnPage(p record.Printer) error {
	var t testing.T // what is drawn is known to be sound
	first, last := tcp.Time(0), tcp.Time(0)
	sample.Observe(&t, sample.Segments(), nil, func(e *tracker.Event) {
		if first == 0 {
			first = e.Time
		}
		last = e.Time
		p.Event(e)
	})
	l := html.LaddersOf(p)
	sample.Observe(&t, sample.Segments(), l.Take, l.Event)
	return p.Close(record.Summary{Packets: 94, TCPPackets: 94, First: first, Last: last})
}

// judged is the sample, with the failures of a check.
func judged(p record.Printer) error {
	html.Judge(p, []html.Ruling{
		{Verdict: check.Passed, Rule: "few", Text: "1 capture"},
		{Verdict: check.Failed, Rule: "no rst-instead-of-ack", Text: "<i>10.9.0.2:80</i> answered with a RST", Conn: 1, Ends: "client 10.9.0.1:40000, server 10.9.0.2:80", Packet: 11},
		{Verdict: check.Failed, Rule: "connections < 4", Text: "there are 4"},
		{Verdict: check.Undecided, Rule: "no leaks", Text: "the server may be in CLOSE_WAIT"},
	})
	return printtest.Play(p)
}

// A page without failures says so.
func TestPageHolds(t *testing.T) {
	page := pageOf(func(p record.Printer) error { html.Judge(p, nil); return printtest.Play(p) })(t)
	if !strings.Contains(string(page), "All rules hold.") {
		t.Error("the page does not say that all rules hold")
	}
	p, err := report.New("table", io.Discard, record.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if html.Judge(p, nil); html.LaddersOf(p) != nil {
		t.Error("a table has ladders")
	}
}

// Text that came with a capture cannot become markup, a script, or the end of
// the data, and the page loads nothing.
func TestPageCannotBeScripted(t *testing.T) {
	const evil = `</script><script>alert(1)</script><img src=x onerror=alert(1)>"'><!--{{.}}` + "\u2028\x00\x1b[31m${alert(1)}`"
	hostile := func(p record.Printer) error {
		r := sample.ClosedByClient()
		r.Ends[0].Addr = netip.MustParseAddrPort("[fe80::1%<script>alert`1`]:1")
		a := &r.Anomalies[0]
		a.Kind, a.Text, a.Cause, a.RFC = evil, evil, evil, evil
		over := *a
		over.Conn = 0
		html.Judge(p, []html.Ruling{{Verdict: check.Failed, Rule: evil, Text: evil, Ends: evil, Conn: 1}})
		p.Event(&tracker.Event{Kind: tracker.EventAnomaly, Anomaly: &over})
		p.Record(&r)
		return p.Close(printtest.Whole())
	}
	page := string(printtest.Print(t, "html", record.Options{Name: evil}, hostile))
	page = strings.Replace(strings.Replace(page, html.Script, "", 1), html.Style, "", 1)
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

// Anomalies that say the same are told once, with how many they are, and where.
func TestPageGroupsFindings(t *testing.T) {
	alike := func(p record.Printer) error {
		r := sample.ClosedByClient()
		for i := range 2000 {
			r.Conn, r.Anomalies[0].Conn = i+1, i+1
			p.Record(&r)
		}
		unsure := sample.Midstream()
		unsure.Conn = 2001
		p.Record(&unsure)
		flood := sample.Flood()
		p.Event(&tracker.Event{Kind: tracker.EventAnomaly, Anomaly: &flood})
		return p.Close(printtest.Whole())
	}
	page := string(pageOf(alike)(t))
	for text, n := range map[string]int{
		"<strong>2000 errors, 1 warning: rst-instead-of-ack at 10.9.0.2:80, 2000 times</strong>":                                 1,
		"10.9.0.2:80 answered the last ACK with a RST":                                                                           1,
		`<b>2,000 connections</b> at 10.9.0.2:80: conn <a href="#conn=1">1</a>, `:                                                1,
		`<a href="#conn=10">10</a>, …; the newest, <a href="#conn=2000">conn 2000</a>`:                                           1,
		"Undecided: 2 ends have more than one possible state, 1 anomaly is ambiguous: the same packets have other explanations.": 1,
		`10.9.0.2:80 <span class="undecided">undecided</span>`:                                                                   1,
		`<option value="?">undecided</option>`:                                                                                   1,
	} {
		if got := strings.Count(page, text); got != n {
			t.Errorf("the page has %q %d times, want %d", text, got, n)
		}
	}
}

// What there is no memory for is left out, and the page says so.
func TestPageKeepsToMemory(t *testing.T) {
	page := string(printtest.Print(t, "html", record.Options{Memory: 1 << 20}, func(p record.Printer) error {
		r := sample.ClosedByClient()
		for i := range 1000 {
			r.Conn = i + 1
			p.Record(&r)
		}
		return p.Close(printtest.Whole())
	}))
	n := len(pageData(t, page).Rows)
	want := fmt.Sprintf("the first %d of 1,000 connections, in the order in which they ended. There is no room for more within --max-memory.", n)
	if n < 10 || n > 500 || !strings.Contains(page, want) {
		t.Errorf("%d connections are listed, and the page does not say %q", n, want)
	}
}

// What is too much for a page is left out, and the page says so.
func TestPageIsBounded(t *testing.T) {
	many := func(p record.Printer) error {
		r := sample.ClosedByClient()
		r.Ends[0].History, r.Ends[1].History = nil, nil
		for i := range html.MostRows + 1 {
			r.Conn = i + 1
			r.Ends[1].Addr = netip.AddrPortFrom(r.Ends[1].Addr.Addr(), uint16(1+i%500))
			p.Record(&r)
		}
		html.LaddersOf(p)
		return p.Close(printtest.Whole())
	}
	page := string(pageOf(many)(t))
	for _, want := range []string{"the first 100,000 of 100,001 connections", "limit: 10,000 segments", "The first 100 are listed; 400 more are not."} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if n := len(pageData(t, page).Rows); n != html.MostRows {
		t.Errorf("%d connections are listed, want %d", n, html.MostRows)
	}
}
