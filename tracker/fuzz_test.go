package tracker_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/internal/holes"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Anything goes: whatever the segments, the tracker must not panic, must move
// only along its table, must not run back in time and must not grow without
// end.
//
// The bytes of a fuzz input are a list of records, one for each segment. Most
// records write numbers relative to what the ends of their flow have sent, so
// that a flip of a bit is a plausible mistake; some write wild ones.

// Bounds on what one flow may make the tracker hold.
const (
	fuzzFlows    = 3
	fuzzMaxConns = 64  // Config.MaxConns of the fuzzed tracker
	fuzzMaxLives = 16  // connections, dead ones too, on one pair of addresses and ports
	fuzzMaxBytes = 900 // of input: some hundred segments
)

// A fuzzReader takes an input apart. It reads zeros behind the end.
type fuzzReader struct{ data []byte }

func (r *fuzzReader) byte() byte {
	if len(r.data) == 0 {
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return b
}

func (r *fuzzReader) uint16() uint16 { return uint16(r.byte())<<8 | uint16(r.byte()) }
func (r *fuzzReader) uint32() uint32 { return uint32(r.uint16())<<16 | uint32(r.uint16()) }

// What a record's first byte asks for, in bits. The low two choose the flow.
const (
	fuzzFromB   = 1 << 2
	fuzzWild    = 1 << 3 // numbers of 32 bits, not distances
	fuzzOptions = 1 << 4
	fuzzFrame   = 1 << 5 // TTL, identification, checksum, cut
	fuzzPause   = 1 << 6 // seconds, not microseconds; may go back
	fuzzICMP    = 1 << 7
)

// A fuzzFlow is what the two ends of a flow have sent so far.
type fuzzFlow struct{ nxt [2]tcp.Seq }

// fuzzAddr returns the addresses of a flow. Two flows differ in a port alone.
func fuzzAddr(flow byte) (a, b netip.AddrPort) {
	switch flow {
	case 0:
		return peerA, peerB
	case 1:
		return netip.AddrPortFrom(peerA.Addr(), peerA.Port()+1), peerB
	}
	return netip.MustParseAddrPort("[2001:db8::1]:443"), netip.MustParseAddrPort("[2001:db8::1]:443") // its own peer
}

// fuzzSegments reads a stream of segments.
func fuzzSegments(data []byte) []tcp.Segment {
	r := fuzzReader{data[:min(len(data), fuzzMaxBytes)]}
	now := tcp.Time(1_000_000 * tcp.Second)
	var flows [fuzzFlows]fuzzFlow
	var list []tcp.Segment
	for len(r.data) > 0 {
		head := r.byte()
		flow := head & 3 % fuzzFlows
		side := 0
		s := tcp.Segment{Packet: len(list) + 1, Wnd: 1000, TTL: 64}
		s.Src, s.Dst = fuzzAddr(flow)
		if head&fuzzFromB != 0 {
			side = 1
			s.Src, s.Dst = s.Dst, s.Src
		}
		f := &flows[flow]
		s.Flags = tcp.Flags(r.byte()) | tcp.Flags(head&fuzzWild)<<5 // AE, now and then
		if head&fuzzWild != 0 {
			s.Seq, s.Ack, s.Data, s.Wnd = tcp.Seq(r.uint32()), tcp.Seq(r.uint32()), tcp.Size(r.uint16())<<4, r.uint16()
		} else {
			s.Seq = f.nxt[side].Add(tcp.Size(int32(int8(r.byte()))))
			s.Ack = f.nxt[1-side].Add(tcp.Size(int32(int8(r.byte()))))
			s.Data = tcp.Size(r.byte())
		}
		if head&fuzzOptions != 0 {
			s.Options = fuzzOption(&r)
		}
		if head&fuzzFrame != 0 {
			s.TTL, s.ID, s.Sum, s.Cut = r.byte(), r.uint16(), tcp.Sum(r.byte()%4), tcp.Cut(r.byte()%3)
			s.Fragment = s.ID&1 != 0
		}
		if head&fuzzPause != 0 {
			now += tcp.Time(int8(r.byte())) * tcp.Second
		} else {
			now = now.Add(time.Duration(r.byte()) * 500 * time.Microsecond)
		}
		if head&fuzzICMP != 0 {
			s.ICMP = tcp.ICMP{Type: r.byte(), Code: r.byte(), V6: flow == 2, From: s.Dst.Addr()}
		}
		s.Time = now
		if s.ICMP.Type == 0 && f.nxt[side].Before(s.End()) {
			f.nxt[side] = s.End()
		}
		list = append(list, s)
	}
	return list
}

// fuzzOption reads TCP options.
func fuzzOption(r *fuzzReader) (o tcp.Options) {
	has := r.byte()
	if has&1 != 0 {
		o.MSS = r.uint16()
	}
	if has&2 != 0 {
		o.Shift, o.HasShift = r.byte(), true
	}
	o.SACKOK, o.FastOpen = has&4 != 0, has&8 != 0
	if has&16 != 0 {
		o.HasTS, o.TSVal, o.TSEcr = true, uint32(r.uint16()), uint32(r.uint16())
	}
	o.NumSACK = has >> 5 % 5
	for i := range o.NumSACK {
		o.SACK[i] = tcp.Block{Left: tcp.Seq(r.uint16()), Right: tcp.Seq(r.uint16())}
	}
	fuzzOrder(r, &o)
	return o
}

// fuzzOrder reads in which order the options are, with no-operations between.
func fuzzOrder(r *fuzzReader, o *tcp.Options) {
	const nop, mss, shift, sackOK, ts = 1, 2, 3, 4, 8 // as of RFC 9293 §3.2, RFC 2018 and RFC 7323
	there := map[uint8]bool{nop: true, mss: o.MSS != 0, shift: o.HasShift, sackOK: o.SACKOK, ts: o.HasTS}
	rest := slices.DeleteFunc([]uint8{mss, shift, sackOK, ts}, func(kind uint8) bool { return !there[kind] })
	for len(rest) > 0 {
		next := r.byte()
		for range next >> 2 % 4 {
			o.Place(nop)
		}
		i := int(next) % 4 % len(rest)
		o.Place(rest[i])
		rest = slices.Delete(rest, i, i+1)
	}
	o.Placed()
}

// reachable are the states to which some rows of the table lead from each
// state, itself among them.
func reachable() (to [tcp.NumStates]tcp.StateSet) {
	for s := range tcp.NumStates {
		to[s] = s.Set()
		for before := tcp.StateSet(0); before != to[s]; {
			before = to[s]
			for _, row := range tcp.Transitions() {
				if to[s].Has(row.From) {
					to[s] |= row.To.Set()
				}
			}
		}
	}
	return to
}

// A fuzzRun follows the events of a tracker and checks each.
type fuzzRun struct {
	t     *testing.T
	last  map[int]*lastTold // of every connection, as the events told it
	over  map[int]bool
	now   tcp.Time
	told  []string // all events, as text
	reach [tcp.NumStates]tcp.StateSet

	config *tracker.Config                                  // nil: the usual
	each   func(*testing.T, *tracker.Tracker, *tcp.Segment) // is called after each segment; nil: nothing is
}

// A lastTold is in which states the ends of a connection were last told to be. What
// were the roles of two ends may turn out to be the other way round.
type lastTold struct {
	client netip.AddrPort // at first
	states [2]tcp.State
}

// of returns the state of the end, where the client is as given.
func (l *lastTold) of(client netip.AddrPort, e tcp.Endpoint) *tcp.State {
	if client != l.client {
		e = e.Peer()
	}
	return &l.states[e]
}

func (f *fuzzRun) event(e *tracker.Event) {
	text := fmt.Sprint(e.Kind, e.Time, e.Packet, e.Conn, e.End, e.From, e.To, e.Inputs, e.Refuted, e.Basis)
	if e.Anomaly != nil {
		text += fmt.Sprintf(" %+v", *e.Anomaly)
	}
	if e.Record != nil {
		text += fmt.Sprintf(" %+v", *e.Record)
	}
	f.told = append(f.told, text)
	if e.Conn == 0 {
		if e.Kind != tracker.EventAnomaly {
			f.t.Fatalf("no connection in %s", text)
		}
		return
	}
	if f.over[e.Conn] {
		f.t.Fatalf("connection %d was over before %s", e.Conn, text)
	}
	switch e.Kind {
	case tracker.EventTransition:
		f.moved(e, text)
	case tracker.EventConnection:
		f.over[e.Conn] = true
		f.ended(e)
	}
}

// moved checks a move against the one before it.
func (f *fuzzRun) moved(e *tracker.Event, text string) {
	if e.Time < f.now {
		f.t.Fatalf("time ran back by %v: %s", f.now.Sub(e.Time), text)
	}
	f.now = e.Time
	last := f.last[e.Conn]
	if last == nil {
		last = &lastTold{client: e.Client}
		f.last[e.Conn] = last
	}
	was := last.of(e.Client, e.End)
	if *was != tcp.Unknown && *was != e.From {
		f.t.Fatalf("end was last told to be %v: %s", *was, text)
	}
	onTable := e.From == tcp.Unknown || e.To == tcp.Unknown || f.reach[e.From].Has(e.To)
	if !onTable && e.Basis != tcp.ByCorrection && e.Inputs != 0 {
		f.t.Fatalf("no way in the table: %s", text)
	}
	*was = e.To
}

// ended checks a last record against the events.
func (f *fuzzRun) ended(e *tracker.Event) {
	r := e.Record
	if r.Conn != e.Conn {
		f.t.Fatalf("record is of connection %d, its event of %d", r.Conn, e.Conn)
	}
	for end := range tcp.Endpoint(2) {
		subject := &r.Ends[end]
		if last := f.last[e.Conn]; last != nil {
			if was := *last.of(r.Ends[tcp.Client].Addr, end); was != tcp.Unknown && was != subject.State {
				f.t.Fatalf("connection %d: the %v was last told to be %v, its record says %v", e.Conn, end, was, subject.State)
			}
		}
		if len(subject.History) > conn.MaxSteps {
			f.t.Fatalf("connection %d: %d steps", e.Conn, len(subject.History))
		}
	}
}

// run tracks the segments and checks events and memory.
func (f *fuzzRun) run(segments []tcp.Segment) {
	config := tracker.Config{MaxConns: fuzzMaxConns}
	if f.config != nil {
		config = *f.config
	}
	tk, err := tracker.New(config, f.event)
	if err != nil {
		f.t.Fatal(err)
	}
	for i := range segments {
		s := segments[i]
		tk.Observe(&s)
		if s != segments[i] {
			f.t.Fatalf("segment %d was changed", i)
		}
		f.bounded(tk)
		if f.each != nil {
			f.each(f.t, tk, &s)
		}
	}
	tk.Close()
	if got, want := len(f.over), int(tk.Stats().Conns); got != want {
		f.t.Fatalf("%d connections are over, %d were seen", got, want)
	}
	if live := tk.Stats().Live; live != 0 {
		f.t.Fatalf("%d connections are left", live)
	}
}

// bounded checks that the tracker holds no more than it may.
func (f *fuzzRun) bounded(tk *tracker.Tracker) {
	live, waiting := 0, 0
	perFlow, lives := map[flow.Key]int{}, map[flow.Key]int{}
	for c := range tk.Machine().Pool.All() {
		live++
		lives[c.Key]++
		if c.Provisional() {
			waiting++
			perFlow[c.Key]++
		}
		if len(c.Steps()) > conn.MaxSteps {
			f.t.Fatalf("%d steps are held", len(c.Steps()))
		}
		for e := range tcp.Endpoint(2) {
			if n := len(c.HolesOf(e)); n > holes.Most {
				f.t.Fatalf("%d holes are held", n)
			}
		}
	}
	if live != tk.Machine().Live || waiting != tk.Machine().Waiting {
		f.t.Fatalf("%d connections are held, %d of them provisional; the counters say %d and %d", live, waiting, tk.Machine().Live, tk.Machine().Waiting)
	}
	if live > fuzzMaxConns {
		f.t.Fatalf("%d connections are held, allowed are %d", live, fuzzMaxConns)
	}
	for k, n := range lives {
		if n > fuzzMaxLives {
			f.t.Fatalf("%d connections are held of %v", n, k)
		}
	}
	for k, n := range perFlow {
		if n > conn.MaxProvisional {
			f.t.Fatalf("%d SYNs wait on %v", n, k)
		}
	}
}

// fuzzRecord writes a segment as a record, so that what is known to be
// interesting can be a seed. The numbers become the nearest that records can
// say.
func fuzzRecord(f *fuzzFlow, s *tcp.Segment, fromB bool, pause time.Duration) []byte {
	side := 0
	head := byte(0)
	if fromB {
		side, head = 1, fuzzFromB
	}
	far := func(a, b tcp.Seq) bool { d := int32(a - b); return d < -128 || d > 127 }
	wild := far(s.Seq, f.nxt[side]) || far(s.Ack, f.nxt[1-side]) && s.Flags&tcp.ACK != 0 || s.Data > 255
	if wild {
		head |= fuzzWild
	}
	if pause >= time.Second/4 {
		head |= fuzzPause
	}
	out := []byte{head, byte(s.Flags)}
	if wild {
		for _, n := range []uint32{uint32(s.Seq), uint32(s.Ack)} {
			out = append(out, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		}
		out = append(out, byte(s.Data>>12), byte(s.Data>>4), byte(s.Wnd>>8), byte(s.Wnd))
	} else {
		out = append(out, byte(s.Seq-f.nxt[side]), byte(s.Ack-f.nxt[1-side]), byte(s.Data))
	}
	if pause >= time.Second/4 {
		out = append(out, byte(min(127, (pause+time.Second/2)/time.Second)))
	} else {
		out = append(out, byte(min(255, pause/(500*time.Microsecond))))
	}
	if f.nxt[side].Before(s.End()) || f.nxt[side] == 0 {
		f.nxt[side] = s.End()
	}
	return out
}

// ladderInputs returns every ladder as a fuzz input, and the segments of all of
// them.
func ladderInputs(f *testing.F) (inputs [][]byte, segments []tcp.Segment) {
	files, err := filepath.Glob(filepath.Join("testdata", "*", "*.txt"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no ladders to start from: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		l, err := parseLadder(string(text))
		if err != nil {
			f.Fatalf("%s: %v", file, err)
		}
		var flow fuzzFlow
		var input []byte
		pause := time.Duration(0)
		for _, r := range l.rungs {
			pause += r.pause
			if r.segment == nil {
				continue
			}
			input = append(input, fuzzRecord(&flow, r.segment, !r.fromA, pause)...)
			segments = append(segments, *r.segment)
			pause = 0
		}
		inputs = append(inputs, input)
	}
	return inputs, segments
}

// fuzzConversations adds some ladders, and some random conversations.
func fuzzConversations(f *testing.F) {
	inputs, _ := ladderInputs(f)
	for i := 0; i < len(inputs); i += 8 { // FuzzLadders has the others
		f.Add(inputs[i])
	}
	for seed := range uint64(20) {
		m, _ := simulate(seed)
		var flow fuzzFlow
		var input []byte
		last := tcp.Time(simStart)
		for _, s := range m.captured {
			input = append(input, fuzzRecord(&flow, &s.Segment, s.Src == peerB, s.Time.Sub(last))...)
			last = s.Time
		}
		f.Add(input)
	}
}

func FuzzTracker(f *testing.F) {
	fuzzConversations(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		segments := fuzzSegments(data)
		var told [2][]string
		for i := range told {
			run := fuzzRun{t: t, last: map[int]*lastTold{}, over: map[int]bool{}, reach: reachable()}
			run.run(segments)
			told[i] = run.told
		}
		if !slices.Equal(told[0], told[1]) {
			t.Fatalf("two runs differ:\n%s\n\n%s", strings.Join(told[0], "\n"), strings.Join(told[1], "\n"))
		}
	})
}

func FuzzSegmentText(f *testing.F) {
	inputs, segments := ladderInputs(f)
	for i, input := range inputs {
		f.Add(input, segments[i].String())
	}
	for _, text := range []string{
		"", "<SEQ=1>", "<SEQ=4294967296>", "<CTL=>", "<CTL=SYN,,ACK>", "<SACK=>", "<SACK=1:2,3:4,5:6,7:8,9:10>",
		"<ICMP=3,1><FROM=192.0.2.1>", "<ICMP6=1,4><FROM=fe80::1%eth0>", "<TS=1>", "<SEQ=1", "SEQ=1>", "<<>>", "<CUT=all>", "<SUM=good>",
	} {
		f.Add([]byte{}, text)
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		for _, s := range fuzzSegments(data) {
			s.Time, s.Packet, s.Src, s.Dst = 0, 0, netip.AddrPort{}, netip.AddrPort{}
			if s.ICMP.Type == 0 {
				s.ICMP = tcp.ICMP{}
			}
			got, err := tcp.ParseSegment(s.String())
			if err != nil {
				t.Fatalf("%s: %v", s.String(), err)
			}
			if !reflect.DeepEqual(got, s) {
				t.Fatalf("%s is read as %+v, want %+v", s.String(), got, s)
			}
		}
		s, err := tcp.ParseSegment(text)
		if err != nil {
			return
		}
		again, err := tcp.ParseSegment(s.String())
		if err != nil {
			t.Fatalf("%q is written %s, which cannot be read: %v", text, s.String(), err)
		}
		if again.String() != s.String() {
			t.Fatalf("%q is written %s, and then %s", text, s.String(), again.String())
		}
	})
}
