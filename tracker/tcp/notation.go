package tcp

import (
	"errors"
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
// looks at: <DATA=n> octets, <WND=n>, <URG=n>, the options (options.go),
// <TTL=n>, <NODF>, <LABEL>, <ID=n>, <CHECKSUM=n> as sent, <PAYLOAD=n> for a hash
// of the payload, <SUM=good|partial|bad>, <CUT=payload|options>, <FRAG>, and
// <ICMP=type,code> or <ICMP6=type,code>, with <FROM=address> and
// <MTU=octets>, for an error that quotes the segment. A field that is left out has its default: no data, a
// window of 1,000, a TTL of 64, everything else absent.

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
	s.Options.writeFields(field)
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
		if s.ICMP.MTU != 0 {
			field("MTU=%d", s.ICMP.MTU)
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

// A fieldValue is the value of a field, and what is wrong with it.
type fieldValue struct {
	text string
	err  error
}

func (v *fieldValue) number(bits int) uint64 {
	n, err := strconv.ParseUint(v.text, 10, bits)
	if err != nil {
		v.err = fmt.Errorf("want a number of %d bits", bits)
	}
	return n
}

// pair reads two numbers from a part of the value.
func (v *fieldValue) pair(part, sep string, bits int) (uint64, uint64) {
	left, right, _ := strings.Cut(part, sep)
	l, e1 := strconv.ParseUint(left, 10, bits)
	r, e2 := strconv.ParseUint(right, 10, bits)
	if e1 != nil || e2 != nil {
		v.err = fmt.Errorf("want two numbers with %q between them", sep)
	}
	return l, r
}

// parseField sets the named field of the segment.
func (s *Segment) parseField(name, text string) error {
	v := &fieldValue{text: text}
	switch name {
	case "SEQ":
		s.Seq = Seq(v.number(32))
	case "ACK":
		s.Ack = Seq(v.number(32))
	case "CTL":
		s.Flags, v.err = parseFlags(text)
	case "DATA":
		s.Data = Size(v.number(32))
	case "WND":
		s.Wnd = uint16(v.number(16))
	case "URG":
		s.Urg = uint16(v.number(16))
	case "TTL":
		s.TTL = uint8(v.number(8))
	case "NODF":
		s.NoDF = true
	case "LABEL":
		s.Label = true
	case "ID":
		s.ID = uint16(v.number(16))
	case "PAYLOAD":
		s.Payload = v.number(64)
	case "CHECKSUM":
		s.Checksum = uint16(v.number(16))
	case "SUM":
		s.Sum, v.err = parseName[Sum](text, sumNames)
	case "CUT":
		s.Cut, v.err = parseName[Cut](text, cutNames)
	case "FRAG":
		s.Fragment = true
	case "ICMP", "ICMP6":
		typ, code := v.pair(text, ",", 8)
		s.ICMP.Type, s.ICMP.Code, s.ICMP.V6 = uint8(typ), uint8(code), name == "ICMP6"
	case "FROM":
		s.ICMP.From, v.err = netip.ParseAddr(text)
	case "MTU":
		s.ICMP.MTU = uint32(v.number(32))
	default:
		if !s.Options.parseField(name, v) {
			v.err = errors.New("no such field")
		}
	}
	return v.err
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
		return 0, fmt.Errorf("%q is not a control bit", name)
	}
	return f, nil
}
