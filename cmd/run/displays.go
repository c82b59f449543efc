package run

import (
	"context"
	"fmt"
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
func servePage(address string, o serve.Options) (p *httpPage, warning string, err error) {
	// Most descriptors are left to the capture, and to the files of -w.
	o.Conns = min(serve.DefaultConns, max(maxDescriptors()/4, 1))
	p = &httpPage{ended: make(chan error, 1)}
	if p.Server, err = serve.New(o); err != nil {
		return nil, "", err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, "", WithHint(fmt.Errorf("--listen %q: %w", address, err), "--listen 127.0.0.1:9555")
	}
	go func() { p.ended <- p.Serve(l) }()
	return p, serve.Warning(l.Addr(), o), nil
}

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

// printed are the tables of what is no terminal.
type printed struct{ *report.Tables }

func (printed) Take(*tcp.Segment) {}

func (printed) Close() error { return nil }
