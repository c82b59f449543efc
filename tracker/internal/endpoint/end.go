// Package endpoint is one end of a connection: its numbers, its timers and clocks, and the
// two states, which are written here alone. It knows its peer where numbers are compared,
// and no connection.
//
//	end.go      what is known of an end
//	states.go   its states in the two views
//	numbers.go  what a segment of it tells
//	clock.go    response times, and the timers of its stack
//	form.go     all of it that is no number
//	tap.go      whether the capture was made on its host
//	class.go    how a segment's numbers compare with those of both ends
package endpoint

import "github.com/tcpwatch/tcpwatch/tracker/tcp"

// An End is what the capture tells of one end of a connection: the sequence
// variables of RFC 9293 §3.3.1 as a bystander can know them, and the two
// states. There are two of them in every Conn, so their size is most of what
// a connection costs; what ordinary connections do not need is elsewhere.
type End struct {
	SentAt tcp.Time // its newest segment; 0: none captured yet
	Bytes  uint64   // payload octets, each number once

	ISS     tcp.Seq // its initial sequence number, with HasISS
	Nxt     tcp.Seq // after the highest octet captured of it (SND.NXT); while it is unseen, what its peer acknowledged
	Acked   tcp.Seq // the highest ACK it sent: RCV.NXT at least, with HasAcked
	Edge    tcp.Seq // the right edge of its window, the furthest it ever offered, with HasAcked
	FIN     tcp.Seq // the number of its FIN, with HasFIN
	Clean   tcp.Seq // its octets from here on were only ever sent along with an ACK of the peer's FIN
	probe   tcp.Seq // the response time is being measured by the ACK that covers this, with Probing
	LastAck tcp.Seq // the ACK field of its newest segment

	TSVal     uint32 // its newest timestamp, with HasTS
	Echo      uint32 // the newest timestamp of its peer that it echoed, and so has taken, with HasEcho
	TsUnclean uint32 // its newest timestamp on a segment that did not acknowledge the peer's FIN

	Clock   tick // when its running timer was last set: by a SYN, a FIN, or what restarted TIME-WAIT
	probeAt tick // when the octets before probe went toward it

	Packets uint32

	States

	MSS     uint16
	Wnd     uint16 // its newest window, before scaling
	MaxWnd  uint16 // the widest, SYNs left aside
	ID      uint16 // the IP identification of its newest segment
	Bits    Bits
	Respond uint16 // the shortest response time measured, see responseUnit; 0: none yet
	Gap     uint8  // between the last two copies of its SYN or FIN, see gapUnit
	Copies  uint8  // of its SYN or FIN, up to 255
	packed  uint8  // window scale it announced, plus one, and index of its stack: 4 bits each
	TTL     uint8  // of its newest segment that was not a RST
	Went    Went
}

// Bits are the yes-or-no facts of an end.
type Bits uint16

const (
	HasISS   Bits = 1 << iota
	HasAcked      // it sent an ACK
	HasFIN        // its FIN was captured
	HasTS         // it sends timestamps
	SackOK        // its SYN permitted SACK
	SentSYN       // a SYN without ACK was captured of it
	SentSYNACK
	StillReads // it acknowledged data after its own FIN: the socket is not orphaned
	Lossy      // the capture misses octets of it
	Answered   // its newest segment was answered by a RST in reply
	Probing
	HasEcho    // it echoed a timestamp of its peer
	Signs      // its SYN was signed
	GoodSum    // a checksum of it was right: it does not leave them to the network card
	StackKnown // its SYN fits no other stack, or the caller named it
	IgnoresSYN // it sent no SYN,ACK in time: it listens still, or waits for the answer to its own SYN
)

// Went is what the capture tells of how the end's segments passed the tap.
type Went uint8

const (
	CameIn      Went = 1 << iota // the host that made the capture received one
	WentOut                      // that host sent one
	SumUnfilled                  // the checksum of one was left to its network card
)

// Agreed are what both SYNs can agree on that the gate asks of every segment.
const Agreed = Signs

const (
	MaxShift   = 14 // RFC 7323 §2.3
	stackShift = 4
)

// The window scale and the stack have room in a byte, or this does not compile.
var (
	_ [1<<stackShift - 2 - MaxShift]struct{}
	_ [1<<(8-stackShift) - tcp.NumStacks]struct{}
)

func (e *End) Has(b Bits) bool { return e.Bits&b != 0 }

// Stack returns the profile of the end.
func (e *End) Stack() *tcp.Stack { return e.StackID().Stack() }

func (e *End) StackID() tcp.StackID { return tcp.StackID(e.packed >> stackShift) }

// HasShift reports whether the end's SYN had a window scale.
func (e *End) HasShift() bool { return e.packed&(1<<stackShift-1) != 0 }

// Shift returns the window scale that the end announced, where it has one.
func (e *End) Shift() uint8 { return e.packed&(1<<stackShift-1) - 1 }

func (e *End) SetShift(n uint8) {
	e.DropShift()
	e.packed |= min(n, MaxShift) + 1
}

func (e *End) DropShift() { e.packed &^= 1<<stackShift - 1 }

func (e *End) SetStack(id tcp.StackID) {
	e.packed = e.packed&(1<<stackShift-1) | uint8(id)<<stackShift
}

// Seen reports whether a segment of the end was captured.
func (e *End) Seen() bool { return e.SentAt != 0 }

// Closed reports whether nothing more is expected of an end.
func (x *End) Closed() bool {
	return x.Assumed&^(tcp.Closed.Set()|tcp.Listen.Set()|tcp.Unknown.Set()) == 0
}

// AnyAck reports whether the end looks at no ACK number.
func (y *End) AnyAck() bool { return y.Assumed.Within(y.Stack().AnyAckIn) }

// Listens takes an end of which nothing was known, as nothing had answered in
// its name, for one that listens.
func (x *End) Listens() {
	if x.Assumed == tcp.Unknown.Set() {
		x.FoundIn(tcp.Listen.Set())
	}
}

// AwaitsSYNACK reports whether the end is taken to have received a SYN, and is to send
// its SYN,ACK.
func (e *End) AwaitsSYNACK() bool {
	return e.Assumed == tcp.SynReceived.Set() && !e.Has(SentSYNACK)
}

func (e *End) Steady() bool {
	return e.Assumed == Up && e.Proved == Up && e.Bits&(HasAcked|HasFIN|Agreed) == HasAcked
}

// Up is the state of an end in an ordinary open connection.
var Up = tcp.Established.Set()
