package filter

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
)

// id reads the id that qualifiers ask for, or several in parentheses: "port (80
// or 443)", "port not 80".
func (p *parser) id(q qualifiers) (n *node, err *fault) {
	switch t := p.peek(); {
	case t.is("not"):
		p.next()
		err = p.nested(func() (err *fault) {
			n, err = p.id(q)
			return err
		})
		return &node{join: joinNot, l: n}, err
	case t.is("("):
		err = p.nested(func() (err *fault) {
			n, err = p.parenthesized(func() (*node, *fault) { return p.ids(q) })
			return err
		})
		return n, err
	}
	switch q.kind {
	case "port":
		return p.port(q)
	case "portrange":
		return p.portRange(q)
	case "proto":
		return p.protoNumber(q)
	}
	return p.address(q)
}

// ids reads ids joined by and and or.
func (p *parser) ids(q qualifiers) (*node, *fault) {
	left, err := p.id(q)
	for err == nil {
		join, ok := p.takeJoin()
		if !ok {
			break
		}
		var right *node
		if right, err = p.id(q); err == nil {
			left = &node{join: join, l: left, r: right}
		}
	}
	return left, err
}

// expected says that a word is not what was wanted.
func expected(what string, t *token) *fault {
	if t.kind == tokenWord && slices.Contains(refused, t.text) {
		return faultAt(t.offset, "%s is not supported", t.quoted())
	}
	return faultAt(t.offset, "expected %s, found %s", what, t.quoted())
}

// address reads an id of host or net, or of a bare src or dst.
func (p *parser) address(q qualifiers) (*node, *fault) {
	t := p.next()
	kind := q.kind
	if kind == "" {
		kind = "host"
	}
	switch t.kind {
	case tokenMAC:
		return p.etherHost(q, t)
	case tokenIPv6:
		return p.netIPv6(q, kind, t)
	case tokenIPv4, tokenNumber:
		return p.netIPv4(q, kind, t)
	case tokenName:
		return nil, nameOf(kind, t)
	case tokenWord:
		if !isKeyword(t.text) {
			return nil, nameOf(kind, t)
		}
	}
	return nil, expected("an address", t)
}

// nameOf says that a name is not resolved.
func nameOf(kind string, t *token) *fault {
	if kind == "net" {
		return faultAt(t.offset, "%s is the name of a network; names are not resolved, use its address", t.quoted())
	}
	return faultAt(t.offset, "%s is the name of a host; names are not resolved, use its address", t.quoted())
}

func (p *parser) etherHost(q qualifiers, t *token) (*node, *fault) {
	switch {
	case q.kind == "net":
		return nil, faultAt(t.offset, "%s is an Ethernet address, not a network", t.quoted())
	case q.proto == nil || q.proto.etherType != 0 || q.proto.over != 0:
		return nil, faultAt(t.offset, `%s is an Ethernet address: write "ether host", "ether src" or "ether dst" before it`, t.quoted())
	}
	want := test{kind: testEtherHost, place: p.place, dir: q.dir}
	want.addr[0] = uint32(binary.BigEndian.Uint16(t.addr[0:]))
	want.addr[1] = binary.BigEndian.Uint32(t.addr[2:])
	return leaf(want), nil
}

// networks returns the protocols of the network layer that an address under
// these qualifiers is looked for in, out of those that have such addresses.
func (q *qualifiers) networks(kind string, all networkSet) (networkSet, *fault) {
	if q.proto == nil {
		return all, nil
	}
	var on networkSet
	switch q.proto.etherType {
	case inet.TypeIPv4:
		on = onIPv4
	case inet.TypeIPv6:
		on = onIPv6
	case inet.TypeARP:
		on = onARP
	case inet.TypeRARP:
		on = onRARP
	default:
		return 0, faultAt(q.protoOffset, `%s cannot come before %q with an IP address`, quoteWord(q.proto.name), kind)
	}
	if on&all == 0 {
		version := "IPv4"
		if all == onIPv6 {
			version = "IPv6"
		}
		return 0, faultAt(q.protoOffset, "%s cannot come before an %s address", quoteWord(q.proto.name), version)
	}
	return on, nil
}

// netIPv4 reads the rest of an IPv4 address or network. Fewer than four parts
// are a network, as long as the parts, even behind host; a single number is the
// first octet of one behind net, and a whole address behind host.
func (p *parser) netIPv4(q qualifiers, kind string, t *token) (*node, *fault) {
	on, err := q.networks(kind, onIPv4|onARP|onRARP)
	if err != nil {
		return nil, err
	}
	addr, mask := t.number, ^uint32(0)
	if t.kind == tokenIPv4 {
		mask <<= 32 - 8*t.octets
	} else if kind == "net" {
		for addr != 0 && addr>>24 == 0 {
			addr <<= 8
			mask <<= 8
		}
	}
	written := false
	switch {
	case p.take("/"):
		length := p.next()
		if length.kind != tokenNumber || length.number > 32 {
			return nil, expected("a length of 0 to 32 bits", length)
		}
		mask, written = ^uint32(0)<<(32-length.number), true
	case p.take("mask"):
		m := p.next()
		if m.kind != tokenIPv4 {
			return nil, expected("a mask such as 255.255.0.0", m)
		}
		mask, written = m.number, true
	}
	if written && kind != "net" {
		return nil, faultAt(t.offset, `%s with a length is a network: write "net" before it`, t.quoted())
	}
	if addr&^mask != 0 {
		return nil, faultAt(t.offset, "%s has bits set beyond the length of the network: the network is %s",
			t.quoted(), ipv4String(addr&mask))
	}
	want := test{kind: testIPv4, place: p.place, dir: q.dir, on: on}
	want.addr[0], want.mask[0] = addr, mask
	return leaf(want), nil
}

func ipv4String(addr uint32) string {
	return netip.AddrFrom4([4]byte{byte(addr >> 24), byte(addr >> 16), byte(addr >> 8), byte(addr)}).String()
}

// netIPv6 reads the rest of an IPv6 address or network.
func (p *parser) netIPv6(q qualifiers, kind string, t *token) (*node, *fault) {
	if _, err := q.networks(kind, onIPv6); err != nil {
		return nil, err
	}
	bits := 128
	if p.take("/") {
		length := p.next()
		if length.kind != tokenNumber || length.number > 128 {
			return nil, expected("a length of 0 to 128 bits", length)
		}
		if kind != "net" {
			return nil, faultAt(t.offset, `%s with a length is a network: write "net" before it`, t.quoted())
		}
		bits = int(length.number)
	}
	addr := netip.AddrFrom16(t.addr)
	prefix := netip.PrefixFrom(addr, bits).Masked()
	if prefix.Addr() != addr {
		return nil, faultAt(t.offset, "%s has bits set beyond the length of the network: the network is %s",
			t.quoted(), prefix.Addr())
	}
	want := test{kind: testIPv6, place: p.place, dir: q.dir}
	for i := range want.addr {
		want.addr[i] = binary.BigEndian.Uint32(t.addr[4*i:])
		want.mask[i] = ^uint32(0) << (32 - min(32, max(0, bits-32*i)))
	}
	return leaf(want), nil
}

// transports returns the transports that ports under these qualifiers are
// looked for in.
func (q *qualifiers) transports() (transportSet, *fault) {
	if q.proto == nil {
		return onTCP | onUDP | onSCTP, nil
	}
	switch q.proto.number {
	case inet.ProtoTCP:
		return onTCP, nil
	case inet.ProtoUDP:
		return onUDP, nil
	case inet.ProtoSCTP:
		return onSCTP, nil
	}
	return 0, faultAt(q.protoOffset, `%s cannot come before %q: "tcp", "udp" and "sctp" can`, quoteWord(q.proto.name), q.kind)
}

func (p *parser) portTest(q qualifiers, over transportSet, low, high uint16) *node {
	return leaf(test{kind: testPort, place: p.place, dir: q.dir, over: over, low: low, high: high})
}

// port reads an id of port.
func (p *parser) port(q qualifiers) (*node, *fault) {
	over, err := q.transports()
	if err != nil {
		return nil, err
	}
	t := p.next()
	switch {
	case t.kind == tokenNumber:
		if t.number > 65535 {
			return nil, faultAt(t.offset, "a port is at most 65535")
		}
		return p.portTest(q, over, uint16(t.number), uint16(t.number)), nil
	case t.kind != tokenName && t.kind != tokenWord, t.kind == tokenWord && isKeyword(t.text):
		return nil, expected("a port", t)
	}
	service, ok := namedPorts[t.text]
	if !ok {
		return nil, faultAt(t.offset, "%s is not a known port name; use its number", t.quoted())
	}
	if over, err = service.over(over, t); err != nil {
		return nil, err
	}
	return p.portTest(q, over, service.number, service.number), nil
}

// over narrows the transports to those that a port is registered for.
func (s namedPort) over(all transportSet, t *token) (transportSet, *fault) {
	if s.tcp && s.udp {
		return all, nil
	}
	only, name := onTCP, "TCP"
	if s.udp {
		only, name = onUDP, "UDP"
	}
	if all&only == 0 {
		return 0, faultAt(t.offset, "%s is a port of %s only", t.quoted(), name)
	}
	return only, nil
}

// portRange reads an id of portrange. The ends may stand in either order, and a
// single port is a range too.
func (p *parser) portRange(q qualifiers) (*node, *fault) {
	over, err := q.transports()
	if err != nil {
		return nil, err
	}
	t := p.next()
	low, high, ok := readRange(t)
	if !ok {
		return nil, expected("two port numbers, such as 8000-8080", t)
	}
	if high > 65535 {
		return nil, faultAt(t.offset, "a port is at most 65535")
	}
	return p.portTest(q, over, uint16(low), uint16(high)), nil
}

// readRange reads "80-90" or "80", and puts the ends in order.
func readRange(t *token) (low, high uint32, ok bool) {
	if t.kind == tokenNumber {
		return t.number, t.number, true
	}
	for i := range len(t.text) {
		if t.text[i] != '-' || t.kind != tokenWord {
			continue
		}
		a, b := token{text: t.text[:i]}, token{text: t.text[i+1:]}
		if a.text == "" || b.text == "" || !looksNumeric(a.text) || !looksNumeric(b.text) ||
			a.readNumber() != nil || b.readNumber() != nil {
			return 0, 0, false
		}
		return min(a.number, b.number), max(a.number, b.number), true
	}
	return 0, 0, false
}

// protoNumber reads an id of proto.
func (p *parser) protoNumber(q qualifiers) (*node, *fault) {
	on := onIPv4 | onIPv6
	if q.proto != nil {
		switch {
		case q.proto.etherType == inet.TypeIPv4:
			on = onIPv4
		case q.proto.etherType == inet.TypeIPv6:
			on = onIPv6
		case q.proto.etherType == 0 && q.proto.over == 0:
			return p.etherType()
		default:
			return nil, faultAt(q.protoOffset, `%s cannot come before "proto": "ip", "ip6" and "ether" can`, quoteWord(q.proto.name))
		}
	}
	t := p.next()
	number := t.number
	switch {
	case t.kind == tokenWord && isKeyword(t.text):
		return nil, faultAt(t.offset, `%s is a keyword: write \%s for the protocol`, t.quoted(), t.text)
	case t.kind == tokenWord, t.kind == tokenName:
		proto := protoNamed(t.text)
		known, ok := protocolNumbers[t.text]
		switch {
		case proto != nil && proto.over != 0:
			number = proto.number
		case ok:
			number = known
		default:
			return nil, faultAt(t.offset, "%s is not a known IP protocol; use its number", t.quoted())
		}
	case t.kind != tokenNumber:
		return nil, expected("a protocol", t)
	case number > 255:
		return nil, faultAt(t.offset, "an IP protocol is at most 255")
	}
	return leaf(test{kind: testProto, place: p.place, num: number, on: on}), nil
}

// etherType reads an id of ether proto.
func (p *parser) etherType() (*node, *fault) {
	t := p.next()
	number := t.number
	switch {
	case t.kind == tokenWord && isKeyword(t.text):
		return nil, faultAt(t.offset, `%s is a keyword: write \%s for the protocol`, t.quoted(), t.text)
	case t.text == "loopback":
		number = inet.TypeLoopback
	case t.kind == tokenWord, t.kind == tokenName:
		proto := protoNamed(t.text)
		if proto == nil || proto.etherType == 0 {
			return nil, faultAt(t.offset, "%s is not a known Ethernet protocol; use its number", t.quoted())
		}
		number = uint32(proto.etherType)
	case t.kind != tokenNumber:
		return nil, expected("a protocol", t)
	case number > 65535:
		return nil, faultAt(t.offset, "an Ethernet protocol is at most 65535")
	case number == 0xe0, number == 0x809b, number == 0x80f3:
		return nil, faultAt(t.offset, "IPX and AppleTalk are not supported: they have several forms on Ethernet")
	}
	return leaf(test{kind: testType, place: p.place, num: number}), nil
}
