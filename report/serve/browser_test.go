//go:build browser

package serve

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// go test -tags browser ./report/serve needs Chromium (Debian package chromium).

// browser returns a tab of a headless Chromium, and what it complained of and
// loaded.
func browser(t *testing.T) (tab context.Context, complaints, loaded func() []string) {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("there is no Chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	limited, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	alloc, cancel := chromedp.NewExecAllocator(limited, options...)
	t.Cleanup(cancel)
	tab, cancel = chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	var mu sync.Mutex
	var bad, urls []string
	chromedp.ListenTarget(tab, func(e any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := e.(type) {
		case *runtime.EventExceptionThrown:
			bad = append(bad, e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			bad = append(bad, "console "+e.Type.String())
		case *log.EventEntryAdded:
			bad = append(bad, e.Entry.Text)
		case *network.EventRequestWillBeSent:
			urls = append(urls, e.Request.URL)
		}
	})
	list := func(of *[]string) func() []string {
		return func() []string {
			mu.Lock()
			defer mu.Unlock()
			return append([]string(nil), *of...)
		}
	}
	return tab, list(&bad), list(&urls)
}

func TestPageInABrowser(t *testing.T) {
	s := server(t, Options{Token: "sesame"})
	web := httptest.NewServer(s.Handler())
	t.Cleanup(web.Close)
	t.Cleanup(func() { s.Shutdown(context.Background()) })
	play(t, s, "rst-instead-of-ack")
	tab, complaints, loaded := browser(t)
	var title, rows, link, address, chart string
	err := chromedp.Run(tab, log.Enable(), network.Enable(),
		chromedp.Navigate(web.URL+"/?token=sesame"),
		chromedp.WaitVisible("#connections tbody tr"),
		chromedp.Title(&title),
		chromedp.Location(&address),
		chromedp.Text("#connections", &rows),
		chromedp.Text("#link", &link),
		chromedp.OuterHTML("#chart", &chart),
	)
	if err != nil {
		t.Fatal(err)
	}
	if title != "tcpwatch" || address != web.URL+"/" || link != "live" {
		t.Errorf("the page is %q at %s, and %s", title, address, link)
	}
	for _, want := range []string{"10.9.0.1:40020", "10.9.0.2:7020", "CLOSED?", "rst-instead-of-ack"} {
		if !strings.Contains(rows, want) {
			t.Errorf("no %q in the table:\n%s", want, rows)
		}
	}
	if !strings.Contains(chart, "<path") {
		t.Errorf("the chart is %s", chart)
	}

	// What comes next is shown without loading the page anew, as text.
	evil := &tracker.Record{Conn: 77, Anomalies: []anomaly.Anomaly{{Kind: `<img src=x onerror="console.error(1)">`}}}
	evil.Ends[0].State = tcp.CloseWait
	s.Refresh(&record.Snapshot{Time: s.frame.Load().snapshot.Time.Add(time.Second), Records: []*tracker.Record{evil}})
	var text, states string
	var images int
	err = chromedp.Run(tab,
		chromedp.WaitVisible(`//td/a[text()="77"]`),
		chromedp.Text("#connections", &text),
		chromedp.Text("#states", &states),
		chromedp.Evaluate(`document.images.length`, &images),
	)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "<img src=x") || images != 0 {
		t.Errorf("%d images, and the table is\n%s", images, text)
	}
	if !strings.Contains(states, "CLOSE_WAIT") {
		t.Errorf("the states are\n%s", states)
	}
	quiet(t, web.URL, complaints, loaded)
	keepPicture(t, tab)
}

// quiet fails if the browser complained, or loaded something from elsewhere.
func quiet(t *testing.T, address string, complaints, loaded func() []string) {
	t.Helper()
	if bad := complaints(); len(bad) > 0 {
		t.Errorf("the browser complains: %q", bad)
	}
	for _, url := range loaded() {
		if !strings.HasPrefix(url, address+"/") {
			t.Errorf("the page loaded %s", url)
		}
	}
}

// keepPicture writes what is seen to the file that the environment names.
func keepPicture(t *testing.T, tab context.Context) {
	t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	var png []byte
	if err := chromedp.Run(tab, chromedp.FullScreenshot(&png, 100)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, t.Name()+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A link opens a connection, whose history and segments stay when it is over.
func TestConnectionInABrowser(t *testing.T) {
	s := server(t, Options{})
	web := httptest.NewServer(s.Handler())
	t.Cleanup(web.Close)
	t.Cleanup(func() { s.Shutdown(context.Background()) })
	playOpen(t, s)
	tab, complaints, loaded := browser(t)
	var heading, since, history, ladder, row string
	err := chromedp.Run(tab, log.Enable(), network.Enable(),
		chromedp.Navigate(web.URL+"/#conn=1"),
		chromedp.WaitVisible("#history tbody tr"),
		chromedp.Text("#conn-heading", &heading),
		chromedp.Text("#conn-since", &since),
		chromedp.Text("#history", &history),
		chromedp.Text("#ladder", &ladder),
		chromedp.WaitVisible("#connections tr.open"),
		chromedp.AttributeValue("#connections tr.open a", "href", &row, nil),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, has := range []struct{ text, want string }{
		{heading, "conn 1 10.9.0.1:40020 ESTABLISHED"}, {since, "Idle for 72.5ms. Times are relative to 2026-11-20T15:38:12.085177Z."},
		{history, "recv SYN,ACK"}, {ladder, "<CTL=PSH,ACK><DATA=5>"}, {row, "#conn=1"},
	} {
		if !strings.Contains(has.text, has.want) {
			t.Errorf("no %q in %q", has.want, has.text)
		}
	}
	keepPicture(t, tab)
	s.Refresh(&record.Snapshot{Time: s.frame.Load().snapshot.Time.Add(time.Second)})
	err = chromedp.Run(tab,
		chromedp.WaitVisible(`//p[@id="conn-since"][contains(text(), "it has closed")]`),
		chromedp.Text("#ladder", &ladder),
		chromedp.Click(`//a[text()="Close"]`),
		chromedp.WaitReady("#conn[hidden]", chromedp.ByQuery),
	)
	if err != nil || !strings.Contains(ladder, "<CTL=PSH,ACK><DATA=5>") {
		t.Errorf("when it is over the ladder is %q, %v", ladder, err)
	}
	for _, complaint := range complaints() {
		if !strings.Contains(complaint, "404") { // the answer for a connection that is over
			t.Errorf("the browser complains: %s", complaint)
		}
	}
	quiet(t, web.URL, func() []string { return nil }, loaded)
}

// However many connections end alike, the first screen says what went wrong and where;
// what piles up has its own scale; and the filter finds rows.
func TestManyConnectionsInABrowser(t *testing.T) {
	s := server(t, Options{})
	web := httptest.NewServer(s.Handler())
	t.Cleanup(web.Close)
	t.Cleanup(func() { s.Shutdown(context.Background()) })
	many := alike(2000)
	s.Refresh(many)
	s.Refresh(&record.Snapshot{Time: many.Time.Add(time.Second), Records: many.Records})
	tab, complaints, loaded := browser(t)
	var first, charts, scales, rows string
	err := chromedp.Run(tab, log.Enable(), network.Enable(), chromedp.EmulateViewport(1280, 800),
		chromedp.Navigate(web.URL+"/"),
		chromedp.WaitVisible("#findings tbody tr"),
		// What of the text is on the first screen.
		chromedp.Evaluate(`[...document.querySelectorAll("#alarm, #findings td, #services td")].filter((e) => e.getBoundingClientRect().bottom <= innerHeight).map((e) => e.textContent).join("|")`, &first),
		chromedp.Evaluate(`at("caption").textContent + "|" + at("rest-caption").textContent`, &scales),
		chromedp.Evaluate(`at("chart").children.length + "," + at("rest-chart").children.length`, &charts),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2000 errors, 0 warnings: rst-instead-of-ack at 10.9.0.2:80, 2000 times", "|rst-instead-of-ack|10.9.0.2:80|2000|", "10.9.0.2:80 answered with a RST.", "|10.9.0.2:80|2000|"} {
		if !strings.Contains(first, want) {
			t.Errorf("the first screen has no %q, but %s", want, first)
		}
	}
	if !strings.Contains(scales, "except TIME_WAIT and CLOSED, over the last 1 s; the top is 2|") || !strings.Contains(scales, "the top is 1999, with its own scale") || charts != "1,2" {
		t.Errorf("the scales are %q, with %s lines", scales, charts)
	}
	keepPicture(t, tab)
	err = chromedp.Run(tab,
		chromedp.SendKeys("#match", "established :1007"),
		chromedp.WaitVisible(`//p[@id="shown"][text()="1 row"]`),
		chromedp.Text("#connections tbody", &rows),
		chromedp.Text("#shown", &first),
	)
	if err != nil || !strings.Contains(rows, "10.9.0.1:1007") || first != "1 row" {
		t.Errorf("the filter leaves %q, and says %q, %v", rows, first, err)
	}
	quiet(t, web.URL, complaints, loaded)
}
