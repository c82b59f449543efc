package tracker_test

import (
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Two simulated hosts, a path between them that loses, delays, reorders and
// repeats segments, and a tap somewhere on the path. The hosts are a small
// honest TCP written from RFC 9293 §3.10 with Linux's choices, and share
// nothing with the tracker but the names of things: they are the truth that it
// is held against.

// An octets is a set of sequence numbers, told by their distance from the
// first.
type octets struct {
	iss  uint32
	have []bool
}

func (o *octets) add(s tcp.Segment) {
	first := uint32(s.Seq)
	if s.Flags&tcp.SYN != 0 {
		first++
	}
	for i := range uint32(s.Data) {
		at := first + i - o.iss
		if at > 1<<20 {
			return // of an earlier connection
		}
		for uint32(len(o.have)) <= at {
			o.have = append(o.have, false)
		}
		o.have[at] = true
	}
}

func (o *octets) count() (n uint64) {
	for _, have := range o.have {
		if have {
			n++
		}
	}
	return n
}

// Sequence numbers of the simulated hosts are plain numbers of 32 bits.

func seqLT(a, b uint32) bool { return int32(a-b) < 0 }
func seqLE(a, b uint32) bool { return int32(a-b) <= 0 }

// A simMove is one state in the true history of a host.
type simMove struct {
	at    tcp.Time
	state tcp.State
}

// simHabits are what stacks do differently.
type simHabits struct {
	stamps    bool          // offers timestamps
	idStep    uint16        // of the IP identification; 0: it is always 0
	rstHasACK bool          // an abort's RST carries an ACK, as Linux's does
	delayACK  time.Duration // of data in order; 0: at once
	finAlone  bool          // a FIN does not ride on data
	oldACKs   bool          // takes the ACK of a segment that holds nothing new, as BSD does and RFC 9293 does not
	listens   bool
	mss       uint32
}

const (
	simWindow     = 60_000
	simFirstRTO   = time.Second
	simLeastRTO   = 200 * time.Millisecond
	simMostRTO    = 60 * time.Second
	simTimeWait   = 60 * time.Second
	simFinWait2   = 60 * time.Second
	simSYNTries   = 6
	simSYNACKs    = 5
	simOrphanFINs = 8
	simDoubts     = 500 * time.Millisecond
	simDataTries  = 10
)

// A simHost is one end. It has one connection at a time.
type simHost struct {
	m       *sim
	side    int
	addr    netip.AddrPort
	habits  simHabits
	state   tcp.State
	history []simMove

	id        uint16
	passive   bool // came from LISTEN
	iss, irs  uint32
	una, nxt  uint32 // SND.UNA, SND.NXT
	rcvNxt    uint32
	queued    uint32 // octets handed over by the application, from iss+1
	finAsked  bool   // the application closed its sending side
	finSeq    uint32 // number of the FIN, once sent
	finSent   bool
	orphan    bool // the application is gone: nobody reads
	neverRead bool // the application reads nothing
	stamping  bool // both ends have timestamps
	tsRecent  uint32
	early     []tcp.Segment // that arrived before their turn
	unread    uint32
	respond   func(h *simHost) // what the application does on the peer's FIN
	opened    func(h *simHost) // and when the connection is open
	seen      octets           // of its octets, those that the tap captured
	half      bool             // stays in FIN-WAIT-2 for as long as it takes: shutdown, not close
	crashed   bool
	doubted   tcp.Time // when it last answered a mere ACK that it did not accept
	lives     int      // connections so far
	top       uint32   // after the highest octet that the tap captured

	rto   time.Duration
	tries int
	timer int // the running retransmission, 2MSL or FIN-WAIT-2 timer
	acks  int // the running delayed ACK
}

// become enters a state.
func (h *simHost) become(s tcp.State) {
	h.state = s
	h.history = append(h.history, simMove{h.m.now, s})
}

// arm starts the host's timer, in place of the one that runs.
func (h *simHost) arm(d time.Duration, do func()) {
	h.timer++
	mine := h.timer
	h.m.after(d, func() {
		if h.timer == mine {
			do()
		}
	})
}

func (h *simHost) disarm() { h.timer++ }

// clear ends the connection: no TCB is left.
func (h *simHost) clear(to tcp.State) {
	h.disarm()
	h.acks++
	h.early = nil
	h.become(to)
}

// transmit puts a segment on the wire.
func (h *simHost) transmit(flags tcp.Flags, seq, ack uint32, data uint32) {
	s := tcp.Segment{
		Src: h.addr, Dst: h.m.hosts[1-h.side].addr,
		Seq: tcp.Seq(seq), Ack: tcp.Seq(ack), Flags: flags, Data: tcp.Size(data), Wnd: simWindow, TTL: 64, ID: h.id,
	}
	h.id += h.habits.idStep
	if h.habits.idStep != 0 && h.id == 0 {
		h.id = 1
	}
	if flags&tcp.SYN != 0 {
		s.Options.MSS = uint16(h.habits.mss)
	}
	if flags&tcp.RST == 0 && (h.stamping || flags&(tcp.SYN|tcp.ACK) == tcp.SYN && h.habits.stamps) {
		s.Options.HasTS = true
		s.Options.TSVal = uint32(h.m.now/tcp.Time(time.Millisecond)) + uint32(h.side)*77_777_777
		if flags&tcp.ACK != 0 {
			s.Options.TSEcr = h.tsRecent
		}
	}
	if flags&tcp.RST != 0 {
		s.Wnd = 0
	}
	h.m.carry(h, s)
}

// acknowledge sends what is received so far, and nothing else.
func (h *simHost) acknowledge() {
	h.acks++
	h.transmit(tcp.ACK, h.nxt, h.rcvNxt, 0)
}

// doubt acknowledges a segment that is not acceptable. As Linux does, it answers
// those that are mere ACKs twice a second at most: two ends that doubt each
// other would never stop.
func (h *simHost) doubt(s tcp.Segment) {
	if s.Data == 0 && s.Flags&tcp.SYN == 0 {
		if h.doubted != 0 && h.m.now.Sub(h.doubted) < simDoubts {
			return
		}
		h.doubted = h.m.now
	}
	h.acknowledge()
}

// refuse answers a segment for which there is no connection (RFC 9293
// §3.10.7.1).
func (h *simHost) refuse(s tcp.Segment) {
	switch {
	case s.Flags&tcp.RST != 0:
	case s.Flags&tcp.ACK != 0:
		h.transmit(tcp.RST, uint32(s.Ack), 0, 0)
	default:
		h.transmit(tcp.RST|tcp.ACK, 0, uint32(s.End()), 0)
	}
}

// start makes the TCB of a new connection.
func (h *simHost) start(passive bool) {
	h.passive = passive
	h.lives++
	h.iss = h.m.rnd.Uint32()
	if h.m.chance(0.1) {
		h.iss = -h.m.rnd.Uint32N(4000) // about to wrap
	}
	h.una, h.nxt = h.iss, h.iss+1
	h.queued, h.finAsked, h.finSent, h.unread = 0, false, false, 0
	h.orphan, h.half = false, false
	h.rto, h.tries = simFirstRTO, 0
	h.stamping = false
	h.seen = octets{iss: h.iss}
}

// open is the application's active OPEN.
func (h *simHost) open() {
	if h.state != tcp.Closed && h.state != tcp.Listen {
		return
	}
	h.start(false)
	h.become(tcp.SynSent)
	h.transmit(tcp.SYN, h.iss, 0, 0)
	h.await()
}

// send hands over n octets.
func (h *simHost) send(n uint32) {
	if h.finAsked || h.state == tcp.Closed || h.state == tcp.Listen || h.state == tcp.SynSent {
		return
	}
	h.queued += n
	h.output()
}

// shutdown closes the sending side; the host goes on reading.
func (h *simHost) shutdown() {
	switch h.state {
	case tcp.SynSent:
		h.clear(tcp.Closed)
	case tcp.SynReceived, tcp.Established, tcp.CloseWait:
		h.half = true
		h.finAsked = true
		h.output()
	}
}

// close closes both directions: the application reads no more.
func (h *simHost) close() {
	switch {
	case h.state == tcp.Closed || h.state == tcp.Listen:
		return
	case h.unread > 0 && h.state != tcp.SynSent && h.state != tcp.TimeWait:
		h.abort() // octets are lost: RFC 9293 §3.10.4, SHLD-3
		return
	}
	h.shutdown()
	h.half, h.orphan = false, true
	if h.state == tcp.FinWait2 {
		h.arm(simFinWait2, func() { h.clear(tcp.Closed) })
	}
}

// abort is the application's ABORT.
func (h *simHost) abort() {
	switch h.state {
	case tcp.Closed, tcp.Listen, tcp.TimeWait:
		return
	case tcp.SynSent:
	default:
		flags, ack := tcp.RST, uint32(0)
		if h.habits.rstHasACK {
			flags, ack = tcp.RST|tcp.ACK, h.rcvNxt
		}
		h.transmit(flags, h.nxt, ack, 0)
	}
	h.clear(tcp.Closed)
}

// crash makes the host forget the connection without a word.
func (h *simHost) crash() {
	if h.state != tcp.Closed && h.state != tcp.Listen {
		h.crashed = true
		h.clear(tcp.Closed)
	}
}

// output sends what may be sent.
func (h *simHost) output() {
	switch h.state {
	case tcp.Established, tcp.CloseWait:
	case tcp.SynReceived:
		if h.finAsked && h.queued == 0 && !h.finSent {
			h.sendFIN(h.nxt, 0)
			h.become(tcp.FinWait1)
			h.await()
		}
		return
	default:
		return
	}
	last := h.iss + 1 + h.queued
	for !h.finSent && seqLT(h.nxt, last) && h.nxt-h.una < simWindow/2 {
		n := min(h.habits.mss, last-h.nxt)
		seq := h.nxt
		if seq+n == last && h.finAsked && !h.habits.finAlone {
			h.sendFIN(seq, n)
			break
		}
		h.nxt += n
		h.acks++
		h.transmit(tcp.ACK|tcp.PSH, seq, h.rcvNxt, n)
	}
	if h.finAsked && !h.finSent && h.nxt == last {
		h.sendFIN(last, 0)
	}
	if h.finSent {
		if h.state == tcp.Established {
			h.become(tcp.FinWait1)
		} else {
			h.become(tcp.LastAck)
		}
	}
	if h.una != h.nxt {
		h.await()
	}
}

// sendFIN sends the FIN behind n octets from seq.
func (h *simHost) sendFIN(seq, n uint32) {
	h.finSent, h.finSeq = true, seq+n
	h.nxt = h.finSeq + 1
	h.acks++
	h.transmit(tcp.ACK|tcp.FIN, seq, h.rcvNxt, n)
}

// await starts the retransmission timer.
func (h *simHost) await() { h.arm(h.rto, h.retransmit) }

// retransmit sends the oldest outstanding again, or gives up.
func (h *simHost) retransmit() {
	h.tries++
	h.rto = min(2*h.rto, simMostRTO)
	limit := simDataTries
	switch {
	case h.state == tcp.SynSent:
		limit = simSYNTries
	case h.state == tcp.SynReceived:
		limit = simSYNACKs
	case h.orphan:
		limit = simOrphanFINs
	}
	if h.tries > limit {
		if h.state == tcp.SynReceived && h.passive {
			h.clear(tcp.Listen)
		} else {
			h.clear(tcp.Closed)
		}
		return
	}
	h.resend()
	h.await()
}

// resend sends the oldest outstanding again.
func (h *simHost) resend() {
	switch {
	case h.state == tcp.SynSent:
		h.transmit(tcp.SYN, h.iss, 0, 0)
	case h.una == h.iss:
		h.transmit(tcp.SYN|tcp.ACK, h.iss, h.rcvNxt, 0)
	default:
		last := h.nxt
		if h.finSent {
			last = h.finSeq
		}
		n := min(h.habits.mss, last-h.una)
		flags := tcp.ACK
		if h.finSent && h.una+n == h.finSeq {
			flags |= tcp.FIN
		}
		h.transmit(flags, h.una, h.rcvNxt, n)
	}
}

// receive is SEGMENT ARRIVES, RFC 9293 §3.10.7.
func (h *simHost) receive(s tcp.Segment) {
	switch h.state {
	case tcp.Closed:
		if h.habits.listens && !h.crashed && s.Flags&(tcp.SYN|tcp.ACK|tcp.RST) == tcp.SYN {
			h.accept(s)
			return
		}
		h.refuse(s)
	case tcp.Listen:
		if s.Flags&(tcp.SYN|tcp.ACK|tcp.RST) == tcp.SYN {
			h.accept(s)
			return
		}
		if s.Flags&tcp.ACK != 0 {
			h.refuse(s)
		}
	case tcp.SynSent:
		h.receiveInSynSent(s)
	case tcp.TimeWait:
		h.receiveInTimeWait(s)
	default:
		h.receiveSynchronized(s)
	}
}

// accept answers a SYN in LISTEN.
func (h *simHost) accept(s tcp.Segment) {
	h.start(true)
	h.irs = uint32(s.Seq)
	h.rcvNxt = h.irs + 1
	h.learnStamps(s)
	h.become(tcp.SynReceived)
	h.transmit(tcp.SYN|tcp.ACK, h.iss, h.rcvNxt, 0)
	h.await()
}

func (h *simHost) learnStamps(syn tcp.Segment) {
	h.stamping = h.habits.stamps && syn.Options.HasTS
	h.tsRecent = syn.Options.TSVal
}

// receiveInSynSent is §3.10.7.3.
func (h *simHost) receiveInSynSent(s tcp.Segment) {
	ack := uint32(s.Ack)
	acceptable := s.Flags&tcp.ACK != 0 && seqLT(h.iss, ack) && seqLE(ack, h.nxt)
	switch {
	case s.Flags&tcp.ACK != 0 && !acceptable:
		h.refuse(s)
	case s.Flags&tcp.RST != 0:
		if acceptable {
			h.clear(tcp.Closed)
		}
	case s.Flags&tcp.SYN != 0:
		h.irs = uint32(s.Seq)
		h.rcvNxt = h.irs + 1
		h.learnStamps(s)
		h.tries, h.rto = 0, simFirstRTO
		if acceptable {
			h.una = ack
			h.become(tcp.Established)
			h.disarm()
			h.established()
			return
		}
		h.become(tcp.SynReceived)
		h.transmit(tcp.SYN|tcp.ACK, h.iss, h.rcvNxt, 0)
		h.await()
	}
}

// established lets the application know.
func (h *simHost) established() {
	h.rto, h.tries = simLeastRTO+4*(h.m.path.delay[0]+h.m.path.delay[1]), 0
	before := h.acks
	if h.opened != nil {
		h.opened(h)
	}
	h.output()
	if h.acks == before && !h.passive {
		h.acknowledge()
	}
}

// receiveInTimeWait is §3.10.7.4 with Linux's choices.
func (h *simHost) receiveInTimeWait(s tcp.Segment) {
	exact := uint32(s.Seq) == h.rcvNxt
	switch {
	case s.Flags&tcp.RST != 0:
		if exact {
			h.clear(tcp.Closed)
		}
	case s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN && h.habits.listens && h.renews(s):
		h.clear(tcp.Closed)
		h.accept(s)
	case exact && s.Len() == 0:
		h.waitTwoMSL()
	default:
		if s.Flags&tcp.ACK != 0 {
			h.waitTwoMSL()
		}
		h.doubt(s)
	}
}

// renews reports whether a SYN in TIME-WAIT opens a new connection.
func (h *simHost) renews(s tcp.Segment) bool {
	if h.stamping && s.Options.HasTS {
		if d := int32(s.Options.TSVal - h.tsRecent); d != 0 {
			return d > 0
		}
	}
	return seqLT(h.rcvNxt, uint32(s.Seq))
}

func (h *simHost) waitTwoMSL() { h.arm(simTimeWait, func() { h.clear(tcp.Closed) }) }

// receiveSynchronized is §3.10.7.4, with the checks of RFC 5961.
func (h *simHost) receiveSynchronized(s tcp.Segment) {
	seq, end, ack := uint32(s.Seq), uint32(s.End()), uint32(s.Ack)
	if h.stamping && s.Options.HasTS && s.Flags&tcp.RST == 0 && seqLT(s.Options.TSVal, h.tsRecent) {
		h.doubt(s) // PAWS
		return
	}
	crossing := h.state == tcp.SynReceived && s.Flags&(tcp.SYN|tcp.ACK) == tcp.SYN|tcp.ACK && seq == h.irs && ack == h.nxt
	inWindow := seqLE(h.rcvNxt, seq) && seqLT(seq, h.rcvNxt+simWindow) || s.Len() > 0 && seqLT(h.rcvNxt, end) && seqLE(end, h.rcvNxt+simWindow)
	switch {
	case s.Flags&tcp.RST != 0:
		h.receiveRST(seq)
		return
	case h.state == tcp.SynReceived && s.Flags&tcp.SYN != 0 && seq == h.irs && !crossing:
		h.transmit(tcp.SYN|tcp.ACK, h.iss, h.rcvNxt, 0)
		return
	case !inWindow && !crossing, s.Flags&tcp.SYN != 0 && !crossing:
		if h.habits.oldACKs && h.state != tcp.SynReceived && s.Flags&(tcp.ACK|tcp.SYN) == tcp.ACK && seqLE(end, h.rcvNxt) {
			h.acceptACK(ack)
		}
		if h.state != tcp.Closed {
			h.doubt(s)
		}
		return
	case s.Flags&tcp.ACK == 0:
		return
	}
	if h.state == tcp.SynReceived {
		if !seqLT(h.una, ack) || !seqLE(ack, h.nxt) {
			h.refuse(s)
			return
		}
		h.una = h.iss + 1
		h.become(tcp.Established)
		h.disarm()
		h.established()
	}
	if seqLT(h.nxt, ack) {
		h.doubt(s)
		return
	}
	if h.stamping && s.Options.HasTS && seqLE(seq, h.rcvNxt) {
		h.tsRecent = s.Options.TSVal
	}
	h.acceptACK(ack)
	if h.state != tcp.Closed && s.Len() > 0 && !crossing {
		h.acceptOctets(s)
	}
}

// receiveRST is the second check of §3.10.7.4.
func (h *simHost) receiveRST(seq uint32) {
	inWindow := seqLE(h.rcvNxt, seq) && seqLT(seq, h.rcvNxt+simWindow)
	afterFIN := h.state == tcp.CloseWait || h.state == tcp.LastAck || h.state == tcp.Closing
	switch {
	case h.state == tcp.SynReceived && h.passive:
		if inWindow {
			h.clear(tcp.Listen)
		}
	case seq == h.rcvNxt, afterFIN && seq == h.rcvNxt-1:
		h.clear(tcp.Closed)
	case inWindow:
		h.doubt(tcp.Segment{}) // a challenge
	}
}

// acceptACK is the fifth check.
func (h *simHost) acceptACK(ack uint32) {
	if !seqLT(h.una, ack) || !seqLE(ack, h.nxt) {
		return
	}
	h.una = ack
	h.tries, h.rto = 0, simLeastRTO+4*(h.m.path.delay[0]+h.m.path.delay[1])
	if h.una == h.nxt {
		h.disarm()
	} else {
		h.await()
	}
	if h.finSent && seqLT(h.finSeq, h.una) {
		switch h.state {
		case tcp.FinWait1:
			h.become(tcp.FinWait2)
			if h.orphan {
				h.arm(simFinWait2, func() { h.clear(tcp.Closed) })
			}
		case tcp.Closing:
			h.become(tcp.TimeWait)
			h.waitTwoMSL()
		case tcp.LastAck:
			h.clear(tcp.Closed)
		}
		return
	}
	h.output()
}

// acceptOctets is the seventh and eighth check: the segment text and the FIN.
func (h *simHost) acceptOctets(s tcp.Segment) {
	if seqLT(h.rcvNxt, uint32(s.Seq)) {
		h.early = append(h.early, s)
		h.acknowledge() // at once, for the hole
		return
	}
	if h.orphan && s.Data > 0 && seqLT(h.rcvNxt, uint32(s.Seq)+uint32(s.Data)) && (h.state == tcp.FinWait1 || h.state == tcp.FinWait2) {
		h.refuse(s) // nobody will read this
		h.clear(tcp.Closed)
		return
	}
	fin := h.take(s)
	for again := true; again && !fin; {
		again = false
		for _, e := range h.early {
			if seqLE(uint32(e.Seq), h.rcvNxt) && seqLT(h.rcvNxt, uint32(e.End())) {
				fin, again = h.take(e), true
				break
			}
		}
	}
	if fin {
		h.finArrived()
		return
	}
	if h.acks++; h.habits.delayACK == 0 || len(h.early) > 0 {
		h.acknowledge()
		return
	}
	mine := h.acks
	h.m.after(h.habits.delayACK, func() {
		if h.acks == mine {
			h.acknowledge()
		}
	})
}

// take moves RCV.NXT over the segment, and reports whether its FIN is reached.
func (h *simHost) take(s tcp.Segment) (fin bool) {
	if !seqLT(h.rcvNxt, uint32(s.End())) {
		return false
	}
	if h.neverRead {
		h.unread += uint32(s.End()) - h.rcvNxt
	}
	h.rcvNxt = uint32(s.End())
	return s.Flags&tcp.FIN != 0
}

// finArrived is the eighth check.
func (h *simHost) finArrived() {
	switch h.state {
	case tcp.Established:
		h.become(tcp.CloseWait)
	case tcp.FinWait1:
		h.become(tcp.Closing)
	case tcp.FinWait2:
		h.become(tcp.TimeWait)
		h.waitTwoMSL()
	default:
		return
	}
	h.acknowledge()
	if h.state == tcp.CloseWait && h.respond != nil {
		h.respond(h)
	}
}
