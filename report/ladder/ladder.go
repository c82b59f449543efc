// Package ladder draws connections segment by segment, as the figures of RFC
// 9293 do: the client on the left, the server on the right, and beside every
// segment the states of both after it, as the tracker saw them then. Under a
// segment stands what it moved, and why, and what was odd about it.
//
// What moved nothing and raised nothing in an open connection is folded, but
// for the first and the last few of a stretch (fold.go). Absolute and All
// together print the notation in which the tracker's tests are written
// (notation.go); anything else is for people (draw.go). page.go has ladders as
// data, for the page that draws them itself, fates.go which segments did not
// arrive, and live.go the ladder of a connection that goes on.
//
// The caller hands over every segment before the tracker observes it (Take),
// and the tracker's events, among them EventSegments, as they come (Event).
// Only rungs of the connections wanted are kept until Close: a few of them as they
// came, what is drawn of the rest (drawn.go), in a temporary file where that is much.
package ladder

import (
	"bufio"
	"errors"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Options say how ladders are drawn.
type Options struct {
	Absolute bool // absolute sequence numbers; else those of each end begin at 0
	All      bool // fold nothing
	Width    int  // columns of the terminal; 0: no limit
	Color    bool
	Around   []int // only what is near these frames; none: everything

	Whole int // so many rungs of each ladder are never folded
	Most  int // so many rungs of each ladder are kept, as they came; more: those in the middle are folded. 0: all are drawn

	Stack     string        // what the tracker was told, for the notation of tests
	TwoMSL    time.Duration // the same; 0: as the stack does
	LeakAfter time.Duration // the same; 0: as usual
}

// notation reports whether the notation of tests is asked for.
func (o *Options) notation() bool { return o.Absolute && o.All }

// A Printer draws connections as ladders.
type Printer struct {
	out     *bufio.Writer
	opts    Options
	flows   map[flowPair]*ladderFlow
	flowOf  map[int]*ladderFlow    // by connection, of those that share a pair of addresses with one wanted
	ladders []*ladder              // in the order in which they are drawn
	clients map[int]netip.AddrPort // by connection, of those wanted
	spill   spill
	rungs   []*ladder // that got rungs since the last were drawn, each as often as it did
	octets  int       // of what is drawn and in memory
	failed  error     // of the spill

	segment *tcp.Segment    // the one being observed
	flow    *ladderFlow     // its flow; nil: not wanted
	pending []tracker.Event // EventTransition and EventAnomaly events that no EventSegment followed yet
}

// A flowPair names the two ends of a flow, the lower address first.
type flowPair [2]netip.AddrPort

func pairOf(a, b netip.AddrPort) flowPair {
	if b.Compare(a) < 0 {
		a, b = b, a
	}
	return flowPair{a, b}
}

// A ladderFlow is a pair of addresses and ports with a connection that is
// wanted.
type ladderFlow struct {
	peers    [2]netip.AddrPort // on the left and on the right
	clientAt map[int]int       // the side of each connection's client
	ladders  map[int]*ladder   // by connection; in the notation of tests all have the same
	newest   int               // connection
	waiting  []*rung           // SYNs that may yet open a connection
	at       tcp.Time          // of the newest rung
	frame    int               // the newest
	timers   int               // since then
}

// maxWaiting bounds ladderFlow.waiting.
const maxWaiting = 16

// A ladder is what is drawn of one connection, or of one flow.
type ladder struct {
	records []*tracker.Record
	flow    *ladderFlow
	rows    []ladderRow // not drawn yet
	drawn   drawnRows   // the rows before
	count   int         // of these
	widths  drawnWidths // of these
	last    lastRung
	base    [2]tcp.Seq // what relative sequence numbers are relative to, on either side
	based   [2]bool
	run     stretch
	atEnd   []*anomaly.Anomaly // found when the capture, or the connection, was over

	begin, before tcp.Time           // of the first rung and the newest that is drawn, in a test
	withdrawn     map[struckOdd]bool // anomalies of rungs that are drawn
	cropped       bool               // a rung was near what is looked at
}

// A lastRung is what is known of the newest rung of a ladder.
type lastRung struct {
	*rung // until it is drawn
	cells [2]tcp.Views
}

// A rung is a segment, or a timer, with what came of it.
type rung struct {
	at      tcp.Time
	packet  int // the frame; of a timer the one before
	timer   int // of a timer: how many fired since that frame, from 1
	segment *tcp.Segment
	side    int // of the sender
	cells   [2]tcp.Views
	skipped tcp.Skip        // why the segment was not taken in
	waits   bool            // a SYN that opens nothing until an answer tells that it is real
	events  []tracker.Event // transitions and anomalies
}

// New returns a Printer of the given connections that writes to w. The
// records are those of the whole capture.
func New(w io.Writer, wanted []*tracker.Record, o Options) *Printer {
	l := &Printer{
		out: bufio.NewWriterSize(w, 1<<16), opts: o,
		flows: make(map[flowPair]*ladderFlow), flowOf: make(map[int]*ladderFlow), clients: make(map[int]netip.AddrPort),
	}
	for _, r := range wanted {
		client, server := r.Ends[tcp.Client].Addr, r.Ends[tcp.Server].Addr
		l.clients[r.Conn] = client
		f := l.flows[pairOf(client, server)]
		if f == nil {
			f = &ladderFlow{peers: [2]netip.AddrPort{client, server}, clientAt: make(map[int]int), ladders: make(map[int]*ladder)}
			l.flows[pairOf(client, server)] = f
		}
		f.want(l, r)
	}
	return l
}

// want adds the connection to what is drawn.
func (f *ladderFlow) want(l *Printer, r *tracker.Record) {
	if l.opts.notation() {
		for _, shared := range f.ladders {
			shared.records = append(shared.records, r)
			f.ladders[r.Conn] = shared
			return
		}
	}
	d := &ladder{records: []*tracker.Record{r}, flow: f, drawn: drawnRows{spill: &l.spill}}
	f.ladders[r.Conn] = d
	l.ladders = append(l.ladders, d)
	if l.opts.Absolute {
		d.based = [2]bool{true, true}
		return
	}
	for e := range tcp.Endpoint(2) {
		side := d.sideOf(e)
		d.base[side], d.based[side] = r.Ends[e].ISN, r.Ends[e].HasISN
	}
}

// sideOf returns where an end of the ladder's (first) connection is drawn.
func (d *ladder) sideOf(e tcp.Endpoint) int {
	if d.records[0].Ends[e].Addr == d.flow.peers[0] {
		return 0
	}
	return 1
}

// Take takes the segment that the tracker will observe next. It is read until
// the next call.
func (l *Printer) Take(s *tcp.Segment) {
	l.segment, l.flow = s, l.flows[pairOf(s.Src, s.Dst)]
}

// Event takes the tracker's next event.
func (l *Printer) Event(e *tracker.Event) {
	switch {
	case e.Kind == tracker.EventSegment:
		l.seen(e)
	case e.Conn == 0 || e.Kind != tracker.EventTransition && e.Kind != tracker.EventAnomaly:
	case e.Kind == tracker.EventAnomaly && e.Anomaly.Withdrawn:
		l.withdraw(e)
	case e.Packet != 0 && l.flow != nil || e.Packet == 0 && l.flowOf[e.Conn] != nil:
		l.pending = append(l.pending, l.asRecorded(*e))
	}
}

// asRecorded returns the event with the roles that the ends have in the record.
// Those of a connection picked up midway may have turned out later.
func (l *Printer) asRecorded(e tracker.Event) tracker.Event {
	if client, ok := l.clients[e.Conn]; ok && e.Server == client && e.Client != client {
		e.Client, e.Server, e.End = e.Server, e.Client, e.End.Peer()
	}
	return e
}

// withdraw strikes an anomaly that was found before from the rung that shows it.
func (l *Printer) withdraw(e *tracker.Event) {
	f := l.flowOf[e.Conn]
	if f == nil || f.ladders[e.Conn] == nil {
		return
	}
	d, found := f.ladders[e.Conn], false
	for _, row := range d.rows {
		if row.rung == nil || row.rung.packet != e.Packet {
			continue
		}
		found = true
		row.rung.events = slices.DeleteFunc(row.rung.events, func(p tracker.Event) bool {
			return p.Kind == tracker.EventAnomaly && p.Conn == e.Conn && p.Anomaly.Kind == e.Anomaly.Kind && p.End == e.End
		})
	}
	if !found && d.count > 0 {
		if d.withdrawn == nil {
			d.withdrawn = make(map[struckOdd]bool)
		}
		d.withdrawn[struckOdd{e.Packet, e.Conn, e.End, text.Escape(e.Anomaly.Kind)}] = true
	}
}

// seen makes a rung of a segment or a timer and what came of it.
func (l *Printer) seen(e *tracker.Event) {
	f := l.flow
	if e.Packet == 0 {
		f = l.flowOf[e.Conn]
	}
	if f == nil {
		return
	}
	r := &rung{at: e.Time, packet: e.Packet, skipped: e.Skipped, waits: e.Conn == 0}
	l.pending = slices.DeleteFunc(l.pending, func(p tracker.Event) bool {
		mine := e.Packet != 0 && p.Packet != 0 || e.Packet == 0 && p.Packet == 0 && p.Conn == e.Conn
		if mine {
			r.events = append(r.events, p)
		}
		return mine
	})
	client := f.clientAt[e.Conn]
	if e.Packet != 0 {
		s := *l.segment
		s.Twin = s.Twin.Kept()
		r.segment = &s
		if s.Src != f.peers[0] {
			r.side = 1
		}
		if client = r.side; e.End != tcp.Client {
			client = 1 - r.side
		}
		f.frame, f.timers = e.Packet, 0
	} else if len(r.events) == 0 {
		return
	} else {
		f.timers++
		r.packet, r.timer = f.frame, f.timers
		r.at = max(r.at, f.at+1) // one that was overdue fires before what comes next
	}
	f.at = r.at
	r.cells[client], r.cells[1-client] = e.Ends[tcp.Client], e.Ends[tcp.Server]
	if e.Conn != 0 {
		f.clientAt[e.Conn], f.newest = client, max(f.newest, e.Conn)
		l.flowOf[e.Conn] = f
	}
	l.place(f, r, e.Conn)
	l.settle(rungsAtOnce, octetsAtOnce)
}

// settle draws the rungs that there are, where they are that many, and writes what is
// drawn to a file, where that is so many octets.
func (l *Printer) settle(rungs, octets int) {
	if len(l.rungs) < rungs {
		return
	}
	for _, d := range l.rungs {
		before := len(d.drawn.b)
		d.settle(&l.opts)
		d.last.rung = nil
		l.octets += len(d.drawn.b) - before
	}
	clear(l.rungs)
	l.rungs = l.rungs[:0]
	if l.octets < octets {
		return
	}
	for _, d := range l.ladders {
		l.failed = errors.Join(l.failed, d.drawn.empty())
	}
	l.octets = 0
}

// place puts the rung on the ladders of the connections that it is part of.
func (l *Printer) place(f *ladderFlow, r *rung, conn int) {
	if l.opts.notation() {
		for _, d := range f.ladders {
			l.add(d, r, true)
			return
		}
	}
	if conn == 0 {
		if len(f.waiting) == maxWaiting {
			f.waiting = f.waiting[1:]
		}
		f.waiting = append(f.waiting, r)
		conn = f.newest
	}
	conns := []int{conn}
	for _, e := range r.events {
		// A SYN that waited has opened a connection: it is its first rung.
		if e.Packet != 0 && e.Packet != r.packet {
			for _, w := range f.waiting {
				if w.packet == e.Packet {
					w.events = append(w.events, e)
					l.onto(f, w, e.Conn)
				}
			}
		}
		if !slices.Contains(conns, e.Conn) {
			conns = append(conns, e.Conn)
		}
	}
	r.events = slices.DeleteFunc(r.events, func(e tracker.Event) bool {
		return e.Packet != 0 && e.Packet != r.packet
	})
	for _, conn := range conns {
		l.onto(f, r, conn)
	}
}

// onto puts the rung on the connection's ladder, if that is wanted, once.
func (l *Printer) onto(f *ladderFlow, r *rung, conn int) {
	if d := f.ladders[conn]; d != nil && d.last.rung != r {
		l.add(d, r, l.opts.All || d.count+len(d.rows) < l.opts.Whole)
	}
}

// add puts the rung on a ladder. With all nothing is folded.
func (l *Printer) add(d *ladder, r *rung, all bool) {
	d.add(r, all)
	d.shorten(&l.opts)
	if l.opts.Most == 0 {
		l.rungs = append(l.rungs, d)
	}
}

// Close draws the ladders. The tracker was closed before.
func (l *Printer) Close() error {
	for i, d := range l.finish() {
		if i > 0 {
			text.WriteLine(l.out, "")
		}
		draw := d.draw
		if l.opts.notation() {
			draw = d.writeNotation
		}
		l.failed = errors.Join(l.failed, draw(l.out, &l.opts))
		d.drawn.b = nil
	}
	return errors.Join(l.failed, l.Discard(), l.out.Flush())
}

// Discard takes away what the Printer keeps beside the memory. It may follow Close.
func (l *Printer) Discard() error { return l.spill.file.Close() }

// finish returns the ladders, to which nothing comes any more.
func (l *Printer) finish() []*ladder {
	for _, e := range l.pending {
		if f := l.flowOf[e.Conn]; f != nil && e.Kind == tracker.EventAnomaly && f.ladders[e.Conn] != nil {
			d := f.ladders[e.Conn]
			d.atEnd = append(d.atEnd, e.Anomaly)
		}
	}
	for _, d := range l.ladders {
		d.unfold()
		d.crop(l.opts.Around, len(d.rows))
	}
	return l.ladders
}

// None says on w why there is no connection to draw, out of those seen.
func None(w io.Writer, s record.Summary, seen int) error {
	_, err := io.WriteString(w, record.Nothing(&s, &record.Tally{Seen: seen}, &record.Options{})+"\n")
	return err
}
