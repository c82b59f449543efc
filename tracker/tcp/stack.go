package tcp

import (
	"fmt"
	"strings"
	"time"
)

// A Stack is how one kind of TCP implementation runs its timers and decides
// what the RFCs leave open. Figures: see the table stacks.
type Stack struct {
	Name  string
	Looks string // what its SYN has; "": none tells it

	TimeWait2MSL  time.Duration // how long TIME-WAIT is held (RFC 9293 §3.6.1 asks 4 minutes)
	FinWait2      time.Duration // how long an orphaned FIN-WAIT-2 is held; 0: for ever, as in the RFC
	SynGiveUp     time.Duration // from the first SYN to the end of the attempt (RFC 9293 §3.8.3 MUST-23: at least 3 minutes)
	SynAckGiveUp  time.Duration // from the last SYN+ACK of an unfinished handshake
	FinGiveUp     time.Duration // from the last copy of a FIN that nobody acknowledges
	LastAckGiveUp time.Duration // from the first FIN in LAST-ACK; 0: as FinGiveUp
	FixedGiveUp   bool          // SynGiveUp and SynAckGiveUp run from the first copy, however often it was repeated

	AnyRestarts   bool       // any ACK that arrives in TIME-WAIT starts its time again, not only a repeated FIN (RFC 9293 §3.10.7.4)
	RSTInTimeWait bool       // an acceptable RST ends TIME-WAIT (RFC 9293 §3.10.7.4; RFC 1337 warns of it)
	PAWSOfRST     bool       // in TIME-WAIT a RST with a timestamp that is too old is dropped too (RFC 7323 §5.2 has RSTs spared)
	RSTBelowFIN   bool       // a RST one below RCV.NXT is taken after the peer's FIN
	RSTAtSACK     bool       // a RST at the highest SACK edge is taken
	RSTAtLastACK  bool       // a RST at the last ACK sent is taken, also where more has come
	RSTInRequest  bool       // any RST in the window ends the SYN-RECEIVED of a listener
	RSTInOrphan   bool       // any RST in the window ends a FIN-WAIT-2 that nobody reads from
	RSTInWindow   bool       // any RST in the window is taken (RFC 793 §3.4; RFC 5961 §3 asks for the next number)
	TimeWaitReuse ReuseRule  // which SYNs a TIME-WAIT yields to
	OldAck        OldAckRule // whether the ACK of a segment counts that has no new octet
	AnyAckIn      StateSet   // the states in which it looks at no ACK number, and takes a segment all the same
	TakesOldAck   bool       // an ACK number that is too old is no reason to drop a segment (RFC 5961 §5)
	AckInOrder    bool       // the ACK of its FIN counts only in a segment that is next in order, not beyond a hole
	NoPAWS        bool       // a timestamp that is too old is no reason to drop a segment
	NoCrossedSYNs bool       // it does not open simultaneously (RFC 9293 §3.5, figure 7): a bare SYN in SYN-SENT is dropped
}

// A ReuseRule says when a SYN that arrives in TIME-WAIT opens a new connection.
type ReuseRule uint8

const (
	ReuseNewerSeqOrTS ReuseRule = iota // a higher sequence number or a newer timestamp (Linux)
	ReuseNewerSeq                      // a higher sequence number (4.4BSD)
	ReuseRFC6191                       // RFC 6191 §2
	ReuseNever                         // none
)

// Yields reports whether a SYN opens a new connection whose sequence number is
// higher than all of the old one's, or whose timestamp is newer or older.
func (r ReuseRule) Yields(newerSeq, newerTS, olderTS bool) bool {
	switch r {
	case ReuseNewerSeqOrTS:
		return !olderTS && (newerSeq || newerTS)
	case ReuseNewerSeq:
		return newerSeq
	case ReuseNever:
		return false
	}
	return newerTS || !olderTS && newerSeq // RFC 6191 §2
}

// An OldAckRule says when the ACK of a segment counts all of whose octets were
// received before. RFC 9293 §3.10.7.4 drops such a segment whole.
type OldAckRule uint8

const (
	OldAckCounts OldAckRule = iota // always: it is cut to nothing, and what is left is an ACK (4.4BSD)
	OldAckAtEdge                   // where it ends at the last ACK sent, not below (Linux)
	OldAckDropped
)

// Counts reports whether the ACK of s counts at an end that acknowledged all
// before acked.
func (r OldAckRule) Counts(s *Segment, acked Seq) bool {
	if acked.Before(s.End()) || s.Len() == 0 && s.Seq == acked {
		return true // it is not old
	}
	return r == OldAckCounts || r == OldAckAtEdge && s.End() == acked
}

// waiting are the states in which there is nothing left to acknowledge.
const waiting = StateSet(1<<FinWait2 | 1<<TimeWait)

// stacks are the profiles that --stack names. Where a figure comes from is
// told in its row; those without a source are engineering estimates.
var stacks = [NumStacks]Stack{
	{
		// Linux: TCP_TIMEWAIT_LEN and tcp_fin_timeout are 60 s; tcp_syn_retries 6
		// with four linear retries gives up after 131 s, tcp_synack_retries 5
		// after 63 s, orphan retries (8) after 102 s at the least RTO.
		// tcp_timewait_state_process starts TIME-WAIT again for every ACK.
		Name:         "linux",
		Looks:        "the order of options of Linux, and a window of whole segments",
		TimeWait2MSL: 60 * time.Second, FinWait2: 60 * time.Second,
		SynGiveUp: 131 * time.Second, SynAckGiveUp: 63 * time.Second, FinGiveUp: 102 * time.Second,
		AnyRestarts: true, RSTInTimeWait: true, PAWSOfRST: true, RSTBelowFIN: true, RSTAtSACK: true, RSTInRequest: true, RSTInOrphan: true, TimeWaitReuse: ReuseNewerSeqOrTS,
		AnyAckIn: waiting,      // an orphan's is no socket any more, see tcp_timewait_state_process
		OldAck:   OldAckAtEdge, // tcp_sequence drops what ends before the last ACK sent
	},
	{
		// FreeBSD: net.inet.tcp.msl 30 s; finwait2_timeout 60 s; keepinit 75 s.
		Name:         "bsd",
		Looks:        "the order of options of FreeBSD",
		TimeWait2MSL: 60 * time.Second, FinWait2: 60 * time.Second,
		SynGiveUp: 75 * time.Second, SynAckGiveUp: 45 * time.Second, FinGiveUp: 500 * time.Second,
		RSTAtLastACK: true, TimeWaitReuse: ReuseNewerSeq, AnyAckIn: TimeWait.Set(),
	},
	{
		// xnu: MSL 15 s; the rest as in BSD, whose code it shares.
		Name:         "macos",
		Looks:        "the order of options of macOS",
		TimeWait2MSL: 30 * time.Second, FinWait2: 60 * time.Second,
		SynGiveUp: 75 * time.Second, SynAckGiveUp: 45 * time.Second, FinGiveUp: 500 * time.Second,
		RSTBelowFIN: true, RSTAtLastACK: true, TimeWaitReuse: ReuseNewerSeq, AnyAckIn: TimeWait.Set(),
	},
	{
		// Windows since Vista: TcpTimedWaitDelay 120 s by default; SYN at 0, 3
		// and 9 s, given up at 21 s.
		Name:         "windows",
		Looks:        "a TTL of 128 at first, and the order of options of Windows",
		TimeWait2MSL: 120 * time.Second, FinWait2: 120 * time.Second,
		SynGiveUp: 21 * time.Second, SynAckGiveUp: 21 * time.Second, FinGiveUp: 60 * time.Second,
		RSTInTimeWait: true, TimeWaitReuse: ReuseRFC6191, AnyAckIn: waiting,
	},
	{
		// Solaris: tcp_time_wait_interval 60 s, tcp_fin_wait_2_flush_interval
		// 675 s, tcp_ip_abort_interval 480 s.
		Name:         "solaris",
		TimeWait2MSL: 60 * time.Second, FinWait2: 675 * time.Second,
		SynGiveUp: 180 * time.Second, SynAckGiveUp: 180 * time.Second, FinGiveUp: 480 * time.Second,
		RSTInTimeWait: true, RSTInWindow: true, TimeWaitReuse: ReuseNewerSeq, AnyAckIn: waiting,
	},
	{
		// RFC 9293 itself: MSL 2 minutes (§3.4.2), no timer in FIN-WAIT-2, SYN
		// for 3 minutes at least (MUST-23), user timeout 5 minutes (§3.9.1.1).
		Name:         "rfc9293",
		TimeWait2MSL: 240 * time.Second,
		SynGiveUp:    180 * time.Second, SynAckGiveUp: 180 * time.Second, FinGiveUp: 300 * time.Second,
		RSTInTimeWait: true, TimeWaitReuse: ReuseRFC6191, OldAck: OldAckDropped,
	},
	{
		// gVisor's netstack, measured in release 20260905. Both of its give-up
		// times run from the first copy; 805 s is how long it repeats a FIN or data.
		// In LAST-ACK it ends with a RST. TIME-WAIT drops every RST, on purpose, and
		// starts again for a repeated FIN alone: no other ACK does (rcv.go,
		// handleTimeWaitSegment). An ACK of its FIN moves it only in a segment that it
		// takes up at once. In ESTABLISHED it looks at no ACK number before it takes
		// data and FIN, and nowhere at an old one.
		Name:         "gvisor",
		Looks:        "Linux's order of options, and a window of twenty segments cut to the window scale, or keeps its timestamp when repeated",
		TimeWait2MSL: 60 * time.Second, FinWait2: 60 * time.Second,
		SynGiveUp: 127 * time.Second, SynAckGiveUp: 127 * time.Second, FixedGiveUp: true,
		FinGiveUp: 805 * time.Second, LastAckGiveUp: 205 * time.Second,
		RSTInRequest: true, TimeWaitReuse: ReuseNewerSeq, OldAck: OldAckDropped, AckInOrder: true, NoPAWS: true,
		AnyAckIn: 1<<Established | 1<<TimeWait, TakesOldAck: true,
	},
	{
		// lwIP, measured in release 2.1.3: TIME-WAIT 119.4 to 120.5 s, an orphaned
		// FIN-WAIT-2 20.4 s, seven SYNs in 18.25 s, SYN-RECEIVED 20.25 s, LAST-ACK
		// 120 s however often the FIN is repeated; a FIN in FIN-WAIT-1 is repeated for
		// more than 900 s. Its timers tick twice a second. TIME-WAIT answers a SYN
		// with its ACK, or, in the window, with a RST, and stays. It takes data and FIN
		// whatever they acknowledge.
		Name:         "lwip",
		Looks:        "a TTL of 255 at first, a window of 65535, no DF, and no options but MSS and window scale",
		TimeWait2MSL: 120 * time.Second, FinWait2: 20400 * time.Millisecond,
		SynGiveUp: 18250 * time.Millisecond, SynAckGiveUp: 20250 * time.Millisecond, FixedGiveUp: true,
		FinGiveUp: 900 * time.Second, LastAckGiveUp: 120 * time.Second,
		TimeWaitReuse: ReuseNever, NoCrossedSYNs: true, AnyAckIn: ^StateSet(0), TakesOldAck: true,
	},
	{
		// Not recognised. Most hosts are Linux, so its figures and choices are taken;
		// what a timer says of such an end is assumed.
		Name:         "auto",
		TimeWait2MSL: 60 * time.Second, FinWait2: 60 * time.Second,
		SynGiveUp: 131 * time.Second, SynAckGiveUp: 63 * time.Second, FinGiveUp: 102 * time.Second,
		AnyRestarts: true, RSTInTimeWait: true, PAWSOfRST: true, RSTBelowFIN: true, RSTAtSACK: true, RSTInRequest: true, RSTInOrphan: true, TimeWaitReuse: ReuseNewerSeqOrTS,
		AnyAckIn: waiting,
	},
}

// A StackID is the place of a Stack in the table of those that are known, which
// is what an end remembers of its own. The zero StackID is Linux.
type StackID uint8

const (
	StackLinux StackID = iota
	StackBSD
	StackMacOS
	StackWindows
	StackSolaris
	StackRFC
	StackGVisor
	StackLwIP
	StackAuto // not known

	NumStacks
)

// Stack returns the profile.
func (id StackID) Stack() *Stack { return &stacks[id] }

// Stacks returns the names that ParseStack knows.
func Stacks() []string {
	var names []string
	for _, s := range stacks {
		names = append(names, s.Name)
	}
	return names
}

// ParseStack returns the profile of the given name.
func ParseStack(name string) (StackID, error) {
	for id, s := range stacks {
		if s.Name == strings.ToLower(name) {
			return StackID(id), nil
		}
	}
	return 0, fmt.Errorf("%q is not a known stack (%s)", name, strings.Join(Stacks(), ", "))
}
