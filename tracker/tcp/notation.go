package tcp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// The notation of RFC 9293 §3.5 writes a segment as
//
//	<SEQ=100><ACK=300><CTL=SYN,ACK>
//
// This file reads and writes it, with fields of our own for what the tracker
// looks at: <DATA=n> octets, <WND=n>, <URG=n>, <MSS=n>, <WS=n>, <SACKOK>, <NOP>,
// <TS=value,echo>, <SACK=left:right,...>, <TFO>, <TTL=n>, <NODF>, <LABEL>, <ID=n>,
// <CHECKSUM=n> as sent, <PAYLOAD=n> for a hash of the payload,
// <SUM=good|partial|bad>, <CUT=payload|options>, <FRAG>, and <ICMP=type,code>
// or <ICMP6=type,code>, with <FROM=address>, for an error that quotes the
// segment. A field that is left out has its default: no data, a window of
// 1,000, a TTL of 64, everything else absent. Options are in the order of the
// header, but for those that are not of a SYN.

// Defaults of the notation.
const (
	defaultWnd = 1000
	defaultTTL = 64
)

var flagNames = []struct {
	flag Flags
	name string
}{
	{SYN, "SYN"}, {FIN, "FIN"}, {RST, "RST"}, {PSH, "PSH"}, {ACK, "ACK"}, {URG, "URG"}, {ECE, "ECE"}, {CWR, "CWR"}, {AE, "AE"},
}

// String returns the flags as the notation has them: "SYN,ACK".
func (f Flags) String() string {
	var names []string
	for _, n := range flagNames {
		if f&n.flag != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ",")
}

// String returns the segment in the notation of RFC 9293 §3.5.
// ParseSegment reads it back.
func (s *Segment) String() string {
	var b strings.Builder
	field := func(format string, args ...any) { fmt.Fprintf(&b, "<"+format+">", args...) }
	field("SEQ=%d", uint32(s.Seq))
	if s.Flags&ACK != 0 || s.Ack != 0 {
		field("ACK=%d", uint32(s.Ack))
	}
	if s.Flags != 0 {
		field("CTL=%v", s.Flags)
	}
	number := func(name string, value, standard uint64) {
		if value != standard {
			field("%s=%d", name, value)
		}
	}
	number("DATA", uint64(s.Data), 0)
	number("WND", uint64(s.Wnd), defaultWnd)
	number("URG", uint64(s.Urg), 0)
	o := s.Options
	for _, kind := range o.ordered() {
		switch kind {
		case optionNop:
			field("NOP")
		case optionMSS:
			field("MSS=%d", o.MSS)
		case optionShift:
			field("WS=%d", o.Shift)
		case optionSACKOK:
			field("SACKOK")
		case optionTS:
			field("TS=%d,%d", o.TSVal, o.TSEcr)
		}
	}
	if o.NumSACK > 0 {
		var blocks []string
		for _, k := range o.SACK[:o.NumSACK] {
			blocks = append(blocks, fmt.Sprintf("%d:%d", uint32(k.Left), uint32(k.Right)))
		}
		field("SACK=%s", strings.Join(blocks, ","))
	}
	if o.FastOpen {
		field("TFO")
	}
	if o.Signed {
		field("SIGNED")
	}
	number("TTL", uint64(s.TTL), defaultTTL)
	if s.NoDF {
		field("NODF")
	}
	if s.Label {
		field("LABEL")
	}
	number("ID", uint64(s.ID), 0)
	number("PAYLOAD", s.Payload, 0)
	number("CHECKSUM", uint64(s.Checksum), 0)
	if s.Sum != SumUnchecked {
		field("SUM=%s", sumNames[s.Sum])
	}
	if s.Cut != CutNone {
		field("CUT=%s", cutNames[s.Cut])
	}
	if s.Fragment {
		field("FRAG")
	}
	if s.ICMP.Type != 0 {
		name := "ICMP"
		if s.ICMP.V6 {
			name = "ICMP6"
		}
		field("%s=%d,%d", name, s.ICMP.Type, s.ICMP.Code)
		if s.ICMP.From.IsValid() {
			field("FROM=%v", s.ICMP.From)
		}
	}
	return b.String()
}

var (
	sumNames = []string{"unchecked", "good", "partial", "bad"}
	cutNames = []string{"none", "payload", "options"}
)

// ParseSegment reads a segment in the notation that String writes. Its
// addresses, time and frame number are left zero.
func ParseSegment(text string) (Segment, error) {
	s := Segment{Wnd: defaultWnd, TTL: defaultTTL}
	text = strings.TrimSpace(text)
	for text != "" {
		inside, rest, closed := strings.Cut(text, ">")
		inside, opened := strings.CutPrefix(inside, "<")
		if !closed || !opened {
			return s, fmt.Errorf("%q: a field is written <NAME=value>", text)
		}
		name, value, _ := strings.Cut(inside, "=")
		if err := s.parseField(name, value); err != nil {
			return s, fmt.Errorf("<%s>: %w", inside, err)
		}
		text = strings.TrimSpace(rest)
	}
	return s, nil
}

// parseField sets the named field of the segment.
func (s *Segment) parseField(name, value string) (err error) {
	number := func(bits int) uint64 {
		n, e := strconv.ParseUint(value, 10, bits)
		if e != nil {
			err = fmt.Errorf("want a number of %d bits", bits)
		}
		return n
	}
	pair := func(text, sep string, bits int) (uint64, uint64) {
		left, right, _ := strings.Cut(text, sep)
		l, e1 := strconv.ParseUint(left, 10, bits)
		r, e2 := strconv.ParseUint(right, 10, bits)
		if e1 != nil || e2 != nil {
			err = fmt.Errorf("want two numbers with %q between them", sep)
		}
		return l, r
	}
	o := &s.Options
	switch name {
	case "SEQ":
		s.Seq = Seq(number(32))
	case "ACK":
		s.Ack = Seq(number(32))
	case "CTL":
		s.Flags, err = parseFlags(value)
	case "DATA":
		s.Data = Size(number(32))
	case "WND":
		s.Wnd = uint16(number(16))
	case "URG":
		s.Urg = uint16(number(16))
	case "MSS":
		o.MSS = uint16(number(16))
		o.Place(optionMSS)
	case "WS":
		o.Shift, o.HasShift = uint8(number(8)), true
		o.Place(optionShift)
	case "SACKOK":
		o.SACKOK = true
		o.Place(optionSACKOK)
	case "TS":
		v, e := pair(value, ",", 32)
		o.TSVal, o.TSEcr, o.HasTS = uint32(v), uint32(e), true
		o.Place(optionTS)
	case "SACK":
		for _, block := range strings.Split(value, ",") {
			if int(o.NumSACK) == len(o.SACK) {
				return fmt.Errorf("at most %d blocks", len(o.SACK))
			}
			l, r := pair(block, ":", 32)
			o.SACK[o.NumSACK] = Block{Seq(l), Seq(r)}
			o.NumSACK++
		}
	case "TFO":
		o.FastOpen = true
	case "SIGNED":
		o.Signed = true
	case "TTL":
		s.TTL = uint8(number(8))
	case "NOP":
		o.Place(optionNop)
	case "NODF":
		s.NoDF = true
	case "LABEL":
		s.Label = true
	case "ID":
		s.ID = uint16(number(16))
	case "PAYLOAD":
		s.Payload = number(64)
	case "CHECKSUM":
		s.Checksum = uint16(number(16))
	case "SUM":
		s.Sum, err = parseName[Sum](value, sumNames)
	case "CUT":
		s.Cut, err = parseName[Cut](value, cutNames)
	case "FRAG":
		s.Fragment = true
	case "ICMP", "ICMP6":
		typ, code := pair(value, ",", 8)
		s.ICMP.Type, s.ICMP.Code, s.ICMP.V6 = uint8(typ), uint8(code), name == "ICMP6"
	case "FROM":
		s.ICMP.From, err = netip.ParseAddr(value)
	default:
		err = fmt.Errorf("no such field")
	}
	return err
}

func parseName[T ~uint8](value string, names []string) (T, error) {
	for i, name := range names {
		if name == value {
			return T(i), nil
		}
	}
	return 0, fmt.Errorf("want one of %s", strings.Join(names, ", "))
}

func parseFlags(text string) (f Flags, err error) {
next:
	for _, name := range strings.Split(text, ",") {
		for _, n := range flagNames {
			if n.name == name {
				f |= n.flag
				continue next
			}
		}
		return 0, fmt.Errorf("%q is no control bit", name)
	}
	return f, nil
}
