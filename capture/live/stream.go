package live

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
)

// A capture on a pipe is read by a goroutine of its own: the pipe may pause in
// mid-packet, and Next must come back all the same.

const (
	// streamLag is how much later than another packet one may come through a
	// pipe. tcpdump -U writes each packet at once.
	streamLag = time.Second

	// streamRoom is how many packets wait between the two goroutines.
	streamRoom = 1024

	// followPause is how often a file is looked at that does not grow.
	followPause = 50 * time.Millisecond
)

// A stream is the tap of what blocks while it is read.
type stream struct {
	name    string
	records chan pcap.Record
	failed  chan struct{} // closed: err says why there are no more records, but for those that wait
	err     error
	lost    atomic.Int64
	bell    chan struct{}
	stop    chan struct{}
	once    sync.Once
	cancel  func()
	delay   time.Duration // lag
	read    time.Time
	fresh   bool // it was not told yet that there is no more for now
	paused  bool // the deadline was told to have passed
}

func newStream(name string, lag time.Duration, cancel func()) *stream {
	return &stream{
		name: name, records: make(chan pcap.Record, streamRoom), failed: make(chan struct{}), delay: lag,
		bell: make(chan struct{}, 1), stop: make(chan struct{}), cancel: cancel,
	}
}

// Stream reads a capture, pcap or pcapng, from r, which is left open. Errors
// call it by the name. Close does not end a Read that blocks.
func Stream(name string, r io.Reader) Tap { return readStream(name, r, func() {}) }

// readStream is Stream where cancel ends a Read that blocks.
func readStream(name string, r io.Reader, cancel func()) Tap {
	s := newStream(name, streamLag, cancel)
	go s.pump(func() (func(*pcap.Record) error, error) {
		in, err := pcap.NewReader(r, name, "-")
		if err != nil {
			return nil, err
		}
		return func(r *pcap.Record) error {
			err := in.Next(r)
			s.lost.Store(in.Drops())
			return err
		}, nil
	})
	return s
}

// pump reads records until there are no more.
func (s *stream) pump(open func() (func(*pcap.Record) error, error)) {
	defer close(s.failed)
	next, err := open()
	for err == nil {
		var r pcap.Record
		if err = next(&r); err != nil {
			break
		}
		r.Data = slices.Clone(r.Data)
		if !s.put(r) {
			return
		}
	}
	s.err = err
}

// put hands over a record, and reports whether more are wanted.
func (s *stream) put(r pcap.Record) bool {
	select {
	case s.records <- r:
		return true
	case <-s.stop:
		return false
	}
}

func (s *stream) Next(r *pcap.Record, deadline time.Time) (ok, idle bool, err error) {
	if s.paused = !s.paused && !time.Now().Before(deadline); s.paused {
		return false, len(s.records) == 0, nil // once; if it is asked again there are packets to be had
	}
	select {
	case <-s.bell:
		return false, len(s.records) == 0, nil
	case *r = <-s.records:
		s.fresh, s.read = true, time.Now()
		return true, false, nil
	default:
	}
	if s.fresh {
		s.fresh = false
		return false, true, nil
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-s.bell:
	case <-timer.C:
	case <-s.failed:
		if len(s.records) == 0 {
			return false, true, s.err
		}
	case *r = <-s.records:
		s.fresh, s.read = true, time.Now()
		return true, false, nil
	}
	return false, len(s.records) == 0, nil
}

func (s *stream) Taken() time.Time        { return s.read }
func (s *stream) Lag() time.Duration      { return s.delay }
func (s *stream) ClockSet() time.Duration { return 0 }
func (s *stream) Drops() int64            { return s.lost.Load() }
func (s *stream) Device(int) string       { return s.name }

func (s *stream) Seal() bool { return false } // who writes it goes on

func (s *stream) Wake() {
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

func (s *stream) Close() error {
	s.once.Do(func() {
		close(s.stop)
		s.cancel()
	})
	return nil
}

// Follow reads a capture file that another program still writes. It has no
// end. The error says why the file cannot be opened.
func Follow(path string) (Tap, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	g := &growing{file: f, stop: make(chan struct{})}
	return readStream(path, g, func() { close(g.stop) }), nil
}

// growing reads a file that has no end: where it ends now, Read waits.
type growing struct {
	file *os.File
	read int64
	stop chan struct{}
}

func (g *growing) Read(b []byte) (int, error) {
	for {
		n, err := g.file.Read(b)
		g.read += int64(n)
		if n > 0 || err != nil && err != io.EOF {
			return n, err
		}
		if info, err := g.file.Stat(); err == nil && info.Size() < g.read {
			return 0, fmt.Errorf("%s was truncated while it was followed", g.file.Name())
		}
		select {
		case <-g.stop:
			g.file.Close()
			return 0, io.EOF
		case <-time.After(followPause):
		}
	}
}
