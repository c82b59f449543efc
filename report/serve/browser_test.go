//go:build browser

package serve

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
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
		chromedp.WaitVisible(`//td[text()="77"]`),
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
	if bad := complaints(); len(bad) > 0 {
		t.Errorf("the browser complains: %q", bad)
	}
	for _, url := range loaded() {
		if !strings.HasPrefix(url, web.URL+"/") {
			t.Errorf("the page loaded %s", url)
		}
	}
	if file := os.Getenv("SCREENSHOT"); file != "" {
		var png []byte
		if err := chromedp.Run(tab, chromedp.FullScreenshot(&png, 100)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
