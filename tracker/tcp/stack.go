package tcp

import (
	"fmt"
	"strings"
	"time"
)

// A Stack is how one kind of TCP implementation runs its timers and decides
// what the RFCs leave open. Figures: see the table stacks.
type Stack struct {
	Name string

	TimeWait2MSL  time.Duration // how long TIME-WAIT is held (RFC 9293 §3.6.1 asks 4 minutes)
	TimeWaitMax   time.Duration // where the stack is not known: it may be held this long; else 0
	FinWait2      time.Duration // how long an orphaned FIN-WAIT-2 is held; 0: for ever, as in the RFC
	SynGiveUp     time.Duration // from the first SYN to the end of the attempt (RFC 9293 §3.8.3 MUST-23: at least 3 minutes)
	SynAckGiveUp  time.Duration // from the last SYN+ACK of an unfinished handshake
	FinGiveUp     time.Duration // from the last copy of a FIN that nobody acknowledges
	AnyRestarts   bool          // any ACK that arrives in TIME-WAIT starts its time again, not only a repeated FIN (RFC 9293 §3.10.7.4)
	RSTInTimeWait bool          // an acceptable RST ends TIME-WAIT (RFC 9293 §3.10.7.4; RFC 1337 warns of it)
	RSTBelowFIN   bool          // a RST one below RCV.NXT is taken after the peer's FIN
	RSTAtSACK     bool          // a RST at the highest SACK edge is taken
	NoPAWS        bool          // a timestamp that is too old is no reason to drop a segment
	TimeWaitReuse ReuseRule     // which SYNs a TIME-WAIT yields to
}

// A ReuseRule says when a SYN that arrives in TIME-WAIT opens a new connection.
type ReuseRule uint8

const (
	ReuseNewerSeqOrTS ReuseRule = iota // a higher sequence number or a newer timestamp (Linux)
	ReuseNewerSeq                      // a higher sequence number (4.4BSD)
	ReuseRFC6191                       // RFC 6191 §2
)

// stacks are the profiles that --stack names. Where a figure comes from is
// told in its row; those without a source are engineering estimates.
var stacks = [NumStacks]Stack{
	{
		// Linux: TCP_TIMEWAIT_LEN and tcp_fin_timeout are 60 s; tcp_syn_retries 6
		// with four linear retries gives up after 131 s, tcp_synack_retries 5
		// after 63 s, orphan retries (8) after 102 s at the least RTO.
		// tcp_timewait_state_process starts TIME-WAIT again for every ACK.
		Name:         "linux",
		TimeWait2MSL: 60 * time.Second, FinWait2: 60 * time.Second,
		SynGiveUp: 131 * time.Second, SynAckGiveUp: 63 * time.Second, FinGiveUp: 102 * time.Second,
		AnyRestarts: true, RSTInTimeWait: true, RSTBelowFIN: true, RSTAtSACK: true, TimeWaitReuse: ReuseNewerSeqOrTS,
	},
	{
		// FreeBSD: net.inet.tcp.msl 30 s; finwait2_timeout 60 s; keepinit 75 s.
		Name:         "bsd",
		TimeWait2MSL: 60 * time.Second, FinWait2: 60 * time.Second,
		SynGiveUp: 75 * time.Second, SynAckGiveUp: 45 * time.Second, FinGiveUp: 500 * time.Second,
		TimeWaitReuse: ReuseNewerSeq,
	},
	{
		// xnu: MSL 15 s; the rest as in BSD, whose code it shares.
		Name:         "macos",
		TimeWait2MSL: 30 * time.Second, FinWait2: 60 * time.Second,
		SynGiveUp: 75 * time.Second, SynAckGiveUp: 45 * time.Second, FinGiveUp: 500 * time.Second,
		RSTBelowFIN: true, TimeWaitReuse: ReuseNewerSeq,
	},
	{
		// Windows since Vista: TcpTimedWaitDelay 120 s by default; SYN at 0, 3
		// and 9 s, given up at 21 s.
		Name:         "windows",
		TimeWait2MSL: 120 * time.Second, FinWait2: 120 * time.Second,
		SynGiveUp: 21 * time.Second, SynAckGiveUp: 21 * time.Second, FinGiveUp: 60 * time.Second,
		RSTInTimeWait: true, TimeWaitReuse: ReuseRFC6191,
	},
	{
		// Solaris: tcp_time_wait_interval 60 s, tcp_fin_wait_2_flush_interval
		// 675 s, tcp_ip_abort_interval 480 s.
		Name:         "solaris",
		TimeWait2MSL: 60 * time.Second, FinWait2: 675 * time.Second,
		SynGiveUp: 180 * time.Second, SynAckGiveUp: 180 * time.Second, FinGiveUp: 480 * time.Second,
		RSTInTimeWait: true, TimeWaitReuse: ReuseNewerSeq,
	},
	{
		// RFC 9293 itself: MSL 2 minutes (§3.4.2), no timer in FIN-WAIT-2, SYN
		// for 3 minutes at least (MUST-23), user timeout 5 minutes (§3.9.1.1).
		Name:         "rfc9293",
		TimeWait2MSL: 240 * time.Second,
		SynGiveUp:    180 * time.Second, SynAckGiveUp: 180 * time.Second, FinGiveUp: 300 * time.Second,
		RSTInTimeWait: true, TimeWaitReuse: ReuseRFC6191,
	},
	{
		// Not known: what all of the above have in common.
		Name:         "auto",
		TimeWait2MSL: 30 * time.Second, TimeWaitMax: 240 * time.Second, FinWait2: 60 * time.Second,
		SynGiveUp: 180 * time.Second, SynAckGiveUp: 180 * time.Second, FinGiveUp: 500 * time.Second,
		RSTInTimeWait: true, TimeWaitReuse: ReuseRFC6191,
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
	StackAuto // not known: what all have in common

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
	return 0, fmt.Errorf("%q is no stack (%s)", name, strings.Join(Stacks(), ", "))
}

// GuessStack returns the stack that a SYN looks like, or StackAuto where its looks fit several.
func GuessStack(syn *Segment) StackID {
	switch {
	case syn.TTL > 128:
		return StackSolaris
	case syn.TTL > 64:
		return StackWindows
	case syn.Wnd == 65535 && syn.Options.HasShift && syn.Options.Shift == 6:
		return StackAuto // FreeBSD and macOS look alike, and hold TIME-WAIT for different times
	case syn.Options.HasTS && syn.Options.SACKOK:
		return StackLinux
	}
	return StackAuto
}
