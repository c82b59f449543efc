// Package watch takes a capture through the whole of tcpwatch: it opens what is to
// be read, and tells a [Sink] what the TCP connections in it do, and what is odd
// about them. Files and readers are read to their end; a live capture runs until its
// context ends it. The commands of tcpwatch are made of it, and so can other
// programs be:
//
//	w, err := watch.Files([]string{"file.pcap"}, capture.Options{}, tracker.Config{})
//	...
//	defer w.Close()
//	summary, err := w.Run(ctx, watch.Sink{Event: func(e *tracker.Event) error {
//		if e.Kind == tracker.EventConnection {
//			fmt.Println(e.Record.Conn, e.Record.Ends[tcp.Client].State)
//		}
//		return nil
//	}})
//
// A segment takes this way:
//
//	Files, Reader, Live -> Sink.Segment -> Tracker -> Detector -> Sink.Event
//	                                          |  one connection  |  many
//	what time brings:       Advance ----------+                  +-- Sink.Tick
//
// What a Sink is given is lent for the call: the Segment, the Event, and the
// Record and the Anomaly that the Event points to. Of a Segment, an Event and an
// Anomaly a copy may be kept, of a Record what its Clone returns. All calls come
// from the goroutine that called Run, one at a time.
//
// Beside it stands what several runs need: [Ordered] works on many files at once,
// a [Spool] makes a pipe readable more than once, and [ShareMemory] says how
// much memory each part of a run may take.
package watch

import (
	"cmp"
	"context"
	"io"
	"iter"
	"net"
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/crossflow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Sink is who is told. Any of its functions may be nil. An error that one of
// them returns ends the run at once, which returns it; no more is told then.
type Sink struct {
	// Event is told what happens, as it happens. When the capture has ended it is
	// told of every connection that is left (tracker.EventConnection) as it is then.
	Event func(*tracker.Event) error

	// Apart leaves out what is found over many connections (a scan, a flood). Where
	// connections are short that saves a third of the time.
	Apart bool

	// Still leaves out the EventTransitions. Where connections are short that saves a
	// tenth of the time.
	Still bool

	// Segment is given every segment before the tracker is.
	Segment func(*tcp.Segment)

	// Tick is called at every interval, of the capture's time where files are
	// read, else of the wall clock; and a last time when the capture has ended,
	// before the connections that are left are told of. It may ask Each, Now and
	// Summary. Without an Interval there is only the last call.
	Tick     func(last bool) error
	Interval time.Duration

	// Progress is told now and then how many octets of the files were read, and of
	// how many; 0 if that is not known. A live capture makes none.
	Progress func(read, size int64)

	// Idle is called before a live capture waits for more: all that had come was
	// told.
	Idle func() error

	// Lost is told how many packets a live capture has lost so far for want of
	// room, when that has grown, every ten seconds at most. The Event of it, a
	// capture-gap, comes first.
	Lost func(packets int64)
}

// A Summary is what was counted.
type Summary struct {
	Capture     capture.Stats
	Tracker     tracker.Stats
	Learned     tracker.Learned
	Bounded     Bounded
	Interrupted bool // the context ended the run, and not the capture

	Witness *Witness // nil: nobody asked for sockets

	Taps    []taps.Tap    // where the captures of several places were made; nil: there is one
	Between *taps.Between // what happened between these
}

// A source is files that are read to their end: of one capture, or of several places.
type source interface {
	Segments() iter.Seq2[*tcp.Segment, error]
	Stats() capture.Stats
	Stop()
	Close() error
}

// A liveSource is what comes as it is captured: at this host, or at the sensors of a hub.
type liveSource interface {
	Next(deadline time.Time) (*tcp.Segment, error)
	Now() tcp.Time
	Idle() bool
	Seal() bool
	Stop()
	Wake()
	Stats() capture.Stats
	Close() error
}

// A Watch is one run over one capture. It is not safe for concurrent use.
type Watch struct {
	taps   *tapped // nil: it is one capture
	files  source  // one of these is nil
	live   liveSource
	losing losing                     // files, if they are those of sensors
	lostBy tcp.Time                   // what the tracker knows of losses of its sensors
	place  func(packet int) tcp.Place // says where a packet is found; nil: in the one capture

	tracker     *tracker.Tracker
	crowd       *crossflow.Detector
	names       *names
	locals      *locals              // nil: nobody asks for sockets
	emit        func(*tracker.Event) // what the tracker tells
	sink        Sink
	failed      error // of sink
	interrupted bool

	notice   func(string) // of a live capture
	saves    func(*capture.Writer)
	comments func(on func(*tcp.Segment) string) // has packets commented that are saved
	saving   bool                               // there are such
	loser    string                             // who loses packets of it, for a sentence
	told     told
}

// Files opens capture files as one capture, see capture.Open; "-" is standard
// input.
func Files(paths []string, c capture.Options, t tracker.Config) (*Watch, error) {
	return newWatch(t, func(w *Watch) error {
		c.Named = w.names.take
		files, err := capture.Open(paths, c)
		if err == nil {
			w.files = files
		}
		return err
	})
}

// Taps opens captures of the same traffic that were made at two places or more, and
// follows them as one, see taps.Open. What they show coming in has arrived where they
// were made on the hosts themselves, unless the TapOn of t says otherwise.
func Taps(list []taps.Tap, o taps.Options, t tracker.Config) (*Watch, error) {
	if !t.TapOn.Said() {
		t.TapOn = tcp.TapOn{Nowhere: !o.AtEnds, Ends: [2]bool{o.AtEnds, o.AtEnds}}
	}
	return newWatch(t, func(w *Watch) error {
		o.Capture.Named = w.names.take
		files, err := taps.Open(list, o)
		if err != nil {
			return err
		}
		w.files, w.taps, w.losing = files, newTapped(list, files), files
		w.place = w.taps.place
		return nil
	})
}

// Reader opens a capture that is read from r, see capture.OpenReader; errors
// call it by the name.
func Reader(name string, r io.Reader, c capture.Options, t tracker.Config) (*Watch, error) {
	return newWatch(t, func(w *Watch) error {
		c.Named = w.names.take
		files, err := capture.OpenReader(name, r, c)
		if err == nil {
			w.files = files
		}
		return err
	})
}

// Live begins to capture on interfaces, or to read a capture that is still
// written, see capture.OpenLive. The Notice of c is also told when the clock that
// stamps the packets is set. A capture on interfaces is made on the hosts that have
// their addresses, unless the TapOn of t says otherwise.
func Live(c capture.LiveOptions, t tracker.Config) (*Watch, error) {
	if len(c.Interfaces) > 0 && !t.TapOn.Said() {
		t.TapOn.Hosts = ownAddresses()
	}
	return newWatch(t, func(w *Watch) error {
		if w.notice = c.Notice; w.notice == nil {
			w.notice = func(string) {}
		}
		c.Named = w.names.take
		live, err := capture.OpenLive(c)
		if err == nil {
			w.live, w.saves, w.comments, w.loser = live, live.Save, live.Comment, "The kernel"
		}
		return err
	})
}

// ownAddresses are those of this host; what cannot be learned of them is left out.
func ownAddresses() (list []netip.Addr) {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, prefix.Addr().Unmap())
		}
	}
	return list
}

// newWatch makes a Watch of what open opens.
func newWatch(t tracker.Config, open func(*Watch) error) (_ *Watch, err error) {
	w := &Watch{names: newNames(cmp.Or(t.MaxMemory/namesShare, mostOfNames))}
	w.crowd = crossflow.New(w.event)
	if w.tracker, err = tracker.New(t, func(e *tracker.Event) { w.emit(e) }); err != nil {
		return nil, err
	}
	if err := open(w); err != nil {
		return nil, err
	}
	return w, nil
}

// Close closes the capture, after Run or in its place, and the file that it is
// saved in.
func (w *Watch) Close() error {
	if w.live != nil {
		return w.live.Close()
	}
	return w.files.Close()
}

// Save has a live capture write every packet to a file from now on. It is called
// before Run.
func (w *Watch) Save(file *capture.Writer) {
	w.saves(file)
	w.saving = true
}

// Run reads the capture to its end and tells the sink. It is called once.
//
// A run that ctx ends is no error, and told of as far as it came: files are read
// no further, and a live capture, of which this is the usual end, takes in what
// was on its way. A deadline of ctx is when a live capture is to end.
func (w *Watch) Run(ctx context.Context, s Sink) (Summary, error) {
	w.sink, w.emit = s, w.crowd.Event
	if s.Apart {
		w.emit = w.event
	}
	if s.Still {
		counts := crossflow.Counts
		if s.Apart {
			counts = func(tcp.Endpoint, tcp.State, tcp.State) bool { return false }
		}
		w.tracker.TellOnly(counts)
	}
	if w.saving && w.locals != nil {
		w.locals.saying = true
		w.comments(w.locals.comment)
	}
	run := w.runFiles
	if w.live != nil {
		run = w.runLive
	}
	err := run(ctx)
	w.interrupted = ctx.Err() != nil
	if err != nil {
		return w.Summary(), err
	}
	stats, err := w.end()
	sum := w.Summary()
	sum.Capture = stats
	return sum, err
}

// Now returns the time that the run has come to, on the clock of the capture; 0
// before the first segment.
func (w *Watch) Now() tcp.Time { return w.tracker.Now() }

// Each calls f with the record of every connection that is kept, as it is now, in
// no order. The Record is lent for the call.
func (w *Watch) Each(f func(*tracker.Record)) {
	w.tracker.Each(func(r *tracker.Record) {
		w.names.fill(r, false)
		if w.locals != nil {
			w.locals.fill(r, false)
		}
		f(r)
	})
}

// Summary returns what was counted so far.
func (w *Watch) Summary() Summary {
	sum := Summary{Capture: w.stats(), Tracker: w.tracker.Stats(), Learned: w.tracker.Learned(), Bounded: w.bounded(), Interrupted: w.interrupted}
	if w.locals != nil {
		sum.Witness = &w.locals.witness
	}
	if w.taps != nil {
		sum.Taps, sum.Between = w.taps.list, w.taps.source.Between()
	}
	return sum
}

// Frames returns the frames of a packet as captures of several places have it, in the
// order of the taps, and 0 where it is not there; see [taps.Source.Frames]. nil: there is
// one capture, or they are not known. It may be called until Close.
func (w *Watch) Frames(packet int) []int {
	if w.taps == nil {
		return nil
	}
	return w.taps.source.Frames(packet)
}

func (w *Watch) stats() capture.Stats {
	if w.live != nil {
		return w.live.Stats()
	}
	return w.files.Stats()
}

// runFiles reads files until there is no more, or the run is ended.
func (w *Watch) runFiles(ctx context.Context) error {
	const often = 1 << 12 // segments between two calls of Progress
	defer context.AfterFunc(ctx, w.files.Stop)()
	n := 0
	var due tcp.Time // of Tick; 0: not yet known
	for s, err := range w.files.Segments() {
		if err != nil {
			return err
		}
		if w.sink.Interval > 0 {
			if due, err = w.ticks(ctx, due, s.Time); err != nil {
				return err
			}
		}
		if w.losing != nil {
			w.heedSensors()
		}
		if w.observe(s); w.failed != nil {
			return w.failed
		}
		if n++; n%often == 0 && w.sink.Progress != nil {
			stats := w.files.Stats()
			w.sink.Progress(stats.Read, stats.Size)
		}
	}
	return nil
}

// ticks calls Tick for every interval that is over by now, the first of which is
// over at due, and returns when the next is. The first segment begins the first.
func (w *Watch) ticks(ctx context.Context, due, now tcp.Time) (tcp.Time, error) {
	if due == 0 {
		return now.Add(w.sink.Interval), nil
	}
	for ; due <= now && ctx.Err() == nil; due = due.Add(w.sink.Interval) {
		w.tracker.Advance(due)
		if err := w.tick(false); err != nil {
			return due, err
		}
	}
	return due, nil
}

// observe takes in a segment.
func (w *Watch) observe(s *tcp.Segment) {
	if w.sink.Segment != nil {
		if w.taps != nil {
			frames := w.taps.source.Frames(s.Packet)
			s.Frames = &frames
		}
		w.sink.Segment(s)
	}
	w.tracker.Observe(s)
}

// event takes what the tracker and the crowd tell.
func (w *Watch) event(e *tracker.Event) {
	if w.place != nil {
		fillPlaces(e, w.place)
	}
	if w.locals != nil {
		w.locals.event(e)
	}
	switch {
	case e.Kind == tracker.EventConnection:
		w.names.fill(e.Record, true)
		if w.locals != nil {
			w.locals.fill(e.Record, true)
		}
	case e.Kind == tracker.EventTransition && w.sink.Still:
		return
	}
	if w.failed == nil && w.sink.Event != nil {
		w.failed = w.sink.Event(e)
	}
}

// tick has the sink look at how things stand, unless an event has failed.
func (w *Watch) tick(last bool) error {
	if w.failed == nil && w.sink.Tick != nil {
		w.failed = w.sink.Tick(last)
	}
	return w.failed
}

// end tells what there is to be told at the end of the capture, and returns what
// that had come to.
func (w *Watch) end() (capture.Stats, error) {
	if w.live != nil {
		w.live.Stop()
	}
	stats := w.stats()
	if w.live != nil {
		w.heedLoss()
	}
	if w.losing != nil {
		w.heedSensors()
	}
	if w.files != nil {
		w.tracker.Ends(stats.Heard)
	}
	w.tracker.Advance(stats.Until)
	if w.live != nil {
		w.tellLoss(time.Time{})
		w.tellClock()
	}
	if w.locals != nil {
		w.finish()
	}
	if err := w.tick(true); err != nil {
		return stats, err
	}
	w.tracker.Close()
	w.crowd.Close()
	return stats, w.failed
}
