package watch

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/who"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What the kernel of this host says of the ends that are on it. Sockets are asked for
// when a connection comes into sight, when its server has opened it, and now and then
// as long as it is kept. Answers come when they come.
//
// The addresses and ports of a connection can be used again within a second. An answer
// is of the connection that had them at that time: of the newest that had begun by
// then, though its first packet may be read after the answer. A socket of which the
// kernel has another cookie belongs to a connection that was not seen yet.
//
// What the kernel says and what the packets show are compared only where nothing
// happened around the answer: no packet and no timer since quietBefore, and no packet
// that was read up to quietAfter.

const (
	mostFlows    = 1 << 18                // pairs of addresses and ports that are asked for
	mostSpells   = 16                     // connections of one, the newest
	mostStrange  = 1 << 16                // addresses that are not of this host
	mostHeard    = 1 << 12                // addresses at which something listens
	listenFor    = 100 * time.Millisecond // as was learned
	strangeFor   = 10 * time.Second       // and for how long they are not asked for again
	mostAsked    = 64                     // queries at once
	againAfter   = 40 * time.Millisecond  // whose owner was not found
	againTimes   = 4
	passEvery    = 250 * time.Millisecond // over all connections
	passShare    = 50                     // of the time that it may take at most
	mostRefresh  = 500                    // queries of a pass
	freshFor     = time.Second            // an answer, and longer where there are too many to ask for
	freshMost    = 64 * freshFor
	quietBefore  = 5 * time.Millisecond
	quietAfter   = 100 * time.Millisecond
	lastAnswers  = 200 * time.Millisecond // how long they are waited for at the end
	turnSegments = 64                     // after which answers are looked for
)

// An Asked is who is asked for sockets, see who.Remote.
type Asked interface {
	Ask([]who.Query) bool
	Answers() (list []who.Answer, gone bool)
	Missing() []string
}

// A flowKey is the two ends of connections, the lower first.
type flowKey [2]netip.AddrPort

// keyOf returns the key of two ends, and at which place of it a is.
func keyOf(a, b netip.AddrPort) (key flowKey, side int) {
	if a.Compare(b) > 0 {
		return flowKey{b, a}, 1
	}
	return flowKey{a, b}, 0
}

// A flow is what is known of the connections between two ends that are not over yet, the
// oldest first.
type flow []spell

// A spell is one connection.
type spell struct {
	start tcp.Time // its first packet
	ends  [2]local // as in the key
}

// at returns the newest connection that had begun by then, or nil.
func (f flow) at(t tcp.Time) *spell {
	for i := len(f) - 1; i >= 0; i-- {
		if f[i].start <= t {
			return &f[i]
		}
	}
	return nil
}

// A local is what is known of one end.
type local struct {
	socket   *tcp.Socket // the newest answer, with the newest known Owner; nil: none
	event    *tcp.Owner  // that opened or closed it, at the time eventAt; nil: not known
	eventAt  tcp.Time
	said     tcp.Owner // in a comment
	cookie   uint64    // of its socket; 0: not known
	tries    int       // how often it was asked for to find its owner
	asked    tcp.Time  // when it was last asked for in a pass
	compared tcp.Time  // At of the answer that was compared last
	differs  bool      // that answer from what the packets show
}

// A Witness counts how often the kernel's state was compared with that which the packets
// show, and how often they differed.
type Witness struct{ Compared, Differed uint64 }

// A heard is what listens at an address.
type heard struct {
	socket tcp.Socket
	at     time.Time
}

// An again is an end to ask for once more.
type again struct {
	query who.Query
	due   time.Time
}

// locals are what is known of the ends on this host.
type locals struct {
	asked     Asked
	notice    func(string)
	told      map[string]bool // what was said to be missing
	gone      bool
	flows     map[flowKey]*flow
	strange   map[netip.Addr]time.Time
	queries   []who.Query // that will be asked next
	listeners map[netip.AddrPort]heard
	open      int // that were asked, and not answered
	again     []again
	pass      time.Time // when the next is due
	fresh     time.Duration
	seen      int  // segments since the last turn
	saying    bool // a file that is written says what is known
	unsaid    []unsaid
	witness   Witness
	unasked   uint64 // connections of which the kernel was not asked: there were too many
}

// Ask has a live capture on interfaces ask for the sockets of this host. It is called
// before Run.
func (w *Watch) Ask(a Asked) {
	w.locals = &locals{asked: a, notice: w.notice, told: make(map[string]bool), flows: make(map[flowKey]*flow), strange: make(map[netip.Addr]time.Time), fresh: freshFor, listeners: make(map[netip.AddrPort]heard)}
}

// event takes what the tracker tells, and asks for the ends that it is about.
func (l *locals) event(e *tracker.Event) {
	switch {
	case e.Kind == tracker.EventOpen:
		key, _ := keyOf(e.Client, e.Server)
		f := l.flows[key]
		if f == nil {
			if len(l.flows) >= mostFlows {
				l.unasked++
				return
			}
			f = new(flow)
			l.flows[key] = f
		}
		f.begin(e.Time)
		l.ask(e.Client, e.Server)
		if s, fresh := l.listener(e.Server); fresh {
			_, side := keyOf(e.Server, e.Client)
			s.At = e.Time
			x := &(*f)[len(*f)-1].ends[side]
			x.take(&s)
			l.say(x, unsaid{key, e.Time, side})
		} else {
			l.ask(e.Server, e.Client)
		}
	case e.Kind == tracker.EventTransition && e.To == tcp.Established && e.End == tcp.Server:
		if s, fresh := l.listener(e.Server); !fresh || s.Owner.PID == 0 {
			l.ask(e.Server, e.Client) // to tell which of several processes has accepted it
		}
	}
}

// listener returns what listens at an address, if that was learned just now.
func (l *locals) listener(at netip.AddrPort) (tcp.Socket, bool) {
	h, known := l.listeners[at]
	return h.socket, known && time.Since(h.at) < listenFor
}

// begin begins another connection. What was answered since its first packet is of it.
func (f *flow) begin(start tcp.Time) {
	next := spell{start: start}
	if n := len(*f); n > 0 {
		for side := range next.ends {
			x := &(*f)[n-1].ends[side]
			event, at := x.event, x.eventAt
			if x.socket != nil && x.socket.At >= start {
				next.ends[side], *x = *x, local{}
			}
			to := x
			if at >= start {
				to = &next.ends[side]
			}
			x.event, next.ends[side].event = nil, nil
			to.event, to.eventAt = event, at
		}
		if n == mostSpells {
			*f = (*f)[1:]
		}
	}
	*f = append(*f, next)
}

// ask asks for an end, unless it is known to be on another host.
func (l *locals) ask(local, remote netip.AddrPort) {
	if at, known := l.strange[local.Addr()]; known && time.Since(at) < strangeFor {
		return
	}
	l.add(who.Query{Local: local, Remote: remote})
}

// add has a query asked with the next.
func (l *locals) add(q who.Query) {
	if l.queries = append(l.queries, q); len(l.queries) >= mostAsked {
		l.send()
	}
}

// send asks what waits to be.
func (l *locals) send() {
	if len(l.queries) > 0 && l.asked.Ask(l.queries) {
		l.open += len(l.queries)
	}
	l.queries = nil
}

// take takes the answers that have come. ahead is how far the clock of the capture is
// ahead of the system's.
func (l *locals) take(ahead time.Duration) {
	list, gone := l.asked.Answers()
	for i := range list {
		if !list[i].Event {
			l.open--
		}
		l.answer(&list[i], ahead)
	}
	for _, what := range l.asked.Missing() {
		if !l.told[what] {
			l.told[what] = true
			l.notice("-p does not see " + what)
		}
	}
	if gone && !l.gone {
		l.gone, l.open = true, 0
		l.notice("-p: the process that asks for sockets has ended; nothing more is learned of them")
	}
}

// withOwners are the states in which a socket has an owner, or will have one.
var withOwners = []tcp.State{tcp.SynSent, tcp.SynReceived, tcp.Established, tcp.CloseWait}

// answer takes one answer.
func (l *locals) answer(a *who.Answer, ahead time.Duration) {
	if !a.Ours {
		if len(l.strange) >= mostStrange {
			clear(l.strange)
		}
		l.strange[a.Local.Addr()] = time.Now()
		return
	}
	if a.Known && a.Socket.State == tcp.Listen {
		if len(l.listeners) >= mostHeard {
			clear(l.listeners)
		}
		l.listeners[a.Local] = heard{a.Socket, time.Now()}
	}
	key, side := keyOf(a.Local, a.Remote)
	f := l.flows[key]
	if f == nil || !a.Known {
		return
	}
	s := a.Socket
	s.At = tcp.Time(a.At.UnixNano()).Add(ahead)
	at := f.at(s.At)
	if at == nil {
		return
	}
	x := &at.ends[side]
	defer func() { l.say(x, unsaid{key, at.start, side}) }() // what it is then
	if a.Event {
		x.event, x.eventAt = &s.Owner, s.At
		return
	}
	unowned := a.Socket.Owner.Source == tcp.NoOwner && slices.Contains(withOwners, a.Socket.State)
	if x.take(&s) && unowned && x.tries < againTimes {
		x.tries++
		l.again = append(l.again, again{who.Query{Local: a.Local, Remote: a.Remote, Again: true}, time.Now().Add(againAfter)})
	}
}

// take takes an answer, and reports whether it is of the end's socket.
func (x *local) take(s *tcp.Socket) bool {
	if s.HasInfo && s.State != tcp.Listen {
		if x.cookie != 0 && x.cookie != s.Cookie {
			return false
		}
		x.cookie = s.Cookie
	}
	if s.State == tcp.Listen { // it has no socket: not any more, or not yet
		if s.State = tcp.Closed; x.cookie == 0 {
			s.State = tcp.Unknown
		}
	} else if s.State == tcp.Closed && x.cookie == 0 {
		s.State = tcp.Unknown // it may never have had one: what it was asked by may be translated on the way
	}
	if before := x.socket; before != nil {
		if s.At < before.At {
			return true
		}
		if s.Owner.Source != tcp.FromSocket && (before.Owner.Source == tcp.FromSocket || s.Owner.Source == tcp.NoOwner && s.Owner.User == "") {
			s.Owner = before.Owner
		}
		if !s.HasInfo && before.HasInfo {
			s.HasInfo, s.RTT, s.Retransmits, s.Window = true, before.RTT, before.Retransmits, before.Window
		}
	}
	x.socket = s
	return true
}

// turn does what is due: takes answers, asks again, and asks what waits.
func (w *Watch) turn(now time.Time) {
	l := w.locals
	l.seen = 0
	ahead := w.live.Stats().Ahead
	l.take(ahead)
	for len(l.again) > 0 && !now.Before(l.again[0].due) {
		l.add(l.again[0].query)
		l.again = l.again[1:]
	}
	if !now.Before(l.pass) {
		refreshed := 0
		w.tracker.Each(func(r *tracker.Record) { refreshed += l.look(r, w.tracker.Now(), refreshed < mostRefresh) })
		if refreshed < mostRefresh {
			l.fresh = max(l.fresh/2, freshFor)
		} else {
			l.fresh = min(2*l.fresh, freshMost)
		}
		l.pass = time.Now().Add(max(passEvery, passShare*time.Since(now)))
	}
	l.send()
}

// glance is turn, where packets come without a pause.
func (w *Watch) glance() {
	if w.locals.seen++; w.locals.seen >= turnSegments {
		w.turn(time.Now())
	}
}

// finish waits for the answers that are still to come.
func (w *Watch) finish() {
	l := w.locals
	l.send()
	for end := time.Now().Add(lastAnswers); l.open > 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		l.take(w.live.Stats().Ahead)
	}
	w.tracker.Each(func(r *tracker.Record) { l.look(r, w.tracker.Now(), false) })
}

// due is when turn has something to do again.
func (l *locals) due(next time.Time) time.Time {
	if soon := time.Now().Add(againAfter / 2); l.open+len(l.again) > 0 && soon.Before(next) {
		return soon
	}
	return next
}

// look compares what is known of a connection with what its packets show, and asks for
// its ends again if it may. It returns how often it did.
func (l *locals) look(r *tracker.Record, now tcp.Time, may bool) (asked int) {
	key, _ := keyOf(r.Ends[0].Addr, r.Ends[1].Addr)
	f := l.flows[key]
	if f == nil {
		return 0
	}
	at := f.at(r.Start)
	if at == nil {
		return 0
	}
	for e := range tcp.Endpoint(2) {
		end, peer := &r.Ends[e], &r.Ends[e.Peer()]
		_, side := keyOf(end.Addr, peer.Addr)
		x := &at.ends[side]
		if x.socket != nil {
			l.compare(x, r, end, now)
		}
		if may && at == &(*f)[len(*f)-1] && x.asked.Add(l.fresh) <= now && (x.socket == nil || x.socket.State != tcp.Closed) && end.State != tcp.Closed {
			l.ask(end.Addr, peer.Addr)
			x.asked = now
			asked++
		}
	}
	return asked
}

// compare compares an answer with what the packets show, once, if nothing happened
// around it.
func (l *locals) compare(x *local, r *tracker.Record, end *tracker.EndRecord, now tcp.Time) {
	s := x.socket
	since := max(r.End, end.Since)
	if s.At == x.compared || s.State == tcp.Unknown || end.State == tcp.Unknown || since.Add(quietBefore) > s.At || s.At.Add(quietAfter) > now {
		return
	}
	x.compared, x.differs = s.At, !same(s.State, end.State)
	l.witness.Compared++
	if x.differs {
		l.witness.Differed++
	}
}

// same reports whether an end that the packets show in a state has such a socket. One
// that listens again has none.
func same(kernel, shown tcp.State) bool {
	return kernel == shown || kernel == tcp.Closed && shown == tcp.Listen
}

// fill puts what is known into the record of a connection, and forgets it if that is
// over.
func (l *locals) fill(r *tracker.Record, over bool) {
	key, _ := keyOf(r.Ends[0].Addr, r.Ends[1].Addr)
	f := l.flows[key]
	if f == nil {
		return
	}
	at := f.at(r.Start)
	if at == nil {
		return
	}
	for e := range tcp.Endpoint(2) {
		end := &r.Ends[e]
		_, side := keyOf(end.Addr, r.Ends[e.Peer()].Addr)
		if x := &at.ends[side]; x.socket != nil || x.event != nil {
			x.fill(end, e, max(r.End, end.Since))
		}
	}
	if !over {
		return
	}
	start := at.start // DeleteFunc moves it
	if *f = slices.DeleteFunc(*f, func(s spell) bool { return s.start == start }); len(*f) == 0 {
		delete(l.flows, key)
	}
}

// owner returns what is known of who has the end.
func (x *local) owner() (o tcp.Owner) {
	if x.socket != nil {
		o = x.socket.Owner
	}
	if x.event != nil && o.Source != tcp.FromSocket {
		o = *x.event
	}
	return o
}

// ownerOf returns the owner of an end, unless that is only what listens on its own port.
func ownerOf(o tcp.Owner, end *tracker.EndRecord, e tcp.Endpoint) tcp.Owner {
	if o.Source == tcp.FromListener && (e != tcp.Server || !end.Listener) {
		return tcp.Owner{}
	}
	return o
}

// An unsaid is an end whose owner became known, which the file that is written is to say.
type unsaid struct {
	key   flowKey
	start tcp.Time // of the connection
	side  int
}

// say has the owner of an end said, if there is a file and it is another than was said.
func (l *locals) say(x *local, u unsaid) {
	if o := x.owner(); l.saying && o != x.said && len(l.unsaid) < mostFlows {
		l.unsaid = append(l.unsaid, u)
	}
}

// mostSaid is how many owners the comment of one packet tells: what is longer than 4 KiB
// is cut when it is read, and none takes more than a quarter of that.
const mostSaid = 4

// comment returns the comment on the next packet of a file that is written: the owners
// that became known. A connection may be over by then.
func (l *locals) comment(*tcp.Segment) string {
	if len(l.unsaid) == 0 {
		return ""
	}
	var lines []string
	for len(l.unsaid) > 0 && len(lines) < mostSaid {
		u := l.unsaid[0]
		l.unsaid = l.unsaid[1:]
		f := l.flows[u.key]
		if f == nil {
			continue
		}
		at := f.at(u.start)
		if at == nil || at.start != u.start {
			continue
		}
		x := &at.ends[u.side]
		if o := x.owner(); o != x.said && o != (tcp.Owner{}) {
			lines = append(lines, who.Comment(u.start, u.key[u.side], u.key[1-u.side], &o))
			x.said = o
		}
	}
	return strings.Join(lines, "\n")
}

// fill puts what is known of an end into its record, in which something last happened at
// a time.
func (x *local) fill(end *tracker.EndRecord, e tcp.Endpoint, last tcp.Time) {
	var s tcp.Socket
	if x.socket != nil {
		s = *x.socket
	}
	s.Owner = ownerOf(x.owner(), end, e)
	if s.At < last {
		s.State = tcp.Unknown // by now it may be another
	}
	s.Differs = x.differs && s.At == x.compared && s.State != tcp.Unknown
	if s.State != tcp.Unknown && s.State == end.State {
		end.Certainty, end.Possible = tcp.Kernel, 0
	}
	if s.State != tcp.Unknown || s.Owner != (tcp.Owner{}) {
		end.Socket = &s
	}
}
