package tracker

import (
	"fmt"
	"iter"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// An anomaly is one value, a Kind: its name, how grave it is, what it departs
// from, all that is printed of it, the numbers that decide, and the check that
// finds it. The catalogue is a list of Kinds; what documents it reads the same
// values.
//
// A check sees the connection before and after one happening (a segment, a
// timer, the end of the capture) and changes nothing. It says on which
// occasions it wants to be asked, so that ordinary traffic asks none: what is
// noteworthy of a segment in an open connection is a handful of bits.
//
// What is in no connection alone has a Kind too, but no check: the Crowd finds
// it, or the tape.
//
// What a check must remember of the past it finds in the connection's history
// (find, frames), in the trail of its newest segments (back), or in what
// endpoint.go and view.go keep for everyone.

// Severity grades an anomaly.
type Severity uint8

const (
	Info    Severity = iota // normal, but worth a line
	Notice                  // unusual, harmless alone
	Warning                 // a resource, robustness or policy fault
	Error                   // a connection failed, data may be wrong, or a TIME-WAIT hazard came true
)

func (s Severity) String() string { return [...]string{"info", "notice", "warning", "error"}[s] }

// Confidence says how sure an anomaly is.
type Confidence uint8

const (
	ConfidenceProved Confidence = iota
	ConfidenceAssumed
	ConfidenceAmbiguous // other readings of the same packets remain
)

func (c Confidence) String() string { return [...]string{"proved", "assumed", "ambiguous"}[c] }

// An Anomaly is something odd that happened to a connection.
type Anomaly struct {
	Conn       int // 0 for an anomaly over many connections
	Kind       string
	Severity   Severity
	Cause      string // where the kind has sub-causes
	Confidence Confidence
	Time       tcp.Time
	Packet     int // the frame that showed it
	End        tcp.Endpoint
	Evidence   []int    // frames, in capture order
	Text       string   // the sentence for people
	RFC        string   // "RFC 9293 §3.6.1"
	Count      int      // how often; at least 1
	Until      tcp.Time // of the last of them; 0 where it happened once
	Supersedes []string

	// Of an anomaly over many connections.
	Addr    netip.Addr // the host that it is about; invalid: the capture itself
	Port    uint16     // of that host; 0: no one port
	Samples []int      // numbers of some of the connections
}

// A Kind is one entry of the catalogue.
type Kind struct {
	Name       string // as printed; never renamed once released
	Severity   Severity
	Title      string
	RFC        string   // what it departs from, or where it is described
	Causes     []Cause  // how it comes about, and what is printed of it; one at least
	Phrases    []Phrase // what is printed besides, as it applies
	Thresholds []Threshold
	Moves      []SeverityMove
	Supersedes []string // kinds that this one explains better
	Many       bool     // over many connections, or of the whole capture: no check on a connection finds it

	on    occasions
	only  facts                     // what must be true besides, one of these at least; 0: nothing
	check func(*happening) *finding // nil if there is none, as nearly always: to return 80 octets of nothing cost 14 % of a short connection
}

// occasions is a set of reasons to ask a check.
type occasions uint32

const (
	onSYN       occasions = 1 << iota // a SYN without ACK
	onSYNACK                          // a SYN+ACK
	onFIN                             // a FIN
	onRST                             // a RST
	onICMP                            // an ICMP error about the connection
	onTimer                           // a timer of the end h.from fired, or it was to be watched; h.s is nil
	onEnd                             // the capture, or the connection, is over; asked for each end; h.s is nil
	onMove                            // an end changed its state
	onRepeat                          // octets that were sent before
	onKeepalive                       // a keepalive probe
	onStale                           // older than what its sender sent before, or a copy made by the network
	onForeign                         // numbers that fit neither window
	onWindow                          // a window of zero, one that reopens, or one that shrank
	onGap                             // an ACK of what was not captured, or numbers passed over
	onFlags                           // flags or an urgent pointer that do not fit together
	onQuality                         // cut headers, fragments, checksums, more octets than a segment has
	onUnsettled                       // any segment while an end is not in ESTABLISHED, or not proved to be
	onBelow                           // it begins below what its receiver had acknowledged
	onBeyond                          // data that begins at or behind the right edge of its receiver's window
	onWrap                            // the numbers of its sender came round to where they began
	onWatched                         // any segment while one sent before waits to be accepted or refused
	onImpostor                        // a SYN was found not to be its alleged sender's: h.impostor
	onHaunted                         // any segment of a connection among whose segments those of an older one fell, or may
	onCorrupt                         // a checksum is wrong of an end whose checksums were right; the segment is dropped
	onDoubt                           // the answer to, or what follows, a segment that its receiver has reason to doubt
)

// facts is a set of what is true of few connections, or of few moments of one.
// A check that finds nothing elsewhere names one, and is not asked there: that
// is half of all questions that a short connection gives occasion for.
type facts uint16

const (
	isOdd       facts = 1 << iota // there are oddments
	isReset                       // a RST was received by an end
	isSuccessor                   // an older connection is known on the same addresses and ports
	isMidstream                   // neither SYN nor SYN+ACK was captured
	isAnswer                      // its SYN was not captured, but the SYN+ACK
	isDialled                     // both ends sent a SYN without ACK
	isOneSided                    // of the peer nothing was captured
	isFinished                    // the end sent its FIN
	wasDead                       // the end was CLOSED before
	wasCalling                    // the end was in SYN-SENT before
	isWaiting                     // the end is in FIN-WAIT-2 or CLOSE-WAIT, or was before
	isResetting                   // it is a RST that happens
)

// facts returns what is true of the happening.
func (h *happening) facts() (is facts) {
	x, y := h.x(), h.y()
	if h.odd != nil {
		is |= isOdd
	}
	if h.past&past(tcp.RcvRST.Set()) != 0 {
		is |= isReset
	}
	if h.older() != nil {
		is |= isSuccessor
	}
	if h.Conn.bits&originMidstream != 0 {
		is |= isMidstream
	}
	if h.Conn.bits&originSYNACK != 0 {
		is |= isAnswer
	}
	if x.bits&y.bits&sentSYN != 0 {
		is |= isDialled
	}
	if !y.seen() {
		is |= isOneSided
	}
	if x.has(hasFIN) {
		is |= isFinished
	}
	before := h.before.states[h.from]
	if before == tcp.Closed.Set() {
		is |= wasDead
	}
	if before == tcp.SynSent.Set() {
		is |= wasCalling
	}
	if (before|x.assumed)&(tcp.FinWait2.Set()|tcp.CloseWait.Set()) != 0 {
		is |= isWaiting
	}
	if h.on&onRST != 0 {
		is |= isResetting
	}
	return is
}

// kinds is the catalogue. Its order is that in which the checks run.
var kinds = []*Kind{
	&connectionRefused,
	&synRetransmitted,
	&synTimeout,
	&synAckRetransmitted,
	&synRcvdStuck,
	&acceptStalled,
	&synRcvdReset,
	&simultaneousOpen,
	&splitHandshake,
	&selfConnect,
	&oldDuplicateSYN,
	&badSYNACK,
	&tfoSYNData,
	&unsolicitedSYNACK,
	&handshakeFIN,
	&finalAckLostRecovered,
	&rstInsteadOfAck,
	&timeWaitAssassination,
	&timeWaitTruncated,
	&timeWaitSYNChallenged,
	&timeWaitReuseSafe,
	&timeWaitReuseUnsafe,
	&wanderingDuplicate,
	&timeWaitHazardH1,
	&timeWaitHazardH2,
	&timeWaitHazardH3,
	&finRetransmitted,
	&finNeverAcked,
	&lastAckTimeout,
	&simultaneousClose,
	&dataAfterFIN,
	&lateFINReset,
	&dataAfterCloseReset,
	&closeWithUnreadData,
	&lingerZeroAbort,
	&abortAfterFIN,
	&closeWaitLeak,
	&finWait2Stuck,
	&halfCloseLingering,
	&noCloseSeen,

	&midstreamPickup,
	&captureGap,
	&asymmetricCapture,
	&duplicateCapture,
	&captureReordering,
	&clockStep,
	&snaplenTruncated,
	&offloadSegments,
	&badChecksum,
	&fragmentedSegment,

	&portScan,
	&synFlood,
	&backscatter,
	&serverTimeWaitAccumulation,
	&ephemeralPortExhaustion,

	&challengeAck,
	&blindRSTInWindow,
	&rstOutOfWindow,
	&rstIgnoredInSynSent,
	&rstUnmatched,
	&rstStorm,
	&dataAfterRST,
	&forgedRST,
	&rstWithData,

	&blindSYN,
	&nullFlags,
	&xmasFlags,
	&synFIN,
	&synRST,
	&finWithoutAck,
	&dataWithoutAck,
	&connectionTampering,

	&halfOpenDiscovered,
	&ackOfUnsentData,
	&ackLoop,
	&outOfWindowData,
	&windowShrunk,
	&pawsRejected,
	&seqWrapIn2MSL,
	&inconsistentRetransmission,
	&urgentAnomaly,
	&retransmissionTimeout,
	&keepaliveProbe,
	&keepaliveTimeout,
	&zeroWindowStall,
	&zeroWindowAbort,
	&icmpUnreachableTerminated,
	&middleboxIdleDrop,
}

// A kindSet is a set of kinds, by their places in the list.
type kindSet [2]uint64

func (set *kindSet) add(more *kindSet) {
	for i := range set {
		set[i] |= more[i]
	}
}

// kindsOn are the kinds to be asked on each occasion. To look through the list
// for them cost 5 % of a short connection.
var kindsOn = func() (sets [32]kindSet) {
	for i, k := range kinds {
		for on := k.on; on != 0; on &= on - 1 {
			sets[bits.TrailingZeros32(uint32(on))][i/64] |= 1 << (i % 64)
		}
	}
	return sets
}()

// kindsIf are the kinds to be asked where a fact is true, and, last of all,
// those that need none.
var kindsIf = func() (sets [17]kindSet) {
	for i, k := range kinds {
		for only := uint32(k.only); only != 0; only &= only - 1 {
			sets[bits.TrailingZeros32(only)][i/64] |= 1 << (i % 64)
		}
		if k.only == 0 {
			sets[16][i/64] |= 1 << (i % 64)
		}
	}
	return sets
}()

// Kinds returns the catalogue.
func Kinds() []*Kind { return slices.Clone(kinds) }

// ParseKind returns the kind of the given name.
func ParseKind(name string) (*Kind, error) {
	for _, k := range kinds {
		if k.Name == name {
			return k, nil
		}
	}
	return nil, fmt.Errorf("%q is no kind of anomaly", name)
}

// A sight is what the checks want to know of the connection as it stood before
// the happening.
type sight struct {
	states   [2]tcp.StateSet
	proved   [2]tcp.StateSet
	sentAt   [2]tcp.Time // the newest segment of each end; 0: none
	acked    [2]tcp.Seq
	nxt      [2]tcp.Seq
	edge     [2]tcp.Seq
	wnd      [2]uint16
	tsval    [2]uint32
	rst      resetKind // what the RST is by its numbers
	accepted bool      // its receiver acts on it
}

// A happening is one segment, one timer, or the end of a connection.
type happening struct {
	*Conn // as it is after it
	reading
	t        *Tracker
	s        *tcp.Segment // nil: no segment
	from     tcp.Endpoint // the end that sent it, whose timer fired, or that is asked about
	now      tcp.Time
	before   sight
	on       occasions
	relied   bool  // the check that is asked was told that nothing of an end is missing
	impostor *Conn // with onImpostor: the connection that its SYN would have opened
}

// x and y are the end that the happening is of, and its peer.
func (h *happening) x() *end { return &h.ends[h.from] }
func (h *happening) y() *end { return &h.ends[h.from.Peer()] }

// newer returns the next connection on the same addresses and ports, or nil.
func (h *happening) newer() (next *Conn) {
	for n := h.t.newestOf(h.key); n != nil && n != h.Conn; n = n.older() {
		next = n
	}
	return next
}

// back yields what is remembered of the connection's segments, the newest
// first, beginning with the one that happens.
func (h *happening) back() iter.Seq[*glimpse] { return h.t.trail.back(h.Conn) }

// visible reports whether the capture can show the absence of a segment of the
// end: it has captured the end, missed nothing of it, and holds all that the
// peer acknowledged.
func (h *happening) visible(e tcp.Endpoint) bool {
	x, y := &h.ends[e], &h.ends[e.Peer()]
	return h.whole(e) && !(y.has(hasAcked) && x.nxt.Before(y.acked))
}

// whole reports whether the end was captured, and nothing that it sent is known
// to be missing. What its peer acknowledged beyond that is another matter.
func (h *happening) whole(e tcp.Endpoint) bool {
	ok := h.ends[e].seen() && !h.ends[e].has(lossy)
	h.relied = h.relied || ok
	return ok
}

// A finding is what a check returns when it finds its anomaly.
type finding struct {
	end      tcp.Endpoint // the templates' X
	cause    string
	phrases  []string // see say
	values   values
	told     string // what was printed before and this goes on from, instead of the cause's text
	lossy    bool   // packets that were lost may explain it
	certain  Confidence
	move     string // the name of a SeverityMove, where one applies
	more     bool   // it tells more of what was reported before, and is no further case
	evidence []int  // frames, in any order; 0 is left out
	tally    bool   // to be counted over all connections by the end's address, see Tracker.tallies
}

// A tallyKey is what some kinds are counted by over all connections.
type tallyKey struct {
	kind string
	addr netip.AddrPort // of the end
}

// occasionsOf returns what is noteworthy of a segment that is not a RST.
func (c *Conn) occasionsOf(s *tcp.Segment, from tcp.Endpoint, r reading) (on occasions) {
	x, y := &c.ends[from], &c.ends[from.Peer()]
	if s.Flags&(tcp.SYN|tcp.FIN|tcp.ACK|tcp.URG) != tcp.ACK || s.Urg != 0 {
		switch {
		case s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN:
			on |= onSYN
		case s.Flags&tcp.SYN != 0:
			on |= onSYNACK
		}
		if s.Flags&tcp.FIN != 0 {
			on |= onFIN
		}
		if s.Flags&(tcp.SYN|tcp.ACK) == 0 || s.Flags&(tcp.SYN|tcp.FIN) == tcp.SYN|tcp.FIN || s.Flags&tcp.URG != 0 || s.Urg != 0 {
			on |= onFlags
		}
	}
	if r.old {
		on |= onRepeat
	}
	if r.keepalive {
		on |= onKeepalive
	}
	if r.stale {
		on |= onStale
	}
	if r.foreign {
		on |= onForeign
	}
	if s.Flags&tcp.ACK != 0 && x.seen() && !r.stale {
		if edge := s.Ack.Add(tcp.Size(s.Wnd) << x.scale(y)); s.Wnd == 0 || x.wnd == 0 || edge.Before(x.edge) && s.Flags&tcp.SYN == 0 {
			on |= onWindow
		}
	}
	if y.seen() && s.Flags&tcp.ACK != 0 && y.nxt.Before(s.Ack) || x.seen() && x.nxt.Before(s.Seq) {
		on |= onGap
	}
	if y.has(hasAcked) && x.seen() {
		if s.Seq.Before(y.acked) {
			on |= onBelow
		}
		if y.edge.AtMost(s.Seq) && s.Data > 0 && c.scaleKnown() {
			on |= onBeyond
		}
		if end := s.End(); x.nxt.Before(end) && end.Minus(x.iss) < x.nxt.Minus(x.iss) {
			on |= onWrap
		}
	}
	if c.bits&watched != 0 {
		on |= onWatched
	}
	on |= c.qualityOf(s, from)
	if c.bits&doubtful != 0 {
		on |= onDoubt
	}
	if x.assumed != up || y.assumed != up || x.proved != up || y.proved != up {
		on |= onUnsettled
	}
	if c.bits&haunted != 0 {
		on |= onHaunted
	}
	return on
}

// qualityOf returns onQuality where the capture has the segment other than it
// was on the wire.
func (c *Conn) qualityOf(s *tcp.Segment, from tcp.Endpoint) occasions {
	if s.Cut == tcp.CutOptions || s.Fragment || s.Sum > tcp.SumGood || s.Data > c.largest(from) {
		return onQuality
	}
	return 0
}

// look takes in the connection before a happening that is to be judged. It is
// kept where judge wants it: to copy it there, freshly written, cost 3 % of a
// short connection.
func (t *Tracker) look(c *Conn) *sight {
	b := &t.scene.before
	for e := range tcp.Endpoint(2) {
		x := &c.ends[e]
		b.states[e], b.proved[e], b.sentAt[e] = x.assumed, x.proved, x.sentAt
		b.acked[e], b.nxt[e], b.edge[e], b.wnd[e], b.tsval[e] = x.acked, x.nxt, x.edge, x.wnd, x.tsval
	}
	b.rst, b.accepted = 0, false
	return b
}

// judge asks the checks about what happened to the connection by the segment,
// if it is not nil, or to its end from. Before it happened there was a look at
// the connection, and at no other since.
func (t *Tracker) judge(c *Conn, s *tcp.Segment, from tcp.Endpoint, r reading, on occasions) {
	if !c.provisional() {
		h := &t.scene
		h.Conn, h.s, h.from, h.on = c, s, from, on
		h.fresh, h.old, h.stale, h.keepalive, h.foreign = r.fresh, r.old, r.stale, r.keepalive, r.foreign
		h.t, h.now = t, t.now
		t.ask(h)
	}
}

// ask runs the checks that the happening is an occasion for.
func (t *Tracker) ask(h *happening) {
	for e := range tcp.Endpoint(2) {
		if h.before.states[e] != h.ends[e].assumed {
			h.on |= onMove
		}
	}
	var asked kindSet
	for on := h.on; on != 0; on &= on - 1 {
		asked.add(&kindsOn[bits.TrailingZeros32(uint32(on))])
	}
	worth := kindsIf[16]
	for is := uint32(h.facts()); is != 0; is &= is - 1 {
		worth.add(&kindsIf[bits.TrailingZeros32(is)])
	}
	for i, word := range asked {
		if !t.plodding {
			word &= worth[i]
		}
		for ; word != 0; word &= word - 1 {
			k := kinds[64*i+bits.TrailingZeros64(word)]
			h.relied = false
			if f := k.check(h); f != nil {
				h.temper(f)
				t.report(h.Conn, h.s, k, *f)
			}
		}
	}
}

// temper takes back some of the certainty of a finding in a connection in whose
// life the capture lost packets, unless it rests on the packets at hand alone.
func (h *happening) temper(f *finding) {
	if h.start > h.t.lost || f.certain == ConfidenceProved && !h.relied {
		return
	}
	f.certain, f.lossy = ConfidenceAmbiguous, true
}

// report takes down a finding. A kind is reported once for each end of a
// connection; what comes again is counted, and told again only if it is graver.
func (t *Tracker) report(c *Conn, s *tcp.Segment, k *Kind, f finding) {
	o := c.oddments()
	severity := k.severityOf(&f)
	for i := range o.anomalies {
		a := &o.anomalies[i]
		if a.Kind != k.Name || a.End != f.end {
			continue
		}
		if !f.more {
			a.Count++
			a.Until = t.now
		}
		graver := severity > a.Severity
		if f.more || graver {
			a.Severity, a.Cause, a.Confidence, a.Text = max(a.Severity, severity), f.cause, f.certain, k.textOf(c, &f)
			a.Evidence = framesInOrder(append(f.evidence, a.Evidence...))
		}
		if graver {
			again := *a
			t.tell(Event{Kind: EventAnomaly, Time: t.now, Packet: a.Packet, Conn: a.Conn, End: a.End, Anomaly: &again})
		}
		return
	}
	if f.tally {
		t.tallies[tallyKey{k.Name, c.addr(f.end)}]++
	}
	a := k.found(c, f)
	a.Conn, a.Time = int(c.id), t.now
	if s != nil {
		a.Packet = s.Packet
	}
	o.anomalies = append(o.anomalies, a)
	t.tell(Event{Kind: EventAnomaly, Time: t.now, Packet: a.Packet, Conn: a.Conn, Client: c.addr(tcp.Client), Server: c.addr(tcp.Server), End: a.End, Anomaly: &a})
}

// found makes an anomaly of a finding, in the connection if it is not nil.
func (k *Kind) found(c *Conn, f finding) Anomaly {
	return Anomaly{
		Kind: k.Name, Severity: k.severityOf(&f), Supersedes: k.Supersedes, Cause: f.cause, Confidence: f.certain,
		End: f.end, Evidence: framesInOrder(f.evidence), Text: k.textOf(c, &f), RFC: k.RFC, Count: 1,
	}
}

// severityOf is the kind's severity, or where the finding moves it.
func (k *Kind) severityOf(f *finding) Severity {
	if f.move == "" {
		return k.Severity
	}
	for _, m := range k.Moves {
		if m.Name == f.move {
			return m.To
		}
	}
	k.undeclared("severity move", f.move)
	return k.Severity
}

// flagged returns the anomaly of the kind that was found at the end before, or
// nil.
func (c *Conn) flagged(kind string, e tcp.Endpoint) *Anomaly {
	if c.odd == nil {
		return nil
	}
	for i := range c.odd.anomalies {
		if a := &c.odd.anomalies[i]; a.Kind == kind && a.End == e {
			return a
		}
	}
	return nil
}

// framesInOrder sorts frames, each once, without those that are not known.
func framesInOrder(list []int) []int {
	slices.Sort(list)
	return slices.DeleteFunc(slices.Compact(list), func(frame int) bool { return frame == 0 })
}

// frames returns the frames of the steps by which the inputs happened to the
// end, without those that did not.
func (c *Conn) frames(e tcp.Endpoint, ins ...tcp.Input) []int {
	var list []int
	for _, in := range ins {
		if st, ok := c.find(e, in); ok && st.packet() != 0 {
			list = append(list, st.packet())
		}
	}
	return list
}
