// Package capture turns capture files into TCP segments.
//
// A [Source] reads pcap and pcapng files, or a reader, compressed or not, and hands out a
// [tcp.Segment] for every packet that carries TCP, and for every ICMP
// error about one. Traffic is never an error: what cannot be decoded is
// counted. Files are: what is no capture is refused with a sentence that says
// what it is instead; but a capture that is cut off or corrupt somewhere is
// read up to there, and [Stats] says so.
//
// [Open] and [OpenReader] give a Source. A [Live], which [OpenLive] gives, does
// the same for interfaces and captures that are still being made. What they are
// made of has packages of its own:
//
//	file      -> pcap -> record
//	interface -> live -> record
//	record    -> filter, decode -> Segment
//
// Nothing is copied on the way: records lie in the window that the file is
// read into, and Segments hold numbers only.
package capture

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/decode"
	"github.com/tcpwatch/tcpwatch/capture/filter"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Options say how to read a capture. The zero value reads everything.
type Options struct {
	// What is decoded, and how. See [decode.Options].
	Outer           bool // leave tunnels closed
	As              []As // what is read as something else
	NullESP         bool // look for what ESP does not encrypt
	VerifyChecksums bool // check the checksum of every segment
	Payload         bool // hash what segments carry

	// Seed is what payloads are hashed with, so that hashes of several captures compare.
	// The zero Seed is one of its own.
	Seed maphash.Seed

	// Key, unless nil, is what payloads are hashed with instead, so that hashes of several
	// hosts compare.
	Key *[32]byte

	// Filter, unless nil, passes over the packets that it does not match.
	Filter *filter.Filter

	// Inner, unless nil, passes over the segments that it does not match: it is asked
	// about the innermost headers, whatever they are in.
	Inner *filter.Filter

	// Named, unless nil, is told of names of hosts in the loop over Segments, each
	// before the next segment, with the time of its packet. It keeps nothing.
	Named func(n *Named, at tcp.Time)

	// Part, unless nil, is told of every packet that is a fragment of a segment, and
	// of the one that makes that whole, both by their numbers. It is called by the
	// goroutine that reads, before the loop over Segments ends.
	Part func(packet, whole int)

	// Since and Until pass over the packets before, or after, a moment; they are not
	// counted. One at the moment itself is read.
	Since, Until Moment

	// Ends says that the capture is over at Until. Without it time runs on to Until,
	// also past the last packet.
	Ends bool

	// AsTheyAre leaves packets that are out of order where they are in their file.
	AsTheyAre bool

	// Expect has the loop over Segments end with ErrOutOfOrder where packets of a file are
	// out of order, in the place of a look through the file before: for who can forget what
	// was read, and then reads without it. It goes with none of Since, Until and AsTheyAre.
	Expect bool

	// Stdin is what the path "-" reads, from where it stands; nil is os.Stdin.
	// It is left open.
	Stdin io.Reader
}

// ErrOutOfOrder says that packets of a file are out of order, see Options.Expect.
var ErrOutOfOrder = errors.New("packets are out of order")

// Named is a name that a packet tells, see [decode.Named].
type Named = decode.Named

// An As says what is read as something else, see [decode.ParseAs].
type As = decode.As

// ParseAs reads an As.
func ParseAs(text string) (As, error) { return decode.ParseAs(text) }

// decoder returns a decoder for these options.
func (o *Options) decoder() *decode.Decoder {
	return decode.New(decode.Options{Outer: o.Outer, As: o.As, NullESP: o.NullESP, VerifyChecksums: o.VerifyChecksums, Payload: o.Payload, Seed: o.Seed, Key: o.Key, Part: o.Part, Names: o.Named != nil})
}

// Stats are what a Source has read so far.
type Stats struct {
	Packets       int      // packets in the capture, of any kind
	Bytes         int64    // octets that these measured on the wire
	Filtered      int      // packets that the filter did not match
	Tagged        int      // of Filtered, those with a VLAN tag
	FilteredBytes int64    // octets that these measured on the wire
	Earlier       int      // beyond Packets, those earlier than Options.Since
	Later         int      // beyond Packets, those later than Options.Until, but for those behind one that it numbers
	Segments      int      // TCP segments
	Errors        int      // ICMP errors about TCP segments
	Passed        []Passed // packets that were passed over for a header that is not opened, by that header, the most first
	Undecodable   int      // packets that are cut before the end of the TCP header, malformed, or of an unknown link type
	Misdated      int      // packets whose stamps were far from those before and behind them, and were put right
	Sorted        int      // packets that are out of order in their file, and were put in order
	Dropped       int64    // packets that the capturing hosts say they lost, in the files that were read to the end
	Bounded       Bounded  // what was left out to stay within bounds

	// DroppedBy is when the newest of these was lost, at the latest. Only a live
	// capture has it.
	DroppedBy tcp.Time

	// Ahead is by how much times are ahead of the clock that stamps the packets
	// (or behind, below 0) since it was set in the course of a live capture.
	Ahead time.Duration

	First, Last tcp.Time // earliest and latest time of a packet; 0: none has a time

	Until tcp.Time // to which time ran: to Options.Until, or else to the end of the capture, at Last, or when it says
	Heard tcp.Time // to which time the capture shows that no more came: Until, or its own end where that is earlier

	Truncated bool     // some file is cut off or corrupt
	Warnings  []string // a sentence for each such file, for each that begins before the one before it ends, and for each with misdated or sorted packets

	Read int64 // octets of the files, as they are on disk, that were read
	Size int64 // octets of the files in all; 0 if that is not known
}

// A Source reads one capture. Its methods are for one goroutine; Stats may be
// called from the loop over Segments. That may read ahead on a goroutine of its
// own, which ends with the loop.
type Source struct {
	options Options
	inputs  []*input
	size    int64
	read    int64 // of the inputs that are closed
	current *input
	stats   Stats
	ended   tcp.Time // when the newest of the files that were read to the end says that it ended
	decoder *decode.Decoder
	segment *tcp.Segment // to be filled in
	frame   int          // number of the newest packet, looked at or not
	frames  int          // packets, looked at or not
	begin   tcp.Time     // earliest time of a packet, looked at or not; 0: none has a time
	newest  tcp.Time     // and the latest
	ahead   ahead
	stopped atomic.Bool
}

// The parts of a capture that was written to several files overlap by no more.
const overlap = time.Millisecond

// Open opens capture files as one capture: ordered by their first packets,
// read one after the other, packet numbers counting on. A path of "-" is
// standard input. The error says which file is none that can be read, why, and
// what to do about it.
func Open(paths []string, o Options) (*Source, error) {
	inputs := make([]*input, len(paths))
	for i, path := range paths {
		inputs[i] = &input{name: path, path: path}
		if path != "-" {
			continue
		}
		inputs[i].name, inputs[i].from = "standard input", o.stdin()
	}
	return openInputs(inputs, o)
}

// OpenReader opens a capture that is read from r, which is left open. Errors
// and warnings call it by the name. Neither Stop nor Close ends a Read that
// blocks.
func OpenReader(name string, r io.Reader, o Options) (*Source, error) {
	return openInputs([]*input{{name: name, path: name, from: r}}, o)
}

// openInputs opens inputs as one capture.
func openInputs(inputs []*input, o Options) (*Source, error) {
	s := &Source{options: o, inputs: inputs, decoder: o.decoder(), segment: new(tcp.Segment)}
	for _, in := range inputs {
		in.stopped = &s.stopped
		if err := in.open(); err != nil {
			s.Close()
			return nil, err
		}
	}
	if err := s.arrange(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// arrange puts several inputs in the order of their first packets.
func (s *Source) arrange() error {
	known := true
	for _, in := range s.inputs {
		s.size += in.size
		known = known && in.size > 0
		s.options.Expect = s.options.Expect && in.regular // a pipe cannot be read again
		if len(s.inputs) < 2 {
			continue
		}
		if err := in.lookAhead(); err != nil {
			return err
		}
	}
	if !known {
		s.size = 0
	}
	sortInputs(s.inputs)
	return nil
}

// Close closes the files. It is safe to call more than once.
func (s *Source) Close() error {
	var errs []error
	for _, in := range s.inputs {
		errs = append(errs, in.close())
	}
	return errors.Join(errs...)
}

// Stop ends the loop over Segments before the next packet, as if there were no
// more. It may be called from another goroutine, at any time.
func (s *Source) Stop() { s.stopped.Store(true) }

// Stats returns what was read so far: in the loop over Segments, or when it was
// left early, up to that segment, or a few hundred more.
func (s *Source) Stats() Stats {
	if s.ahead.reading {
		return s.ahead.stats
	}
	return s.count()
}

// count is Stats of all that was read.
func (s *Source) count() Stats {
	stats := s.stats.clone()
	stats.Read, stats.Size = s.read, s.size
	stats.Until = s.until()
	stats.Heard = s.heard(stats.Until)
	if s.current != nil {
		stats.Read += s.current.position()
		stats.Misdated += s.current.misdated().N
		stats.Sorted += s.current.sorted()
		stats.Bounded.Add(s.current.bounded())
	}
	stats.Bounded.Datagrams += s.decoder.GivenUp()
	return stats
}

// Segments reads the capture, once. A Segment is lent for a step of the loop,
// and filled in anew for another: who wants to keep it copies it. An error ends
// the loop, and comes with a nil Segment.
func (s *Source) Segments() iter.Seq2[*tcp.Segment, error] {
	if s.worthReadingAhead() {
		return s.readAhead()
	}
	return s.readAll()
}

// readAll is Segments, one step after the other.
func (s *Source) readAll() iter.Seq2[*tcp.Segment, error] {
	return func(yield func(*tcp.Segment, error) bool) {
		for _, in := range s.inputs {
			s.current = in
			more, err := s.readInput(in, yield)
			s.current = nil
			s.read += in.position()
			if closeErr := in.close(); err == nil && closeErr != nil {
				err = closeErr
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

// readInput reads one file. It returns more as false when the loop over the
// segments was left.
func (s *Source) readInput(in *input, yield func(*tcp.Segment, error) bool) (more bool, err error) {
	if err := in.reopen(); err != nil {
		return true, err
	}
	if in.stamps = !in.regular || s.options.Expect; !in.stamps && !s.options.AsTheyAre {
		if err := in.look(); err != nil {
			return true, err
		}
	}
	return s.readRecords(in, yield)
}

func (s *Source) readRecords(in *input, yield func(*tcp.Segment, error) bool) (more bool, err error) {
	var r pcap.Record
	first, before := s.stats.Packets, s.frames
	defer s.sayMisdated(in, before)
	defer s.sayOrder(in)
	read := 0    // packets up to Options.Until
	unknown := 0 // packets of a link type that is not known
	for {
		if s.stopped.Load() {
			return false, nil
		}
		if err := s.next(in, &r); err != nil {
			if s.stopped.Load() {
				return false, nil
			}
			if err = s.end(in, err); err == nil && unknown > 0 && unknown == s.stats.Packets-first {
				err = fmt.Errorf("%s: link type %d (%s) is not supported%s", in.name, r.Link, r.Link, wayOut(r.Link))
			}
			s.stats.Dropped += in.reader.Drops()
			s.ended = max(s.ended, in.reader.Ended())
			return true, err
		}
		if last := s.options.Until.Packet; last != 0 && s.frame == last {
			return false, nil
		}
		s.frames++
		if s.frame = s.frames; r.Number != 0 {
			s.frame = before + r.Number
		}
		if pass := s.place(&r); pass != nil {
			*pass++
			continue
		}
		if read++; read == 1 && r.Time != 0 && s.stats.Last.Sub(r.Time) > overlap {
			s.stats.Warnings = append(s.stats.Warnings, fmt.Sprintf(
				"%s: overlaps the previous file by %v; files are read in sequence, so merge them first: mergecap -w all.pcapng A B",
				in.name, s.stats.Last.Sub(r.Time).Round(time.Millisecond)))
		}
		f, st := s.options.Filter, &s.stats
		if f != nil && !f.Reads(r.Link) {
			return true, fmt.Errorf("%s: the filter does not support link type %d (%s); use --inner-filter", in.name, r.Link, r.Link)
		}
		st.count(&r)
		if f != nil && !f.Match(r.Link, r.Data, r.Wire) {
			st.leaveOut(&r)
			continue
		}
		v, more := s.readRecord(&r, yield)
		switch {
		case !more:
			return false, nil
		case v == decode.TCP:
		case !s.decoder.Reads(r.Link):
			unknown++
		case s.fullOfNames():
			if !s.ahead.next() {
				return false, nil
			}
		}
	}
}

// next reads the next record, and tells of the names before it.
func (s *Source) next(in *input, r *pcap.Record) error {
	err := in.reader.Next(r)
	if s.options.Named != nil {
		s.tellHosts(in)
	}
	if err != nil || !in.stamps {
		return err
	}
	if in.disorder.Stamp(r.Time); in.disorder.Late > 0 && s.options.Expect && in.regular && in.disorder.Found() {
		return ErrOutOfOrder
	}
	return nil
}

// wayOut says what to do about packets of a link type that everyone may use.
func wayOut(l pcap.LinkType) string {
	if !strings.HasPrefix(l.String(), "USER") {
		return ""
	}
	return fmt.Sprintf("; --decode-as dlt==%d,eth reads it as Ethernet", l)
}

// readRecord decodes a packet. It returns more as false when the loop over the
// segments was left.
func (s *Source) readRecord(r *pcap.Record, yield func(*tcp.Segment, error) bool) (v decode.Verdict, more bool) {
	s.decoder.Number(s.frame)
	if r.Comment != "" && s.options.Named != nil {
		s.tellNames([]Named{{Comment: r.Comment}}, r.Time)
	}
	v = s.decoder.Decode(r, s.segment)
	for again := true; again; again = v == decode.TCP && s.decoder.Next(s.segment) {
		if v == decode.TCP && !s.options.innerMatches(s.segment) {
			s.stats.leaveOut(r)
			continue
		}
		s.stats.countDecoded(v, s.segment, s.decoder)
		s.segment.Time, s.segment.Packet = r.Time, s.frame
		if r.HasProcess() && v == decode.TCP && s.options.Named != nil {
			if n, ok := processOf(r, s.segment); ok {
				s.tellNames([]Named{n}, r.Time)
			}
		}
		if s.decoder.Naming() {
			s.tellNames(s.decoder.Named(s.segment, r.Time), r.Time)
		}
		if v == decode.TCP && !yield(s.segment, nil) {
			return v, false
		}
	}
	return v, true
}

// processOf returns the process that a segment is of, as the file says, with the end of
// the connection that it has.
func processOf(r *pcap.Record, s *tcp.Segment) (n Named, ok bool) {
	p := r.Process()
	n = Named{Client: s.Src, Server: s.Dst, Program: p.Name, PID: p.PID, Opens: s.Flags&tcp.SYN != 0}
	if s.Way == tcp.WayIn {
		n.Client, n.Server = s.Dst, s.Src
	}
	return n, p.Name != "" && s.Way != tcp.WayUnknown
}

// tellNames tells of names: now, or when the loop has come to the next segment.
func (s *Source) tellNames(named []Named, at tcp.Time) {
	for i := range named {
		if b := s.ahead.batch; b != nil {
			b.named = append(b.named, namedAt{named[i], at, b.n})
		} else {
			s.options.Named(&named[i], at)
		}
	}
}

// tellHosts tells of the names that a file has beside its packets.
func (s *Source) tellHosts(in *input) {
	for _, n := range in.reader.Names() {
		s.tellNames([]Named{{Name: strings.ToLower(strings.TrimSuffix(n.Name, ".")), Host: n.Host}}, s.newest)
	}
}

// fullOfNames reports whether the names on their way to the loop cannot wait for
// the next segment.
func (s *Source) fullOfNames() bool {
	return s.ahead.batch != nil && len(s.ahead.batch.named) >= namesSize
}

// sayMisdated counts the packets of a file that were stamped wrong, and warns of
// them. The file has the frames behind the given one.
func (s *Source) sayMisdated(in *input, before int) {
	m := in.misdated()
	if m.N == 0 {
		return
	}
	s.stats.Misdated += m.N
	where, more := "ahead of", ""
	if m.By < 0 {
		where = "behind"
	}
	if m.N > 1 {
		more = fmt.Sprintf(" (the first of %d such packets)", m.N)
	}
	s.stats.Warnings = append(s.stats.Warnings, fmt.Sprintf("%s: the timestamp of packet %d%s is %v %s its neighbours'; tcpwatch uses their time instead",
		in.name, before+m.First, more, m.By.Abs().Round(time.Second), where))
}

// sayOrder counts the packets of a file that were put in order, and warns of them, or
// of those that are late where they cannot be.
func (s *Source) sayOrder(in *input) {
	d, n := &in.disorder, in.sorted()
	s.stats.Sorted += n
	s.stats.Bounded.Add(in.bounded())
	by := d.By.Round(time.Millisecond)
	switch {
	case n == 1:
		s.warn("%s: 1 packet, %v late, was put in the order of its timestamp (--no-reorder leaves it where it is)", in.name, by)
	case n > 1:
		s.warn("%s: %d packets, up to %v late, were put in the order of their timestamps (--no-reorder leaves them where they are)", in.name, n, by)
	case in.regular || s.options.AsTheyAre || !d.Found():
	case d.Late == 1:
		s.warn("%s: 1 packet is out of order, %v late; tcpwatch puts packets in order where it is given the name of the file", in.name, by)
	default:
		s.warn("%s: %d packets are out of order, up to %v late; tcpwatch puts packets in order where it is given the name of the file", in.name, d.Late, by)
	}
}

// warn adds a warning.
func (s *Source) warn(format string, args ...any) {
	s.stats.Warnings = append(s.stats.Warnings, fmt.Sprintf(format, args...))
}

// place gives a packet its time, and returns which counter it belongs to if it is
// passed over.
func (s *Source) place(r *pcap.Record) (pass *int) {
	if r.Time == 0 {
		r.Time = s.newest // simple packet blocks: not before the packet before
	}
	s.newest = max(s.newest, r.Time)
	if r.Time < s.begin || s.begin == 0 {
		s.begin = r.Time
	}
	switch {
	case s.earlier(s.frame, r.Time):
		return &s.stats.Earlier
	case s.later(r.Time):
		return &s.stats.Later
	}
	return nil
}

// count counts a packet, whatever it is.
func (st *Stats) count(r *pcap.Record) {
	if r.Time == 0 {
		r.Time = st.Last
	}
	if r.Time > st.Last {
		st.Last = r.Time
	}
	if r.Time < st.First || st.First == 0 {
		st.First = r.Time
	}
	st.Packets++
	st.Bytes += int64(r.Wire)
}

// countDecoded counts a packet by what it was decoded to.
func (st *Stats) countDecoded(v decode.Verdict, s *tcp.Segment, d *decode.Decoder) {
	switch {
	case v == decode.Shut:
		st.pass(d.Passed())
	case v == decode.Undecodable:
		st.Undecodable++
	case v == decode.TCP && s.ICMP.Type != 0:
		st.Errors++
	case v == decode.TCP:
		st.Segments++
	}
}

// end says what the end of a file means: nothing, a warning, or an error.
func (s *Source) end(in *input, err error) error {
	if err == io.EOF {
		return nil
	}
	var d *pcap.Damage
	if errors.As(err, &d) {
		s.stats.Truncated = true
		s.stats.Warnings = append(s.stats.Warnings,
			fmt.Sprintf("%s: %v after packet %d; read up to there", in.name, d, s.stats.Packets))
		return nil
	}
	return fmt.Errorf("reading %s: after packet %d: %w", in.name, s.stats.Packets, err)
}
