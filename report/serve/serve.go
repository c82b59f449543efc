// Package serve shows over HTTP what the tracker sees: metrics for Prometheus,
// and a page.
//
//	/          the page: the live table, and the states over time
//	/events    what keeps the page up to date, as server-sent events; of
//	           connections only the rows that hold all the words of ?match=
//	/conn/N    the newest segments and the history of a connection
//	/metrics   for Prometheus
//	/healthz   says ok
//
// The tracker's goroutine pushes (Event, Refresh) and never waits: a client
// takes the newest Snapshot whenever it is ready for one, and misses those
// between.
//
//	serve.go    the Server: who may see what
//	metrics.go  the metrics
//	stream.go   what the page is sent
//	conn.go     what it is told of one connection
//	page/       the page; it loads nothing from elsewhere
package serve

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/tcpwatch/tcpwatch/report/ladder"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/table"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
	"golang.org/x/net/netutil"
)

// Options say what a Server shows, and to whom.
type Options struct {
	// Report says what the page shows, and how: Filter, Where, Existing, Sort
	// and Time. Metrics count everything.
	Report record.Options

	// Token, unless empty, is asked of everybody, but for /healthz: as "Bearer"
	// in the header Authorization, or once in the page's address, /?token=,
	// which leaves a cookie.
	Token string

	// TLS, unless nil, has the certificate by which requests are encrypted.
	TLS *tls.Config

	// MetricsBy, unless empty, has metrics by whose the ends are, one of MetricsBy(), as far
	// as that is known.
	MetricsBy string

	// Conns is how many connections are open at once; 0: DefaultConns. Others wait
	// until one of them is closed, which those that ask nothing are.
	Conns int
}

// DefaultConns is how many connections are open at once.
const DefaultConns = 128

const (
	patience     = 15 * time.Second // for a client to ask, and to take what it is sent
	idle         = 30 * time.Second // between two requests
	maxDrawn     = 4                // requests for metrics at once
	maxPageBytes = 1 << 14          // of the header of a request
)

// A Server shows what it is told over HTTP. Take, Event and Refresh are for one
// goroutine, that of the tracker; the other methods are for any.
type Server struct {
	opts    Options
	cookie  string // what it must hold; "" without a token
	metrics *serverMetrics
	frame   atomic.Pointer[frame] // the newest
	clients atomic.Int32          // of /events
	drawing sync.Mutex            // of what one client asks for: several at once would take the time of the capture
	http    http.Server
	done    chan struct{} // closed by Shutdown
	stop    sync.Once

	mu     sync.Mutex // the tracker adds to what is kept while a page reads it
	recent *ladder.Recent
}

// New returns a Server. The error tells a field to sort by, or a MetricsBy, that does not
// exist.
func New(o Options) (*Server, error) {
	if o.Report.Sort == "" {
		o.Report.Sort = "-conn"
	}
	if _, known := ownedMetrics[o.MetricsBy]; !known {
		return nil, fmt.Errorf("--metrics-by %q: must be %s", o.MetricsBy, strings.Join(MetricsBy(), " or "))
	}
	o.Report.Color = false
	if _, err := table.NewList(table.BothEnds, &record.Snapshot{}, o.Report, ""); err != nil {
		return nil, err
	}
	s := &Server{opts: o, done: make(chan struct{}), recent: ladder.NewRecent(o.Report.Memory / ladder.RecentShare)}
	if o.Token != "" {
		sum := sha256.Sum256([]byte("tcpwatch page\x00" + o.Token))
		s.cookie = hex.EncodeToString(sum[:])
	}
	s.frame.Store(newFrame(&record.Snapshot{}, nil))
	s.metrics = newMetrics(s)
	s.http.ReadHeaderTimeout, s.http.IdleTimeout = patience, idle
	s.http.MaxHeaderBytes = maxPageBytes
	s.http.ErrorLog = log.New(io.Discard, "", 0) // what a client does wrong is not ours to tell
	s.http.TLSConfig = o.TLS
	s.http.Protocols = new(http.Protocols)
	s.http.Protocols.SetHTTP1(true) // one request a connection, so that few connections are few requests
	return s, nil
}

// Take takes the segment that the tracker will observe next. It is read until the
// next call.
func (s *Server) Take(seg *tcp.Segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recent.Take(seg)
}

// Event takes the next of the tracker's Events, which asked for EventSegments. It
// keeps nothing of it.
func (s *Server) Event(e *tracker.Event) {
	s.metrics.event(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recent.Event(e)
}

// Refresh shows a Snapshot. It keeps it, and changes nothing in it.
func (s *Server) Refresh(snap *record.Snapshot) {
	s.metrics.refresh(snap)
	before := s.frame.Load()
	s.frame.Store(newFrame(snap, before.points))
	close(before.outdated)
}

//go:embed page
var page embed.FS

// Handler returns what answers requests.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, file := range map[string]string{"GET /{$}": "index.html", "GET /page.js": "page.js", "GET /page.css": "page.css", "GET /page.svg": "page.svg"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, page, "page/"+file) })
	}
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("GET /conn/{conn}", s.conn)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxDrawn}))
	closed := s.guard(mux)
	open := http.NewServeMux()
	open.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	open.Handle("/", closed)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, h := range headers {
			w.Header().Set(h[0], h[1])
		}
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close") // nobody reads it
			http.Error(w, "requests have no body", http.StatusRequestEntityTooLarge)
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience)) // a recorder of a test has none
		open.ServeHTTP(w, r)
	})
}

// headers are in every answer: the page loads what is here, and nothing else,
// and nobody may frame or keep it.
var headers = [][2]string{
	{"Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{"X-Content-Type-Options", "nosniff"},
	{"Referrer-Policy", "no-referrer"},
	{"Cache-Control", "no-store"},
}

// cookieName is the name of the cookie that stands for the token.
const cookieName = "tcpwatch"

// guard lets pass who has the token, if there is one.
func (s *Server) guard(next http.Handler) http.Handler {
	if s.opts.Token == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie(cookieName)
		bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch {
		case equal(bearer, s.opts.Token), err == nil && equal(cookie.Value, s.cookie):
			next.ServeHTTP(w, r)
		case r.URL.Path == "/" && equal(r.URL.Query().Get("token"), s.opts.Token):
			http.SetCookie(w, &http.Cookie{Name: cookieName, Value: s.cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: s.opts.TLS != nil})
			http.Redirect(w, r, "/", http.StatusSeeOther) // so that the token is not left in the address
		default:
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "the token is missing or wrong: open /?token=TOKEN, or send Authorization: Bearer TOKEN", http.StatusUnauthorized)
		}
	})
}

// equal compares in a time that tells nothing of where two texts differ, nor of
// their lengths.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// Serve answers requests until Shutdown, which is no error.
func (s *Server) Serve(l net.Listener) error {
	h := s.Handler()
	if s.opts.Token == "" && isLoopback(l.Addr()) {
		h = localOnly(h)
	}
	s.http.Handler = h
	l = netutil.LimitListener(l, cmp.Or(s.opts.Conns, DefaultConns))
	var err error
	if s.opts.TLS != nil {
		err = s.http.ServeTLS(l, "", "")
	} else {
		err = s.http.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// localOnly refuses requests for names of other hosts: by a name that resolves
// to this host, a page from elsewhere could have a browser fetch what is here.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && !strings.EqualFold(host, "localhost") {
			http.Error(w, "open this page by its address, or as localhost", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Shutdown ends Serve, and what clients are being sent. It waits for their
// last answers until the context ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop.Do(func() { close(s.done) })
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// Warning says what is unsafe about serving there with these Options; "" if
// nothing is.
func Warning(addr net.Addr, o Options) string {
	switch {
	case isLoopback(addr):
	case o.Token == "":
		return fmt.Sprintf("%v is reachable from other hosts and shows every connection to anyone; set --token-file, or listen on 127.0.0.1", addr)
	case o.TLS == nil:
		return fmt.Sprintf("%v is reachable from other hosts, and the token and every connection are sent unencrypted; set --tls-cert and --tls-key", addr)
	}
	return ""
}

// isLoopback reports whether only this host can reach the address.
func isLoopback(addr net.Addr) bool {
	if _, ok := addr.(*net.UnixAddr); ok {
		return true
	}
	a, err := netip.ParseAddrPort(addr.String())
	return err == nil && a.Addr().Unmap().IsLoopback()
}
