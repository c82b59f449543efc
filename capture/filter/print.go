package filter

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// String returns the filter with all qualifiers written out and no parentheses
// that it could do without. Parse reads it as an equal filter.
func (f *Filter) String() string {
	var b strings.Builder
	if f.root != nil {
		f.root.print(&b)
	}
	return b.String()
}

func (n *node) print(b *strings.Builder) {
	switch n.join {
	case joinNone:
		b.WriteString(n.test.String())
	case joinNot:
		b.WriteString("not ")
		n.l.printTight(b)
	case joinAnd:
		n.l.print(b)
		b.WriteString(" and ")
		n.r.printTight(b)
	case joinOr:
		n.l.print(b)
		b.WriteString(" or ")
		n.r.printTight(b)
	}
}

// printTight puts parentheses around what would fall apart without.
func (n *node) printTight(b *strings.Builder) {
	if n.join != joinAnd && n.join != joinOr {
		n.print(b)
		return
	}
	b.WriteByte('(')
	n.print(b)
	b.WriteByte(')')
}

// directions are the words for a direction.
var directions = [...]string{dirEither: "", dirBoth: "src and dst ", dirSrc: "src ", dirDst: "dst "}

// String returns the test as a primitive.
func (t *test) String() string {
	switch t.kind {
	case testType:
		for _, proto := range protocols {
			if uint32(proto.etherType) == t.num && proto.etherType != 0 {
				return proto.name
			}
		}
		return fmt.Sprintf("ether proto 0x%04x", t.num)
	case testProto:
		return t.protoString()
	case testIPv4:
		return t.ipv4String()
	case testIPv6:
		return t.ipv6String()
	case testEtherHost:
		var mac [8]byte
		binary.BigEndian.PutUint16(mac[2:], uint16(t.addr[0]))
		binary.BigEndian.PutUint32(mac[4:], t.addr[1])
		return fmt.Sprintf("ether %shost %x:%x:%x:%x:%x:%x", directions[t.dir], mac[2], mac[3], mac[4], mac[5], mac[6], mac[7])
	case testPort:
		return t.portString()
	case testRelation:
		return t.rel.String()
	}
	step := stepOf(t.kind)
	if t.num == anyNumber {
		return step.name
	}
	return fmt.Sprintf("%s %d", step.name, t.num)
}

func (t *test) protoString() string {
	for _, proto := range protocols {
		if proto.number == t.num && proto.over == t.on {
			return proto.name
		}
	}
	prefix := ""
	switch t.on {
	case onIPv4:
		prefix = "ip "
	case onIPv6:
		prefix = "ip6 "
	}
	return fmt.Sprintf("%sproto %d", prefix, t.num)
}

func (t *test) ipv4String() string {
	prefix := ""
	switch t.on {
	case onIPv4:
		prefix = "ip "
	case onARP:
		prefix = "arp "
	case onRARP:
		prefix = "rarp "
	}
	prefix += directions[t.dir]
	addr := ipv4String(t.addr[0])
	for bits := range 33 {
		switch mask := ^uint32(0) << (32 - bits); {
		case mask != t.mask[0]:
		case bits == 32:
			return prefix + "host " + addr
		default:
			return fmt.Sprintf("%snet %s/%d", prefix, addr, bits)
		}
	}
	return fmt.Sprintf("%snet %s mask %s", prefix, addr, ipv4String(t.mask[0]))
}

func (t *test) ipv6String() string {
	var octets [16]byte
	bits := 0
	for i := range t.addr {
		binary.BigEndian.PutUint32(octets[4*i:], t.addr[i])
		for mask := t.mask[i]; mask != 0; mask <<= 1 {
			bits++
		}
	}
	addr := netip.AddrFrom16(octets)
	if bits == 128 {
		return fmt.Sprintf("ip6 %shost %s", directions[t.dir], addr)
	}
	return fmt.Sprintf("ip6 %snet %s/%d", directions[t.dir], addr, bits)
}

func (t *test) portString() string {
	prefix := ""
	switch t.over {
	case onTCP:
		prefix = "tcp "
	case onUDP:
		prefix = "udp "
	case onSCTP:
		prefix = "sctp "
	}
	prefix += directions[t.dir]
	if t.low == t.high {
		return fmt.Sprintf("%sport %d", prefix, t.low)
	}
	return fmt.Sprintf("%sportrange %d-%d", prefix, t.low, t.high)
}

// String returns the relation as it is written.
func (rel *relation) String() string {
	var b strings.Builder
	rel.l.print(&b)
	for _, s := range relationSigns {
		if s.op == rel.op {
			b.WriteString(" " + s.sign + " ")
			break
		}
	}
	rel.r.print(&b)
	return b.String()
}

func (a *arithNode) print(b *strings.Builder) {
	switch a.op {
	case arithConst:
		b.WriteString(strconv.FormatUint(uint64(a.num), 10))
	case arithLen:
		b.WriteString("len")
	case arithFlags:
		b.WriteString("tcp.flags")
	case arithLoad:
		b.WriteString(a.from.name + "[")
		a.l.print(b)
		if a.size > 1 {
			fmt.Fprintf(b, ":%d", a.size)
		}
		b.WriteByte(']')
	case arithNegate:
		b.WriteByte('-')
		a.l.printOperand(b, false)
	default:
		i := slices.IndexFunc(arithSigns, func(s arithSign) bool { return s.op == a.op })
		switch precedence := a.precedence(); {
		case precedence > 0:
			a.l.printOperand(b, a.l.op == arithNegate || a.l.precedence() >= precedence)
		default:
			a.l.printOperand(b, false)
		}
		b.WriteString(" " + arithSigns[i].sign + " ")
		a.r.printOperand(b, false)
	}
}

// printOperand puts parentheses around an operation, unless it may stand bare.
func (a *arithNode) printOperand(b *strings.Builder, bare bool) {
	if a.op < arithNegate || bare {
		a.print(b)
		return
	}
	b.WriteByte('(')
	a.print(b)
	b.WriteByte(')')
}

// precedence returns that of a binary operation, or 0.
func (a *arithNode) precedence() int {
	for _, s := range arithSigns {
		if s.op == a.op {
			return s.precedence
		}
	}
	return 0
}
