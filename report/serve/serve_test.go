package serve

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/tcpwatch/tcpwatch/report/internal/replaytest"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// server returns a Server.
func server(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// play plays a capture to the server.
func play(t *testing.T, s *Server, name string) {
	t.Helper()
	if err := replaytest.File("../../pcaps/"+name+".pcap", 100*time.Millisecond, s, nil, nil); err != nil {
		t.Fatal(err)
	}
}

// An untilOpen shows a capture to a Server until its connection is open.
type untilOpen struct {
	*Server
	open bool
}

func (u *untilOpen) Take(s *tcp.Segment) {
	if !u.open {
		u.Server.Take(s)
	}
}

func (u *untilOpen) Event(e *tracker.Event) {
	if !u.open {
		u.Server.Event(e)
	}
}

func (u *untilOpen) Refresh(s *record.Snapshot) {
	if !u.open {
		u.Server.Refresh(s)
		u.open = len(s.Records) > 0 && len(s.Records[0].Ends[0].History) > 1
	}
}

// playOpen plays a capture to the server until its connection is open.
func playOpen(t *testing.T, s *Server) {
	t.Helper()
	u := &untilOpen{Server: s}
	if err := replaytest.File("../../pcaps/rst-instead-of-ack.pcap", 100*time.Millisecond, u, u.Take, nil); err != nil || !u.open {
		t.Fatalf("the connection is open: %v; %v", u.open, err)
	}
}

// alike returns a Snapshot of n connections that end alike, but for one that is open.
func alike(n int) *record.Snapshot {
	s := &record.Snapshot{Time: tcp.Time(time.Hour)}
	for i := range n {
		r := &tracker.Record{Conn: i + 1, Start: 1, End: tcp.Time(time.Second)}
		for e := range r.Ends {
			r.Ends[e].Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(1 + e)}), uint16(80+(1-e)*(920+i)))
		}
		r.Ends[0].State, r.Ends[1].State = tcp.TimeWait, tcp.Closed
		if i == 7 {
			r.Ends[0].State, r.Ends[1].State = tcp.Established, tcp.Established
		}
		r.Anomalies = []anomaly.Anomaly{{Conn: r.Conn, Kind: "rst-instead-of-ack", Severity: anomaly.Error, Text: "10.9.0.2:80 answered with a RST.", Count: 1, Time: r.End}}
		s.Records = append(s.Records, r)
	}
	return s
}

// get asks the handler, with headers as "Name: value", and returns the answer.
func get(h http.Handler, path string, headers ...string) *http.Response {
	r := httptest.NewRequest("GET", path, nil)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// body returns the body of an answer.
func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestMetricsTellWhatTheTrackerSaw(t *testing.T) {
	s := server(t, Options{})
	play(t, s, "rst-instead-of-ack")
	text := body(t, get(s.Handler(), "/metrics"))
	for _, want := range []string{
		`tcpwatch_connections{endpoint="client",state="CLOSED"} 1`,
		`tcpwatch_connections{endpoint="client",state="ESTABLISHED"} 0`,
		`tcpwatch_connections{endpoint="server",state="CLOSED"} 1`,
		`tcpwatch_connections_seen_total{origin="syn"} 1`,
		`tcpwatch_connections_seen_total{origin="midstream"} 0`,
		`tcpwatch_transitions_total{endpoint="client",from="FIN_WAIT_2",to="TIME_WAIT"} 1`,
		`tcpwatch_anomalies_total{kind="rst-instead-of-ack",severity="error"} 1`,
		`tcpwatch_handshake_rtt_seconds_count 1`,
		`tcpwatch_captured_packets_total 17`,
		`tcpwatch_segments_total 17`,
		`tcpwatch_dropped_packets_total 0`,
		`tcpwatch_evicted_connections_total 0`,
		`tcpwatch_undecodable_packets_total 0`,
		`tcpwatch_refresh_timestamp_seconds 1.79`,
		`tcpwatch_memory_bytes `,
		`go_goroutines `,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

// What is exported is what the list names, in Prometheus's conventions, and
// nothing in it says who talks to whom.
func TestMetricsKeepToTheConventions(t *testing.T) {
	for _, by := range MetricsBy() {
		t.Run(by, func(t *testing.T) { keepToTheConventions(t, by) })
	}
}

func keepToTheConventions(t *testing.T, by string) {
	s := server(t, Options{MetricsBy: by})
	for _, name := range []string{"rst-instead-of-ack", "refused", "ipv6-cooked", "midstream"} {
		play(t, s, name)
	}
	last := *s.frame.Load().snapshot
	last.Summary.Limits = []record.Limit{{Name: "hosts", Cut: 9, Text: "9 hosts no longer watched"}}
	owned := last.Records[0].Clone()
	owned.Ends[tcp.Server].Socket = &tcp.Socket{Owner: tcp.Owner{Program: "nginx", Unit: "nginx.service"}}
	last.Records = append(slices.Clone(last.Records), owned)
	s.Refresh(&last)
	families, err := s.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "tcpwatch_") {
			continue
		}
		names = append(names, f.GetName())
		at := slices.IndexFunc(list, func(m metric) bool { return m.name == f.GetName() })
		if at < 0 {
			t.Errorf("%s is not in the list", f.GetName())
			continue
		}
		m := list[at]
		if kind := strings.ToLower(f.GetType().String()); kind != m.kind {
			t.Errorf("%s is a %s, the list says %s", m.name, kind, m.kind)
		}
		for _, one := range f.Metric {
			var labels []string
			for _, l := range one.Label {
				labels = append(labels, l.GetName())
				_, err1 := netip.ParseAddr(l.GetValue())
				_, err2 := netip.ParseAddrPort(l.GetValue())
				if err1 == nil || err2 == nil {
					t.Errorf("%s has the address %s in its label %s", m.name, l.GetValue(), l.GetName())
				}
			}
			if !slices.Equal(labels, m.labels) {
				t.Errorf("%s has the labels %v, the list says %v", m.name, labels, m.labels)
			}
		}
	}
	if len(names) != len(list)-1 { // the other that --metrics-by may ask for
		t.Errorf("exported are %v, of %d in the list", names, len(list))
	}
	problems, err := testutil.GatherAndLint(s.metrics.registry, names...)
	if err != nil || len(problems) > 0 {
		t.Errorf("the linter says %v, %v", problems, err)
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool (Debian package prometheus) is not installed")
	}
	c := exec.Command(promtool, "check", "metrics")
	c.Stdin = get(s.Handler(), "/metrics").Body
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// A connection that is over is in one more Snapshot, but not kept any more; its
// handshake counts once.
func TestWhatIsOverIsNotCounted(t *testing.T) {
	s := server(t, Options{})
	r := &tracker.Record{Conn: 1, HandshakeRTT: time.Millisecond}
	r.Ends[0].State, r.Ends[1].State = tcp.Established, tcp.Established
	kept := func() int { return s.frame.Load().states[tcp.Established][tcp.Client] }
	for range 3 {
		s.Refresh(&record.Snapshot{Time: 1, Records: []*tracker.Record{r}})
	}
	if kept() != 1 {
		t.Errorf("%d clients are in ESTABLISHED, want 1", kept())
	}
	s.Event(&tracker.Event{Kind: tracker.EventConnection, Conn: 1, Record: r})
	s.Refresh(&record.Snapshot{Time: 2, Records: []*tracker.Record{r}, Over: 1})
	if kept() != 0 {
		t.Errorf("%d clients are in ESTABLISHED after the end, want 0", kept())
	}
	s.Event(&tracker.Event{Kind: tracker.EventConnection, Conn: 2, Record: &tracker.Record{Conn: 2, HandshakeRTT: time.Second}}) // there was no room for it
	s.Refresh(&record.Snapshot{Time: 3})
	if text := body(t, get(s.Handler(), "/metrics")); !strings.Contains(text, "tcpwatch_handshake_rtt_seconds_count 2\n") {
		t.Error("two handshakes are not counted once each")
	}
}

func TestPaths(t *testing.T) {
	h := server(t, Options{}).Handler()
	for _, test := range []struct {
		path, kind string
		status     int
	}{
		{"/", "text/html; charset=utf-8", 200},
		{"/page.js", "text/javascript; charset=utf-8", 200},
		{"/page.css", "text/css; charset=utf-8", 200},
		{"/page.svg", "image/svg+xml", 200},
		{"/healthz", "text/plain; charset=utf-8", 200},
		{"/metrics", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores", 200},
		{"/index.html", "text/plain; charset=utf-8", 404},
		{"/page/page.js", "text/plain; charset=utf-8", 404},
		{"/../serve.go", "text/plain; charset=utf-8", 404},
	} {
		r := get(h, test.path)
		if kind := r.Header.Get("Content-Type"); r.StatusCode != test.status && r.StatusCode/100 != 3 || r.StatusCode == 200 && kind != test.kind {
			t.Errorf("%s: got %d %s, want %d %s", test.path, r.StatusCode, kind, test.status, test.kind)
		}
		if csp := r.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; ") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy is %q", test.path, csp)
		}
	}
	r := httptest.NewRequest("POST", "/", nil)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %d, want %d", w.Code, http.StatusMethodNotAllowed)
	}
}

// The page has nothing from elsewhere, and nothing that the policy forbids.
func TestPageIsWhole(t *testing.T) {
	h := server(t, Options{}).Handler()
	for _, path := range []string{"/", "/page.js", "/page.css"} {
		text := strings.ReplaceAll(body(t, get(h, path)), "http://www.w3.org/2000/svg", "")
		for _, forbidden := range []string{"http:", "https:", "//cdn", "innerHTML", "eval(", "style=", "onclick", "@import"} {
			if strings.Contains(text, forbidden) {
				t.Errorf("%s has %q", path, forbidden)
			}
		}
	}
}

func TestToken(t *testing.T) {
	s := server(t, Options{Token: "sesame"})
	h := s.Handler()
	for _, test := range []struct {
		path, header string
		want         int
	}{
		{"/healthz", "", 200},
		{"/", "", 401},
		{"/metrics", "", 401},
		{"/events", "", 401},
		{"/conn/1", "", 401},
		{"/page.js", "", 401},
		{"/metrics", "Authorization: Bearer sesame", 200},
		{"/metrics", "Authorization: Bearer sesam", 401},
		{"/metrics", "Authorization: Bearer ", 401},
		{"/metrics", "Authorization: Basic sesame", 401},
		{"/?token=sesame", "", 303},
		{"/?token=", "", 401},
		{"/metrics?token=sesame", "", 401},
		{"/", "Cookie: tcpwatch=" + s.cookie, 200},
		{"/", "Cookie: tcpwatch=sesame", 401},
		{"/", "Cookie: tcpwatch=", 401},
	} {
		var headers []string
		if test.header != "" {
			headers = []string{test.header}
		}
		if got := get(h, test.path, headers...); got.StatusCode != test.want {
			t.Errorf("%s %s: got %d, want %d", test.path, test.header, got.StatusCode, test.want)
		}
	}
	c := get(h, "/?token=sesame").Cookies()
	if len(c) != 1 || c[0].Value != s.cookie || !c[0].HttpOnly || c[0].SameSite != http.SameSiteStrictMode {
		t.Errorf("the cookies are %v", c)
	}
}

func TestLocalOnly(t *testing.T) {
	h := localOnly(server(t, Options{}).Handler())
	for host, want := range map[string]int{"localhost:9555": 200, "127.0.0.1:9555": 200, "[::1]:9555": 200, "::1": 200, "LocalHost": 200, "evil.example": 403, "evil.example:9555": 403, "": 403} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("Host %q: got %d, want %d", host, w.Code, want)
		}
	}
}

func TestWarning(t *testing.T) {
	for _, test := range []struct {
		addr, token string
		tls         *tls.Config
		warns       bool
	}{
		{"127.0.0.1:9555", "", nil, false}, {"127.8.9.1:1", "", nil, false}, {"[::1]:9555", "", nil, false}, {"[::ffff:127.0.0.1]:1", "", nil, false},
		{"0.0.0.0:9555", "", nil, true}, {"[::]:9555", "", nil, true}, {"10.0.0.1:9555", "", nil, true}, {"10.0.0.1:9555", "sesame", nil, true},
		{"10.0.0.1:9555", "sesame", new(tls.Config), false}, {"10.0.0.1:9555", "", new(tls.Config), true},
	} {
		addr := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(test.addr))
		got := Warning(addr, Options{Token: test.token, TLS: test.tls})
		if (got != "") != test.warns || strings.Contains(got, "sesame") {
			t.Errorf("Warning(%s, %q) = %q", test.addr, test.token, got)
		}
	}
}

// A reader reads server-sent events.
type reader struct {
	t *testing.T
	*bufio.Scanner
}

// follow opens an address of /events.
func follow(t *testing.T, url string) reader {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Body.Close() })
	if kind := r.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatalf("the events are %s", kind)
	}
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<22)
	return reader{t, lines}
}

// next reads the data of the next event of that name.
func (r reader) next(name string, into any) {
	r.t.Helper()
	event := ""
	for r.Scan() {
		if what, ok := strings.CutPrefix(r.Text(), "event: "); ok {
			event = what
		}
		if data, ok := strings.CutPrefix(r.Text(), "data: "); ok && event == name {
			if err := json.Unmarshal([]byte(data), into); err != nil {
				r.t.Fatal(err)
			}
			return
		}
	}
	r.t.Fatalf("no event %q: %v", name, r.Err())
}

type drawnTable struct {
	Time, Totals, States string
	Titles               []string
	Rows                 [][]string
	All                  int
	Alarm                string
	Findings             []found
	Services             grid
}

func TestEvents(t *testing.T) {
	s := server(t, Options{})
	web := httptest.NewServer(s.Handler())
	t.Cleanup(web.Close)
	play(t, s, "normal-close")
	events := follow(t, web.URL+"/events")
	var points []point
	events.next("points", &points)
	if len(points) < 3 || points[len(points)-1].States["CLOSED"]+points[len(points)-1].States["TIME_WAIT"] != 2 {
		t.Errorf("the points are %v", points)
	}
	var now drawnTable
	events.next("table", &now)
	if now.All != 1 || len(now.Rows) != 1 || now.Titles[1] != "Client Address" || !strings.HasPrefix(now.Rows[0][1], "10.9.0.1:") {
		t.Errorf("the table is %+v", now)
	}
	rows := &record.Snapshot{Time: tcp.Time(time.Hour) + s.frame.Load().snapshot.Time}
	for i := range shownRows + 7 {
		r := &tracker.Record{Conn: i + 1, Anomalies: []anomaly.Anomaly{{Kind: "<script>\x1b"}}}
		rows.Records = append(rows.Records, r)
	}
	s.Refresh(rows)
	events.next("points", &points)
	if len(points) != 1 {
		t.Errorf("%d points after one refresh", len(points))
	}
	events.next("table", &now)
	if len(now.Rows) != shownRows || now.All != shownRows+7 || !slices.Contains(now.Rows[0], `<script>\x1b`) {
		t.Errorf("%d rows of %d, the first %q", len(now.Rows), now.All, now.Rows[0])
	}
}

// Rows can be asked for by words that they hold.
func TestEventsThatMatch(t *testing.T) {
	s := server(t, Options{})
	web := httptest.NewServer(s.Handler())
	t.Cleanup(web.Close)
	s.Refresh(alike(2000))
	for _, test := range []struct {
		match string
		all   int
	}{{"", 2000}, {"established", 1}, {":1234+time_wait+RST-INSTEAD", 1}, {"nobody", 0}, {strings.Repeat(":1234+", 1000), 1}} {
		var now drawnTable
		follow(t, web.URL+"/events?match="+test.match).next("table", &now)
		if now.All != test.all {
			t.Errorf("%.20q: %d rows, want %d", test.match, now.All, test.all)
		}
		if len(now.Findings) != 1 || len(now.Services.Rows) != 1 || now.Findings[0].Cells[3] != "2000" || !strings.HasPrefix(now.Alarm, "2000 errors, 0 warnings: ") {
			t.Errorf("%.20q: %q, the findings are %v, the services %v", test.match, now.Alarm, now.Findings, now.Services)
		}
	}
}

// A connection is told of as long as it is kept, and only where it is selected.
func TestConn(t *testing.T) {
	s := server(t, Options{})
	playOpen(t, s)
	h := s.Handler()
	var known struct {
		Heading, Since, Ladder string
		History                grid
	}
	if err := json.Unmarshal([]byte(body(t, get(h, "/conn/1"))), &known); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(known.Heading, "conn 1  10.9.0.1:40020 ESTABLISHED") || !strings.HasPrefix(known.Since, "Idle for 72.5ms.") ||
		len(known.History.Rows) != 4 || !strings.Contains(known.Ladder, "<CTL=SYN,ACK>") {
		t.Errorf("known is %+v", known)
	}
	for _, path := range []string{"/conn/2", "/conn/0", "/conn/-1", "/conn/x", "/conn/99999999999999999999"} {
		if got := get(h, path).StatusCode; got != http.StatusNotFound {
			t.Errorf("%s: got %d, want %d", path, got, http.StatusNotFound)
		}
	}
	s.opts.Report.Where = func(*tracker.Record) bool { return false }
	if got := get(h, "/conn/1").StatusCode; got != http.StatusNotFound {
		t.Errorf("of a connection that is not selected: got %d, want %d", got, http.StatusNotFound)
	}
}

// A client that reads nothing holds nobody up.
func TestStuckClientHoldsNobodyUp(t *testing.T) {
	s := server(t, Options{})
	web := httptest.NewServer(s.Handler())
	t.Cleanup(web.Close)
	stuck, err := net.Dial("tcp", web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stuck.Close() })
	io.WriteString(stuck, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
	events := follow(t, web.URL+"/events")
	big := &record.Snapshot{}
	for i := range shownRows {
		big.Records = append(big.Records, &tracker.Record{Conn: i + 1})
	}
	for i := range 2000 {
		s.Refresh(&record.Snapshot{Time: tcp.Time(i + 1), Records: big.Records})
	}
	var now drawnTable
	for now.Time != "1970-01-01T00:00:00.000002Z" { // that of the last
		events.next("table", &now)
	}
}

func TestTooManyClients(t *testing.T) {
	s := server(t, Options{})
	s.clients.Store(MaxClients)
	if got := get(s.Handler(), "/events").StatusCode; got != http.StatusServiceUnavailable {
		t.Errorf("got %d, want %d", got, http.StatusServiceUnavailable)
	}
	if s.clients.Load() != MaxClients {
		t.Error("who was sent away is counted")
	}
}

// serving serves on a port of its own, and returns its address.
func serving(t *testing.T, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Shutdown(context.Background())
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// dial connects, and sends a text.
func dial(t *testing.T, address, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	io.WriteString(c, text)
	return c
}

// Who connects and asks nothing, or not all, or nothing more, is cut off.
func TestIdleClientsAreCutOff(t *testing.T) {
	s := server(t, Options{})
	if s.http.ReadHeaderTimeout <= 0 || s.http.IdleTimeout <= 0 {
		t.Fatal("there is no time-out")
	}
	s.http.ReadHeaderTimeout, s.http.IdleTimeout = 50*time.Millisecond, 50*time.Millisecond
	address := serving(t, s)
	for _, text := range []string{"", "GET / HT", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"} {
		if _, err := io.ReadAll(dial(t, address, text)); err != nil { // it ends
			t.Errorf("after %q: %v", text, err)
		}
	}
}

// A client that sends more than a request is not listened to.
func TestRequestsHaveNoBody(t *testing.T) {
	address := serving(t, server(t, Options{}))
	got, err := io.ReadAll(dial(t, address, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx"))
	if !strings.HasPrefix(string(got), "HTTP/1.1 413 ") {
		t.Errorf("%v: got %s", err, got)
	}
}

// However many connect, only so many connections are open; the next is when one of
// these is closed.
func TestConnectionsAreBounded(t *testing.T) {
	const ask, answer = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 200"
	address := serving(t, server(t, Options{Conns: 2}))
	var got [len(answer)]byte
	var open []net.Conn
	for range 2 {
		c := dial(t, address, ask)
		if _, err := io.ReadFull(c, got[:]); err != nil || string(got[:]) != answer {
			t.Fatalf("%v: got %s", err, got)
		}
		open = append(open, c)
	}
	third := dial(t, address, ask)
	third.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := third.Read(got[:]); err == nil {
		t.Errorf("a third connection was answered with %s", got[:n])
	}
	open[0].Close()
	third.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadFull(third, got[:]); err != nil || string(got[:]) != answer {
		t.Errorf("when one was closed: %v, got %s", err, got)
	}
}

// With a certificate requests are encrypted, one a connection, and so is the cookie.
func TestTLS(t *testing.T) {
	helper := httptest.NewTLSServer(nil)
	defer helper.Close()
	s := server(t, Options{Token: "sesame", TLS: &tls.Config{Certificates: helper.TLS.Certificates}})
	url := "https://" + serving(t, s) + "/"
	client := helper.Client()
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	got, err := client.Get(url + "?token=sesame")
	if err != nil {
		t.Fatal(err)
	}
	got.Body.Close()
	if cookies := got.Cookies(); got.ProtoMajor != 1 || len(cookies) != 1 || !cookies[0].Secure {
		t.Errorf("got HTTP/%d and cookies %v", got.ProtoMajor, cookies)
	}
	if got, err := http.Get(strings.Replace(url, "https", "http", 1) + "healthz"); err == nil && got.StatusCode == http.StatusOK {
		t.Error("what is not encrypted is answered")
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := server(t, Options{})
	for i := range 5 * keptPoints {
		s.Refresh(&record.Snapshot{Time: tcp.Time(i+1) * 1e6})
		if n := len(s.frame.Load().points); n > 2*keptPoints {
			t.Fatalf("%d points are kept", n)
		}
	}
	p := s.frame.Load().points
	if last := p[len(p)-1].Time; last != 5*keptPoints || len(p) < keptPoints {
		t.Errorf("%d points up to %d", len(p), last)
	}
}

func TestShutdownEndsWhatIsOpen(t *testing.T) {
	s := server(t, Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- s.Serve(l) }()
	events := follow(t, "http://"+l.Addr().String()+"/events")
	var now drawnTable
	events.next("table", &now)
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve returned %v", err)
	}
	for events.Scan() { // ends
	}
	s.Refresh(&record.Snapshot{Time: 1})
}

// BenchmarkEvent is what a Server costs the tracker, by event.
func BenchmarkEvent(b *testing.B) {
	s, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Event(&tracker.Event{Kind: tracker.EventSegment})
		s.Event(&tracker.Event{Kind: tracker.EventTransition, From: tcp.SynSent, To: tcp.Established})
	}
}

// Ends are counted by whose they are where that was asked for, and no more names than so
// many have series.
func TestMetricsByOwner(t *testing.T) {
	owned := func(program, unit string, state tcp.State) *tracker.Record {
		r := new(tracker.Record)
		r.Ends[tcp.Server].State = state
		r.Ends[tcp.Server].Socket = &tcp.Socket{Owner: tcp.Owner{Program: program, Unit: unit}}
		return r
	}
	records := []*tracker.Record{
		owned("nginx", "web.service", tcp.Established), owned("nginx", "web.service", tcp.Established), owned("nginx", "", tcp.CloseWait),
		owned("\xff", "", tcp.Listen), owned("", "", tcp.Listen),
	}
	for i := range 3 * mostOwners {
		records = append(records, owned(fmt.Sprintf("one%03d", i), "web.service", tcp.TimeWait))
	}
	for by, want := range map[string][]string{
		"": nil,
		"program": {
			`tcpwatch_program_connections{endpoint="server",program="nginx",state="ESTABLISHED"} 2`,
			`tcpwatch_program_connections{endpoint="server",program="nginx",state="CLOSE_WAIT"} 1`,
			`tcpwatch_program_connections{endpoint="server",program="one000",state="TIME_WAIT"} 1`,
			`tcpwatch_program_connections{endpoint="server",program="other",state="TIME_WAIT"} 201`,
			`tcpwatch_program_connections{endpoint="server",program="other",state="LISTEN"} 1`,
		},
		"service": {`tcpwatch_service_connections{endpoint="server",service="web.service",state="ESTABLISHED"} 2`},
	} {
		s := server(t, Options{MetricsBy: by})
		s.Refresh(&record.Snapshot{Records: records})
		text := body(t, get(s.Handler(), "/metrics"))
		for _, line := range want {
			if !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("by %q: no %s in\n%s", by, line, text)
			}
		}
		if n := strings.Count(text, "\ntcpwatch_program_connections{") + strings.Count(text, "\ntcpwatch_service_connections{"); n > mostOwners+3 || (n > 0) != (by != "") {
			t.Errorf("by %q: %d series", by, n)
		}
	}
	if _, err := New(Options{MetricsBy: "host"}); err == nil || !strings.Contains(err.Error(), "program or service") {
		t.Errorf("by host: %v", err)
	}
}
