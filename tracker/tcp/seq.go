package tcp

// A Seq is a TCP sequence number. Sequence numbers live on a circle of 2^32
// (RFC 9293 §3.4): they have an order only for neighbours less than 2^31
// apart, and the operators < and > do not give it. Use Before.
type Seq uint32

// A Size is a number of sequence numbers: octets of data, plus one each for
// SYN and FIN (SEG.LEN of RFC 9293 §3.4). It is a type of its own so that a
// place cannot be compared with a length.
type Size uint32

// Add returns the sequence number n places after s.
func (s Seq) Add(n Size) Seq { return s + Seq(n) }

// Minus returns how many places s lies after t. If s lies before t the result
// wraps; ask Before first.
func (s Seq) Minus(t Seq) Size { return Size(s - t) }

// Before reports whether s comes before t (s < t in RFC 9293 §3.4).
func (s Seq) Before(t Seq) bool { return int32(s-t) < 0 }

// AtMost reports whether s comes before t or is t (s =< t in RFC 9293 §3.4).
func (s Seq) AtMost(t Seq) bool { return int32(s-t) <= 0 }

// In reports whether s lies in [from, to), a window of the sequence space.
func (s Seq) In(from, to Seq) bool { return s-from < to-from }

// Later returns whichever of s and t comes later.
func Later(s, t Seq) Seq {
	if s.Before(t) {
		return t
	}
	return s
}

// Earlier returns the one of the two numbers that comes first.
func Earlier(s, t Seq) Seq {
	if s.Before(t) {
		return s
	}
	return t
}
