package capture

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/decode"
	"github.com/tcpwatch/tcpwatch/capture/live"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Live captures. What a Source is to files, a Live is to interfaces and to
// captures that are being written: it hands out the segments as they come, and
// between them it says how far time has come without one. Package live has what
// the packets come from.

// LiveOptions say what is captured, and how. One of Interfaces, Stream and
// Follow is set. Of Options, Until and Stdin have no effect.
type LiveOptions struct {
	Options
	Interfaces []string  // names; "any" is all there are
	Stream     io.Reader // a capture that is read as it comes; left open, and Close does not end a Read that blocks
	Follow     string    // a capture file that is read as it grows

	Snap    int  // how many octets are taken of a packet; 0: all
	Buffer  int  // octets of the kernel's buffer; 0: 32 MiB
	Promisc bool // take packets for other hosts too
	Count   int  // end after so many packets; 0: no limit

	// Notice, unless nil, is told in a sentence when an interface goes down or
	// comes back, or a file cannot be written. It is called by Next.
	Notice func(string)
}

// Errors of OpenLive.
var (
	ErrNotPermitted = live.ErrNotPermitted // the process may not capture
	ErrNoInterface  = live.ErrNoInterface  // there is no interface of that name
)

// LiveBy names how this build captures on interfaces: AF_PACKET, libpcap,
// /dev/bpf or none.
const LiveBy = live.By

const (
	// maxSnap is more than any packet has.
	maxSnap = 1 << 18

	// defaultBuffer holds a fifth of a second of the small packets that a core
	// can send.
	defaultBuffer = 32 << 20
)

// A Live reads packets as they come. Its methods are for one goroutine, but
// for Wake.
type Live struct {
	options LiveOptions
	tap     live.Tap
	stats   Stats
	decoder *decode.Decoder
	record  pcap.Record
	segment tcp.Segment
	newest  tcp.Time // of the last packet, which need not be the latest
	reached tcp.Time // the latest that Now returned
	behind  setBack
	idle    bool
	stopped tcp.Time // what Now returns since Stop; 0: not yet
	file    *Writer  // nil: none
	comment func(*tcp.Segment) string
}

// OpenLive begins a capture. Errors are ErrNotPermitted, ErrNoInterface, and
// others that say which interface or file cannot be read and why.
func OpenLive(o LiveOptions) (*Live, error) {
	if o.Snap <= 0 || o.Snap > maxSnap {
		o.Snap = maxSnap
	}
	if o.Buffer <= 0 {
		o.Buffer = defaultBuffer
	}
	l := &Live{options: o, decoder: o.decoder()}
	var err error
	switch {
	case o.Stream != nil:
		l.tap = live.Stream("standard input", o.Stream)
	case o.Follow != "":
		l.tap, err = live.Follow(o.Follow)
	default:
		l.tap, err = live.Open(live.Options{
			Interfaces: o.Interfaces, Snap: o.Snap, Buffer: o.Buffer, Promisc: o.Promisc, Filter: o.Filter, Notice: o.Notice,
		})
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Next returns the next segment, which is lent until the call after. It
// returns nil and no error when all that had come was handed out, then waits
// for more until the deadline, and returns that again when it has passed or Wake
// was called. On a busy capture it does so, too, soon after the deadline. At the
// end of a capture that has one the error is io.EOF.
func (l *Live) Next(deadline time.Time) (*tcp.Segment, error) {
	r := &l.record
	for {
		for l.decoder.Next(&l.segment) {
			if !l.options.innerMatches(&l.segment) {
				continue
			}
			l.stats.countDecoded(decode.TCP, &l.segment, l.decoder)
			l.tell(r)
			return &l.segment, nil
		}
		if l.options.Count > 0 && l.stats.Packets == l.options.Count {
			return nil, io.EOF
		}
		ok, idle, err := l.tap.Next(r, deadline)
		if l.idle = idle; !ok {
			if err == nil && l.file != nil {
				l.file.flush()
			}
			var d *pcap.Damage
			if errors.As(err, &d) {
				l.stats.Truncated = true
				l.stats.Warnings = append(l.stats.Warnings, fmt.Sprintf("%v after packet %d; read up to there", d, l.stats.Packets))
				err = io.EOF
			}
			return nil, err
		}
		v, err := l.take(r)
		if err != nil {
			return nil, err
		}
		if v == decode.TCP {
			return &l.segment, nil
		}
	}
}

// A setBack is what may be a clock that was set back: packets in a row that are
// stamped long before the one that came before them.
type setBack struct {
	packets int
	by      time.Duration // the first of them, behind the time that the capture had come to
}

const (
	// Steps of the clock that are shorter are left alone: time stands still until
	// the clock has caught up, or there was a pause.
	clockSlack = 5 * time.Second

	// So many packets in a row are stamped earlier after the clock was set back;
	// fewer are packets that came late.
	setBackPackets = 3
)

// carryOn puts right the stamp of a packet after the clock was set: time goes on
// from where it was, for timers would else wait until the clock has caught up, or
// run off. Until it is known that it was set back, time stands still. That it was
// set forward, and there was no pause, only the tap can know. What a packet behind
// this one would tell is not waited for: only the clock of this host shows that a
// packet of an interface is from the future. Where another program captures, time
// goes on from there.
func (l *Live) carryOn(r *pcap.Record) {
	st, b := &l.stats, &l.behind
	r.Time = r.Time.Add(st.Ahead)
	later := r.Time.Sub(st.Last)
	if later > -clockSlack {
		b.packets = 0
		if later < clockSlack || st.Last == 0 {
			return
		}
		switch by := l.tap.ClockSet() + st.Ahead; {
		case by >= clockSlack && by <= later:
			st.Ahead -= by
			r.Time = r.Time.Add(-by)
		case len(l.options.Interfaces) > 0 && r.Time.Sub(l.present()) > pcap.Misdates:
			st.Misdated++ // from the future: what comes behind it need not be waited for
			r.Time = st.Last
		}
		return
	}
	if b.packets++; b.packets == 1 {
		b.by = max(st.Last, l.reached).Sub(r.Time)
	}
	if b.packets < setBackPackets {
		r.Time = st.Last
		return
	}
	st.Ahead += b.by
	r.Time, b.packets = r.Time.Add(b.by), 0
}

// take counts, decodes and writes one packet.
func (l *Live) take(r *pcap.Record) (decode.Verdict, error) {
	st := &l.stats
	if f := l.options.Filter; f != nil {
		if !f.Reads(r.Link) {
			return decode.NotTCP, fmt.Errorf("%s: the filter does not support link type %d (%s); use --inner-filter", l.tap.Device(r.Device), r.Link, r.Link)
		}
		if !f.Match(r.Link, r.Data, r.Wire) {
			return decode.NotTCP, nil // most of these are left out by the kernel, and not counted either
		}
	}
	if r.Time != 0 {
		l.carryOn(r)
	}
	st.count(r)
	l.newest = r.Time
	v := l.decoder.Decode(r, &l.segment)
	if v == decode.TCP && !l.options.innerMatches(&l.segment) {
		st.leaveOut(r)
		return decode.NotTCP, nil
	}
	st.countDecoded(v, &l.segment, l.decoder)
	l.tell(r)
	if r.Comment != "" && l.options.Named != nil {
		l.options.Named(&Named{Comment: r.Comment}, r.Time)
	}
	if r.HasProcess() && v == decode.TCP && l.options.Named != nil {
		if n, ok := processOf(r, &l.segment); ok {
			l.options.Named(&n, r.Time)
		}
	}
	if l.file != nil {
		l.file.write(l, r, l.commentOn(r, v))
	}
	return v, nil
}

// commentOn returns the comment that a packet gets in the file that is written: its own,
// and what there is to say of the segment in it.
func (l *Live) commentOn(r *pcap.Record, v decode.Verdict) string {
	if v != decode.TCP || l.comment == nil {
		return r.Comment
	}
	more := l.comment(&l.segment)
	if r.Comment == "" || more == "" {
		return r.Comment + more
	}
	return r.Comment + "\n" + more
}

// tell gives the segment its packet, and tells of names.
func (l *Live) tell(r *pcap.Record) {
	l.segment.Time, l.segment.Packet = r.Time, l.stats.Packets
	if !l.decoder.Naming() {
		return
	}
	named := l.decoder.Named(&l.segment, r.Time)
	for i := range named {
		l.options.Named(&named[i], r.Time)
	}
}

// Now returns a time, on the clock that stamps the packets as it was before it
// was ever set, that the capture has come to: no packet with an earlier stamp is
// still to be handed out. On a quiet interface it is a little behind the present.
// It is 0 before the first packet.
//
// It is reckoned from the newest packet with a clock that never steps, so that
// the timers of a quiet capture do not run off when the wall clock is set.
func (l *Live) Now() tcp.Time {
	if l.stopped != 0 {
		return l.stopped
	}
	if l.newest == 0 || !l.idle {
		return l.newest
	}
	now := l.newest.Add(max(0, time.Since(l.tap.Taken())-l.tap.Lag()))
	l.reached = max(l.reached, now)
	return now
}

// Idle reports whether Next, when it last returned nil, had handed out all that
// had come.
func (l *Live) Idle() bool { return l.idle }

// Seal has the system take no more packets, and reports whether it can. What it has
// taken is still handed out by Next; then Idle is true, and stays it.
func (l *Live) Seal() bool { return l.tap.Seal() }

// Stop ends the time of the capture: Now stays what it is, and the file that is
// written says that the capture ended then. Next is not called any more.
func (l *Live) Stop() {
	if n := l.stats.Misdated; n > 0 && l.stopped == 0 {
		l.stats.Warnings = append(l.stats.Warnings, fmt.Sprintf("%d packets had timestamps far in the future; tcpwatch used the time of the previous packet instead", n))
	}
	l.stopped = max(l.Now(), l.stats.Last)
}

// Stats returns what was captured so far. Packets that a filter left out are
// not counted. Until is Now.
func (l *Live) Stats() Stats {
	if n := l.tap.Drops(); n != l.stats.Dropped {
		l.stats.Dropped, l.stats.DroppedBy = n, l.present()
	}
	s := l.stats.clone()
	s.Bounded.Datagrams += l.decoder.GivenUp()
	s.Until = l.Now()
	return s
}

// present returns the present on the clock that stamps the packets. What was
// captured by then may not have been handed out yet. Of a capture that another
// program makes it is only known when its newest packet was captured.
func (l *Live) present() tcp.Time {
	if len(l.options.Interfaces) == 0 {
		return l.stats.Last
	}
	return tcp.Time(time.Now().UnixNano()).Add(l.stats.Ahead)
}

// Save writes every packet from now on to w, which Close ends.
func (l *Live) Save(w *Writer) {
	if l.file = w; l.options.Notice != nil {
		w.notice = l.options.Notice
	}
}

// Comment has every TCP segment that is saved asked for a comment on it; "" is none.
func (l *Live) Comment(on func(*tcp.Segment) string) { l.comment = on }

// Wake has Next return at once, now or when it is called next. Any goroutine
// may call it.
func (l *Live) Wake() { l.tap.Wake() }

// Close ends the capture, and the file that it is written to.
func (l *Live) Close() error {
	var err error
	if l.file != nil {
		l.Stop()
		err = l.file.close(l, l.stopped)
		l.file = nil
	}
	return errors.Join(err, l.tap.Close())
}
