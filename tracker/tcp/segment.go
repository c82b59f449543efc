package tcp

import (
	"net/netip"
	"time"
)

// Time is an instant in trace time: nanoseconds since the Unix epoch, UTC, as
// the capture stamped them. There is no other clock. The zero Time means "not
// known".
type Time int64

// Second is one second of trace time.
const Second = Time(time.Second)

// Std returns t as a time.Time in UTC.
func (t Time) Std() time.Time { return time.Unix(0, int64(t)).UTC() }

// String returns t as RFC 3339 writes it, with nanoseconds, and "not known" of
// the zero Time.
func (t Time) String() string {
	if t == 0 {
		return "not known"
	}
	return t.Std().Format("2006-01-02T15:04:05.000000000Z")
}

// Add returns the instant d after t.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns the span from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Flags are the control bits of a TCP header in any combination
// (RFC 9293 §3.1, RFC 3168, RFC 9768 for AE).
type Flags uint16

const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
	AE
)

// Any reports whether at least one of the bits in mask is set.
func (f Flags) Any(mask Flags) bool { return f&mask != 0 }

// All reports whether every bit in mask is set.
func (f Flags) All(mask Flags) bool { return f&mask == mask }

// A Segment is one captured TCP segment, or, when ICMP.Type is not zero, an
// ICMP error about one. Field names follow RFC 9293 §3.10 (SEG.SEQ and so on).
// Lengths are those of the wire: a segment whose payload was cut off by the
// snap length has the Data it had on the wire.
type Segment struct {
	Time   Time // when it was captured
	Packet int  // number of the frame in the capture, from 1

	Src, Dst netip.AddrPort

	Seq     Seq
	Ack     Seq    // has a meaning only with the ACK flag
	Wnd     uint16 // as sent, before scaling
	Urg     uint16 // urgent pointer, as sent
	Flags   Flags
	Data    Size // payload octets on the wire
	Options Options

	TTL      uint8  // IPv4 TTL or IPv6 hop limit
	NoDF     bool   // IPv4 without the flag Don't Fragment
	Label    bool   // a SYN over IPv6 that has a flow label
	ID       uint16 // IPv4 identification; 0 on IPv6
	Payload  uint64 // a hash of the payload, equal for equal octets; 0: not asked for, cut, corrupt, or none
	Checksum uint16 // the TCP checksum field, as sent
	Sum      Sum    // what checking it gave
	Cut      Cut    // what of the TCP header the capture lacks
	Fragment bool   // put together from, or part of, IP fragments
	Way      Way    // how the host that made the capture had it

	ICMP ICMP // not zero: this is an ICMP error that quotes a segment

	Leg    Leg    // where on its way it was captured
	Frames *[]int // its numbers in captures of several places, 0 where it is not there; nil: nobody asked
	Twin   *Twin  // what captures of several places tell together of it; nil: there is one
}

// ICMP is the ICMP or ICMPv6 error that a Segment stands for. The Segment's
// Src, Dst, Seq and Time then are those of the quoted segment's header and of
// the error's capture; Data and Flags are not known.
type ICMP struct {
	Type uint8 // ICMP type; 0 means that the Segment is no ICMP error
	Code uint8
	V6   bool       // ICMPv6 (RFC 4443) rather than ICMP (RFC 792)
	From netip.Addr // who sent the error
	MTU  uint32     // what fits, as an error that says that a packet is too big tells; 0: it does not
}

// Sum says what is known of a TCP checksum.
type Sum uint8

const (
	SumUnchecked Sum = iota // nobody looked, or the packet is cut
	SumGood
	SumPartial // only the pseudo-header is summed: left to the sender's network card
	SumBad
)

// Cut says how much of a TCP header the snap length left.
type Cut uint8

const (
	CutNone    Cut = iota
	CutPayload     // header whole, payload cut
	CutOptions     // fixed header whole, options cut: Options hold what could be read
)

// Len is SEG.LEN: the sequence numbers that the segment occupies
// (RFC 9293 §3.4).
func (s *Segment) Len() Size {
	n := s.Data
	if s.Flags&SYN != 0 {
		n++
	}
	if s.Flags&FIN != 0 {
		n++
	}
	return n
}

// End is the sequence number after the segment's last.
func (s *Segment) End() Seq { return s.Seq.Add(s.Len()) }

// PureAck reports whether the segment does nothing but acknowledge.
func (s *Segment) PureAck() bool {
	return s.Flags&(ACK|SYN|FIN|RST) == ACK && s.Data == 0
}

// Lawless reports whether the segment has none of the flags without which none
// is sent. No state takes anything from it (RFC 9293 §3.10.7.2 to §3.10.7.4,
// where "if the ACK bit is off, drop the segment"), and no end sends it.
func (s *Segment) Lawless() bool { return s.Flags&(SYN|ACK|RST) == 0 }
