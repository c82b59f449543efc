//go:build browser

package cmd

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/check"
	"github.com/tcpwatch/tcpwatch/report/html"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// These tests open pages in a headless Chromium:
//
//	go test -tags browser ./cmd -run Browser -v -pictures /tmp/pictures
//
// and skip where there is none. With -pictures what was seen is kept as PNG
// files. Those that the pages of the repository show are made by
//
//	go test -tags browser ./cmd -run BrowserReadme -pictures ../.pictures

var pictures = flag.String("pictures", "", "the `directory` where screenshots are kept")

// A tab is a page that is open in the browser.
type tab struct {
	testing.TB
	ctx context.Context
	mu  sync.Mutex
	bad []string // what the console had to say
}

// openPage writes the page to a file and opens it, at the connection that the
// fragment names.
func openPage(t testing.TB, contents []byte, fragment string) *tab {
	t.Helper()
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil && browser == "" {
			browser = path
		}
	}
	if browser == "" {
		t.Skip("no Chromium is installed")
	}
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, contents, 0o644); err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser), chromedp.WindowSize(1280, 1000))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute) // a browser that hangs fails the test
	t.Cleanup(cancel)
	b := &tab{TB: t, ctx: ctx}
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			b.complain(e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			b.complain(fmt.Sprintf("console.%s", e.Type))
		case *log.EventEntryAdded:
			b.complain(e.Entry.Text)
		case *page.EventJavascriptDialogOpening:
			b.complain("dialog: " + e.Message)
		}
	})
	address := url.URL{Scheme: "file", Path: filepath.ToSlash(file), Fragment: fragment}
	b.do(log.Enable(), page.Enable(), performance.Enable().WithTimeDomain(performance.EnableTimeDomainThreadTicks), chromedp.Navigate(address.String()))
	return b
}

func (b *tab) complain(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bad = append(b.bad, text)
}

// quiet checks that the console had nothing to say.
func (b *tab) quiet() {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.bad) > 0 {
		b.Errorf("the console has %q", b.bad)
	}
}

func (b *tab) do(actions ...chromedp.Action) {
	b.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.Fatal(err)
	}
}

// value evaluates an expression in the page.
func (b *tab) value(expression string) (v string) {
	b.Helper()
	b.do(chromedp.Evaluate("String("+expression+")", &v))
	return v
}

// equal checks the value of an expression.
func (b *tab) equal(expression, want string) {
	b.Helper()
	if got := b.value(expression); got != want {
		b.Errorf("%s is %q, want %q", expression, got, want)
	}
}

// keep keeps a picture of an element; "" is the whole page.
func (b *tab) keep(name, element string) {
	b.Helper()
	var png []byte
	if element == "" {
		b.do(chromedp.FullScreenshot(&png, 100))
	} else {
		b.do(chromedp.Screenshot(element, &png, chromedp.ByQuery))
	}
	if *pictures == "" {
		return
	}
	if err := errors.Join(os.MkdirAll(*pictures, 0o755), os.WriteFile(filepath.Join(*pictures, name+".png"), png, 0o644)); err != nil {
		b.Fatal(err)
	}
}

// scheme chooses light or dark.
func (b *tab) scheme(name string) {
	b.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}))
}

// printedPage returns what a command prints.
func printedPage(t testing.TB, args ...string) []byte {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if status := execute(t.Context(), args, &stdout, &stderr); status != exitDone {
		t.Fatalf("exit status %d: %s", status, stderr.String())
	}
	return stdout.Bytes()
}

// samples are the captures in pcaps.
func samples(t testing.TB) []string {
	files, err := filepath.Glob("../pcaps/*.pcap")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d captures found, want at least 15: %v", len(files), err)
	}
	return files
}

// forged writes a capture of short connections, of ten packets each.
func forged(t testing.TB, packets int) string {
	file := filepath.Join(t.TempDir(), "many.pcap")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = pktgen.Traffic{Kind: pktgen.ShortConnections, Packets: packets, Seed: 1}.Write(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return file
}

const (
	firstRow  = "document.querySelector('#table tbody tr')"
	shownRows = "document.querySelectorAll('#table tbody tr').length"
	statusOf  = "document.getElementById('status').textContent"
	focused   = "document.activeElement"
)

func TestBrowserTable(t *testing.T) {
	b := openPage(t, printedPage(t, append([]string{"replay", "-o", "html"}, samples(t)...)...), "")
	all := b.value(shownRows)
	b.equal(statusOf, all+" connections")
	b.keep("page", "")

	// Sort: by octets received, then the other way round.
	head := func(title string) string {
		return fmt.Sprintf("[...document.querySelectorAll('#table th button')].find(b => b.textContent.startsWith('%s'))", title)
	}
	received := "Math.max(...[...document.querySelectorAll('#table tbody tr')].map(r => +r.cells[6].textContent.replace(',', '')))"
	b.value(head("Received") + ".click()")
	b.equal(head("Received")+".closest('th').ariaSort", "ascending")
	b.equal(firstRow+".cells[6].textContent", "0")
	b.value(head("Received") + ".click()")
	b.equal(head("Received")+".closest('th').ariaSort", "descending")
	b.equal("+"+firstRow+".cells[6].textContent.replace(',', '') === "+received, "true")

	// Filter.
	set := func(id, text string) {
		b.value(fmt.Sprintf("(e => { e.value = '%s'; e.dispatchEvent(new Event('input')) })(document.getElementById('%s'))", text, id))
	}
	set("f-kind", "rst-instead-of-ack")
	b.equal(statusOf, "1 of "+all+" connections")
	b.equal(firstRow+".cells[1].textContent", "10.9.0.1:40020")
	set("f-kind", "")
	set("f-state", "CLOSE_WAIT")
	b.equal("[...document.querySelectorAll('#table tbody tr')].every(r => r.textContent.includes('CLOSE_WAIT'))", "true")
	set("f-state", "")
	set("f-host", ":7034")
	b.equal(statusOf, "1 of "+all+" connections")
	set("f-host", "fd00:9::1")
	b.equal(statusOf, "1 of "+all+" connections")
	set("f-host", "")
	set("f-text", "refused 10.9")
	b.equal(firstRow+".cells[10].textContent", "refused")
	set("f-text", "nowhere")
	b.equal(shownRows, "0")
	set("f-text", "")
	b.equal(shownRows, all)
	b.value(head("Conn") + ".click()")
	b.keep("sorted", "#connections .scroll:has(#table)")
	b.quiet()
}

// What README.md and report/README.md show.
func TestBrowserReadme(t *testing.T) {
	var files []string
	for _, name := range []string{"final-ack-lost", "rst-instead-of-ack", "time-wait-assassination", "time-wait-refuses-syn", "close-wait-leak", "keepalive-timeout", "forged-rst"} {
		files = append(files, "../pcaps/"+name+".pcap")
	}
	b := openPage(t, printedPage(t, append([]string{"replay", "-o", "html"}, files...)...), "")
	b.keep("table", "#connections .scroll:has(#table)")
	b = openPage(t, printedPage(t, "replay", "-o", "html", "../pcaps/time-wait-refuses-syn.pcap"), "")
	b.keep("timelines", "#timelines")
	b = openPage(t, printedPage(t, "replay", "-o", "html", "../pcaps/rst-instead-of-ack.pcap"), "")
	b.keep("ladder", "#l-picture")
	b.quiet()
}

// The keyboard alone leads from the top of the page to a ladder.
func TestBrowserKeyboard(t *testing.T) {
	b := openPage(t, printedPage(t, "replay", "-o", "html", "../pcaps/time-wait-refuses-syn.pcap"), "")
	b.do(chromedp.KeyEvent(kb.Tab))
	b.equal(focused+".className", "skip")
	b.do(chromedp.KeyEvent(kb.Enter))
	for i := 0; b.value(focused+".matches('#table tbody a')") != "true"; i++ {
		if i == 40 {
			t.Fatalf("after 40 tabs the focus is on %s", b.value(focused+".outerHTML"))
		}
		b.do(chromedp.KeyEvent(kb.Tab))
	}
	conn := b.value(focused + ".textContent")
	b.do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible("#l-picture svg", chromedp.ByQuery))
	b.equal("location.hash", "#conn="+conn)
	b.equal(focused+".textContent", "Ladder of connection "+conn)
	b.do(chromedp.KeyEvent(kb.Tab)) // the spacing
	b.equal(focused+".value", "even")
	b.do(chromedp.KeyEvent(kb.ArrowRight))
	b.equal("document.querySelector('input[name=spacing]:checked').value", "scale")
	b.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter)) // the next connection
	b.equal("location.hash !== '#conn="+conn+"'", "true")
	b.quiet()
}

// Everything that can be chosen is reached with Tab, has a name, and shows that
// it is chosen; every picture and table has a title.
func TestBrowserAccess(t *testing.T) {
	b := openPage(t, printedPage(t, "check", "-o", "html", "--undecided", "ignore", "--allow", "error", "../pcaps/time-wait-refuses-syn.pcap"), "")
	b.value(`[...document.querySelectorAll('details')].forEach(d => d.open = true)`)
	b.value(`left = new Set([...document.querySelectorAll('a, button:enabled, input, select, summary, [tabindex="0"]')].filter(e => e.type !== 'radio' || e.checked))`)
	for range 200 {
		b.do(chromedp.KeyEvent(kb.Tab))
		b.value("left.delete(" + focused + ")")
		if got := b.value("getComputedStyle(" + focused + ").outlineStyle"); got != "solid" && b.value(focused) != "[object HTMLBodyElement]" {
			t.Errorf("%s has the focus, and the outline %q", b.value(focused+".outerHTML.slice(0, 80)"), got)
		}
	}
	b.equal("[...left].map(e => e.outerHTML.slice(0, 80)).join()", "")
	b.equal(`[...document.querySelectorAll('a, button, input, select, summary, [tabindex="0"]')]
		.filter(e => !(e.textContent.trim() || e.ariaLabel || e.getAttribute('aria-labelledby') || e.labels?.length)).length`, "0")
	b.equal(`[...document.querySelectorAll('svg[role=img]')].filter(e => !e.querySelector('title') && !e.ariaLabel).length`, "0")
	b.equal(`[...document.querySelectorAll('th')].filter(e => !e.scope).length`, "0")
	b.equal(`[...document.querySelectorAll('table')].filter(e => !e.caption && !e.ariaLabel && !document.getElementById(e.getAttribute('aria-labelledby'))).length`, "0")
	b.equal(`document.querySelectorAll('#table [aria-current]').length`, "1")
	b.quiet()
}

// Text stands out from what is behind it, light and dark, by 4.5 to 1 at least.
func TestBrowserContrast(t *testing.T) {
	b := openPage(t, printedPage(t, append([]string{"replay", "-q", "-o", "html"}, samples(t)...)...), "")
	b.value(`[...document.querySelectorAll('details')].forEach(d => d.open = true)`)
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		b.equal(`(() => {
			const parts = color => color.match(/[\d.]+/g).map(Number);
			const linear = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
			const light = color => { const [r, g, b] = parts(color).map(linear); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
			const contrast = (a, b) => { const [x, y] = [light(a), light(b)]; return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05); };
			const behind = e => { for (; ; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if ((parts(c)[3] ?? 1) === 1) return c; } };
			const bad = [];
			for (const e of document.querySelectorAll('body *')) {
				if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || !e.getClientRects().length || e.matches(':disabled, script, style, title, desc')) continue;
				const style = getComputedStyle(e), drawn = e instanceof SVGElement;
				const ground = drawn && style.stroke !== 'none' ? style.stroke : behind(e), ratio = contrast(drawn ? style.fill : style.color, ground);
				if (ratio < 4.5) bad.push(ratio.toFixed(1) + ' ' + e.outerHTML.slice(0, 60));
			}
			return [...new Set(bad)].slice(0, 12).join('\n');
		})()`, "")
	}
	b.quiet()
}

// A ladder shows what was lost and who gave up.
func TestBrowserLadder(t *testing.T) {
	count := func(selector string) string {
		return "document.querySelectorAll('#l-picture " + selector + "').length"
	}
	b := openPage(t, printedPage(t, "replay", "-o", "html", "../pcaps/rst-instead-of-ack.pcap"), "conn=1")
	b.equal(count(".cross"), "3") // the last ACK, three times
	b.equal(count(".stop"), "1")
	b.equal(count(".deed.end")+" && document.querySelector('#l-picture .deed.end').textContent", "has no connection")
	b.keep("ladder-even", "#l-picture")
	b.keep("states", "#over-time")
	b.keep("machine", "#machine")
	b.do(chromedp.Click("input[value=scale]", chromedp.ByQuery))
	b.equal(count(".cross"), "3")
	b.keep("ladder-scale", "#l-picture")
	b.scheme("dark")
	b.keep("dark", "")
	// On the screen of a telephone it is all there, without scrolling to the side.
	b.do(chromedp.EmulateViewport(400, 900))
	b.equal(`[...document.querySelectorAll('#l-picture :is(text, .cross, .stop), #l-line svg, #timelines svg')].filter(e => {
		const box = e.getBoundingClientRect();
		return box.left < 0 || box.right > innerWidth;
	}).length`, "0")
	b.equal(count(".cross"), "3")
	b.keep("ladder-narrow", "#l-picture")
	b.quiet()

	b = openPage(t, printedPage(t, "replay", "--at", "+3m", "-o", "html", "../pcaps/syn-timeout.pcap"), "")
	b.equal(count(".disc"), "2") // nobody answers the SYNs
	b.equal(count(".stop")+" + document.querySelector('#l-picture .deed.end').textContent", "1gives up")
	b.keep("ladder-syn", "#l-picture")
	b.quiet()

	b = openPage(t, printedPage(t, "explain", "-o", "html", "../pcaps/keepalive-timeout.pcap"), "")
	b.equal(count(".disc"), "2") // two keepalives
	b.equal("document.querySelector('#l-picture .deed.end').textContent", "aborts")
	b.keep("ladder-keepalive", "#l-picture")
	b.quiet()

	b = openPage(t, printedPage(t, "replay", "-o", "html", "../tracker/testdata/traces/bulk-loss/client.pcap"), "")
	b.keep("ladder-bulk", "#l-picture")
	b.quiet()
}

// cutLabels lists the texts of pictures that reach out of their picture.
const cutLabels = `[...document.querySelectorAll('svg text')].filter(e => {
	const box = e.getBBox(), all = e.ownerSVGElement.viewBox.baseVal;
	return e.getClientRects().length && (box.x < all.x - 1 || box.x + box.width > all.x + all.width + 1 || box.y < all.y - 3 || box.y + box.height > all.y + all.height + 3);
}).map(e => e.ownerSVGElement.getAttribute('class') + ': ' + e.textContent)`

// No label of a picture is cut, however long the addresses and whatever the width.
// Of captures of two places, each direction of a connection has how long its segments
// were under way, and a cross where one was lost.
func TestBrowserWays(t *testing.T) {
	const in = "../pcaps/final-ack-lost/"
	b := openPage(t, printedPage(t, "replay", "-o", "html", "--tap", "client="+in+"client.pcap", "--tap", "server="+in+"server.pcap"), "conn=1")
	const picture = "[...document.querySelectorAll('#l-line "
	b.equal(picture+".delay')].map(p => p.getAttribute('d').split('M').length - 1).join()", "6,6")
	b.equal(picture+".cross')].map(p => p.getAttribute('d').split('M').length - 1).join()", "1,0")
	b.equal(picture+".delay title')].map(t => t.textContent).join('; ')",
		"from the client: 7 sent, 1 lost, 5.28ms to 5.53ms under way; from the server: 6 sent, 5.28ms to 5.74ms under way")
	one := openPage(t, printedPage(t, "replay", "-o", "html", "../pcaps/final-ack-lost.pcap"), "conn=1")
	one.equal(picture+".delay')].length", "0")
}

func TestBrowserLabels(t *testing.T) {
	const long = `"2001:db8:ffff:ffff:ffff:ffff:ffff:fff1"`
	contents := printedPage(t, append([]string{"replay", "-q", "-o", "html"}, samples(t)...)...)
	for _, to := range []string{`"10.9.0.1"`, long} {
		b := openPage(t, bytes.ReplaceAll(contents, []byte(`"10.9.0.1"`), []byte(to)), "")
		for _, width := range []int64{1280, 400} {
			b.do(chromedp.EmulateViewport(width, 800))
			b.value("dispatchEvent(new Event('resize'))")
			cut := b.value(`[...document.querySelectorAll('#table tbody tr')].flatMap(row => {
				history.replaceState(null, '', '#conn=' + row.dataset.conn);
				dispatchEvent(new HashChangeEvent('hashchange'));
				return ` + cutLabels + `.map(text => row.dataset.conn + ' ' + text);
			}).slice(0, 12).join('\n')`)
			if cut != "" {
				t.Errorf("%d pixels wide, with the address %s, are cut\n%s", width, to, cut)
			}
			// What is too wide for the screen can be reached, and makes the page no wider.
			b.equal("document.documentElement.scrollWidth <= innerWidth", "true")
		}
		b.quiet()
	}
}

// However many connections end alike, the first screen says what went wrong, how often
// and where; what is undecided is shown, and can be found.
func TestBrowserWhatWentWrong(t *testing.T) {
	var out bytes.Buffer
	p, err := report.New("html", &out, record.Options{Name: "many.pcap"})
	if err != nil {
		t.Fatal(err)
	}
	const text = "10.9.0.2:80 answered the last ACK with a RST, so that 10.9.0.1 ends with an error."
	for i := range 2000 {
		r := &tracker.Record{Conn: i + 1, Start: 1, End: 2}
		for e := range r.Ends {
			r.Ends[e].Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(1 + e)}), uint16(80+(1-e)*(920+i)))
			r.Ends[e].State = tcp.Closed
		}
		for _, kind := range []string{"rst-instead-of-ack", "time-wait-truncated", "fin-retransmitted"} {
			r.Anomalies = append(r.Anomalies, anomaly.Anomaly{Conn: i + 1, Kind: kind, Severity: anomaly.Error, Text: text, Count: 1, Time: 2})
		}
		if i == 1234 {
			r.Ends[1].Possible = tcp.Closed.Set() | tcp.LastAck.Set()
			r.Anomalies[0].Confidence = anomaly.ConfidenceAmbiguous
		}
		if err := p.Record(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(record.Summary{Packets: 1, TCPPackets: 1, First: 1, Last: 1_000_000}); err != nil {
		t.Fatal(err)
	}
	b := openPage(t, out.Bytes(), "")
	b.do(chromedp.EmulateViewport(1280, 800))
	seen := b.value(`[...document.querySelectorAll('header p, #anomalies summary, #anomalies li')].filter(e => e.getBoundingClientRect().bottom <= innerHeight).map(e => e.innerText).join('\n')`)
	for _, want := range []string{"6000 errors, 0 warnings: fin-retransmitted at 10.9.0.2:80, 2000 times", "2,000 connections at 10.9.0.2:80: conn 1, 2, ", "rst-instead-of-ack", text,
		"Undecided: 1 end has more than one possible state, 1 anomaly is ambiguous"} {
		if !strings.Contains(seen, want) {
			t.Errorf("the first screen has no %q, but\n%s", want, seen)
		}
	}
	b.equal("document.querySelectorAll('.undecided').length", "1")
	b.equal("(e => e.scrollWidth <= e.clientWidth)(document.querySelector('#connections .scroll:has(#table)'))", "true") // the anomalies are seen
	b.value("(e => { e.value = '?'; e.dispatchEvent(new Event('input')) })(document.getElementById('f-state'))")
	b.equal(statusOf, "1 of 2,000 connections")
	b.equal(firstRow+".cells[4].textContent.trim()", "CLOSED? {CLOSED, LAST_ACK}")
	b.keep("wrong", "")
	b.quiet()
}

// On paper a page is light, tells what of it is not printed, and has no
// picture that ends in the middle of a row.
func TestBrowserPrint(t *testing.T) {
	many := forged(t, 1000)
	b := openPage(t, printedPage(t, "replay", "-q", "-o", "html", many, "../pcaps/rst-instead-of-ack.pcap"), "")
	b.value("document.querySelectorAll('#table th button')[9].click()")
	b.value("before = document.body.innerHTML")
	b.do(emulation.SetEmulatedMedia().WithMedia("print").WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}))
	b.value("dispatchEvent(new Event('beforeprint'))")
	b.equal("getComputedStyle(document.body).backgroundColor", "rgb(255, 255, 255)")
	for _, want := range []string{"Sorted by Duration. Only the open page of the table is printed: 1 to 50 of ", "Only the open ladder is printed, 1 of "} {
		if text := b.value("document.body.innerText"); !strings.Contains(text, want) {
			t.Errorf("the page does not say %q on paper", want)
		}
	}
	b.equal("[...document.querySelectorAll('button, input, select, details:not([open])')].filter(e => e.getClientRects().length && getComputedStyle(e).display !== 'contents').length", "0")
	b.equal("document.querySelectorAll('#timelines .slices tbody tr').length", "50")
	b.equal("document.querySelectorAll('#l-picture .slices thead .host').length", "2")
	b.equal("document.querySelectorAll('#l-picture .slices tbody tr').length > 1", "true")
	// A row of a ladder stands in one slice, whole.
	b.equal(`[...document.querySelectorAll('#l-picture .slices .cross')].filter(e => {
		const cross = e.getBoundingClientRect(), slice = e.closest('svg').getBoundingClientRect();
		return cross.top >= slice.top && cross.bottom <= slice.bottom;
	}).length`, "3")
	b.value("dispatchEvent(new Event('afterprint'))")
	b.equal("document.body.innerHTML === before", "true")
	b.do(chromedp.ActionFunc(func(ctx context.Context) error {
		pdf, _, err := page.PrintToPDF().WithPrintBackground(true).Do(ctx)
		if err == nil && *pictures != "" {
			err = os.WriteFile(filepath.Join(*pictures, "print.pdf"), pdf, 0o644)
		}
		return err
	}))
	b.quiet()
}

// 50,000 connections fit into 15 MB, and turning their pages is quick. How
// long they take to load is told, not judged: that depends on the machine.
func TestBrowserManyConnections(t *testing.T) {
	contents := printedPage(t, "replay", "-o", "html", forged(t, 500_000))
	if len(contents) > 15_000_000 {
		t.Errorf("the page has %d octets, want at most 15 MB", len(contents))
	}
	b := openPage(t, contents, "")
	b.equal(statusOf, "50,000 connections")
	b.equal(shownRows, "50")
	b.do(chromedp.ActionFunc(func(ctx context.Context) error {
		metrics, err := performance.GetMetrics().Do(ctx)
		for _, m := range metrics {
			if m.Name == "TaskDuration" {
				t.Logf("%.2f s of CPU to load, on the page's thread", m.Value)
			}
		}
		return err
	}))
	timed := func(what string) string {
		return b.value("(() => { const t = performance.now(); " + what + "; return Math.round(performance.now() - t) + ' ms'; })()")
	}
	t.Logf("%d octets, loaded in %s ms", len(contents), b.value("Math.round(performance.timing.loadEventEnd - performance.timing.navigationStart)"))
	t.Logf("sort: %s", timed("document.querySelectorAll('#table th button')[9].click()"))
	t.Logf("filter by text: %s", timed("{ const e = document.getElementById('f-text'); e.value = 'time_wait :80'; e.dispatchEvent(new Event('input')) }"))
	t.Logf("filter again: %s", timed("{ const e = document.getElementById('f-text'); e.value = 'server'; e.dispatchEvent(new Event('input')) }"))
	t.Logf("next page, with its timelines, laid out: %s", timed("document.getElementById('p-next').click(); document.body.offsetHeight"))
	b.equal("document.getElementById('p-at').textContent.startsWith('Page 2 of')", "true")
	b.keep("many", "")
	b.quiet()
}

// A capture cannot script the page.
func TestBrowserHostile(t *testing.T) {
	const evil = `</script><script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>` + "${alert(4)}`"
	var out bytes.Buffer
	p, err := report.New("html", &out, record.Options{Name: evil})
	if err != nil {
		t.Fatal(err)
	}
	r := &tracker.Record{Conn: 1, Start: 1, End: 2, Anomalies: []anomaly.Anomaly{{Conn: 1, Kind: evil, Text: evil, Cause: evil, RFC: evil, Time: 1}}}
	for e := range r.Ends {
		r.Ends[e].State, r.Ends[e].History = tcp.SynSent, []tracker.Step{{Time: 1, State: tcp.SynSent}}
	}
	html.Judge(p, []html.Ruling{{Verdict: check.Failed, Rule: evil, Text: evil, Ends: evil, Conn: 1}})
	if err := errors.Join(p.Record(r), p.Close(record.Summary{Packets: 1, TCPPackets: 1, First: 1, Last: 1_000_000})); err != nil {
		t.Fatal(err)
	}
	b := openPage(t, out.Bytes(), "conn=1")
	b.equal("document.querySelectorAll('script').length", "2")
	b.equal("document.images.length", "0")
	if text := b.value(firstRow + ".textContent"); !strings.Contains(text, "onerror=alert(2)") {
		t.Errorf("the text of the anomaly is not shown as text: %q", text)
	}
	b.quiet()
	// The policy stops what gets in all the same.
	b.value("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title = 1\">')")
	b.equal("document.title.startsWith('tcpwatch')", "true")
}
