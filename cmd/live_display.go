package cmd

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/screen"
	"github.com/tcpwatch/tcpwatch/report/serve"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A display shows a live run as it goes on.
type display interface {
	// Take is given every segment before the tracker is, and Event what that
	// tells of it, as it happens. They keep nothing of it.
	Take(*tcp.Segment)
	Event(*tracker.Event)

	// Refresh shows how things stand, at every interval and at the end. It only
	// reads the Snapshot, which it may keep.
	Refresh(*record.Snapshot) error

	// Close ends it, and gives the terminal back.
	Close() error
}

// fullScreen is the display of a terminal.
type fullScreen struct {
	*screen.Display
	ended chan error
}

// openScreen takes the terminal. quit is called when the user has had enough.
func openScreen(ctx context.Context, o record.Options, quit func()) (*fullScreen, error) {
	o.Existing = true // what is closed is shown by a key
	d, err := screen.New(screen.Options{Report: o})
	if err != nil {
		return nil, err
	}
	s := &fullScreen{d, make(chan error, 1)}
	go func() {
		s.ended <- d.Run(ctx)
		quit()
	}()
	return s, nil
}

func (s *fullScreen) Refresh(snap *record.Snapshot) error {
	s.Display.Refresh(snap)
	return nil
}

func (s *fullScreen) Close() error {
	s.Display.Close()
	return <-s.ended
}

// httpPage is the display of browsers and of Prometheus.
type httpPage struct {
	*serve.Server
	ended chan error
}

// servePage begins to serve at an address. A warning says who else could see it.
func servePage(address, token string, o record.Options) (p *httpPage, warning string, err error) {
	p = &httpPage{ended: make(chan error, 1)}
	if p.Server, err = serve.New(serve.Options{Report: o, Token: token}); err != nil {
		return nil, "", err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, "", withHint(fmt.Errorf("--listen %q: %w", address, err), "--listen 127.0.0.1:9555")
	}
	go func() { p.ended <- p.Serve(l) }()
	return p, serve.Warning(l.Addr(), token), nil
}

func (p *httpPage) Take(*tcp.Segment) {}

func (p *httpPage) Refresh(s *record.Snapshot) error {
	p.Server.Refresh(s)
	return nil
}

func (p *httpPage) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = p.Shutdown(ctx) // who still reads by then is cut off
	return <-p.ended
}

// tables is the display of what is no terminal: a table at every interval, below
// a line with the time.
type tables struct {
	out     io.Writer
	format  string
	options record.Options
	odd     []tracker.Anomaly // over many connections, since the last table
}

// maxOdd bounds how many of these are kept.
const maxOdd = 1000

func (t *tables) Take(*tcp.Segment) {}

func (t *tables) Event(e *tracker.Event) {
	if e.Kind == tracker.EventAnomaly && e.Anomaly.Conn == 0 && len(t.odd) < maxOdd {
		t.odd = append(t.odd, *e.Anomaly)
	}
}

func (t *tables) Refresh(s *record.Snapshot) error {
	o := t.options
	o.Existing = true
	p, err := report.New(t.format, t.out, o)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(t.out, "# %s\n", o.Time.Format(s.Time, s.Summary.First)); err != nil {
		return err
	}
	for i := range t.odd {
		if err := p.Event(&tracker.Event{Kind: tracker.EventAnomaly, Anomaly: &t.odd[i]}); err != nil {
			return err
		}
	}
	t.odd = t.odd[:0]
	for _, r := range s.Records {
		if err := p.Record(r); err != nil {
			return err
		}
	}
	if err := p.Close(s.Summary); err != nil {
		return err
	}
	_, err = fmt.Fprintln(t.out)
	return err
}

func (t *tables) Close() error { return nil }
