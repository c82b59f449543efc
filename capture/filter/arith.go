package filter

import "github.com/tcpwatch/tcpwatch/capture/internal/inet"

// Arithmetic is on unsigned numbers of 32 bits, and wraps. Multiplication binds
// tighter than addition, that tighter than shifts, those tighter than &, and
// that tighter than |, which binds tighter than any relation: "tcp[13] & 2 != 0"
// needs no parentheses. % and ^ were left out when tcpdump's grammar was given
// its precedences, so each takes all that follows as its right side, up to the
// relation: "len % 4 + 1" is "len % (4 + 1)". Here too.

type arithOp uint8

const (
	arithConst  arithOp = iota
	arithLen            // of the packet on the wire
	arithFlags          // tcp.flags
	arithLoad           // octets of a header, at l
	arithNegate         // of l
	arithAdd
	arithSub
	arithMul
	arithDiv
	arithMod
	arithAnd
	arithOr
	arithXor
	arithShl
	arithShr
)

// An arithNode is a number, or an operation on one or two nodes.
type arithNode struct {
	op   arithOp
	num  uint32    // of arithConst
	from *protocol // of arithLoad
	size uint8     // of arithLoad: 1, 2 or 4 octets
	l, r *arithNode
}

// An arithSign is a binary operator.
type arithSign struct {
	sign       string
	op         arithOp
	precedence int // 0 is none at all
}

var arithSigns = []arithSign{
	{"|", arithOr, 1},
	{"&", arithAnd, 2},
	{"<<", arithShl, 3}, {">>", arithShr, 3},
	{"+", arithAdd, 4}, {"-", arithSub, 4},
	{"*", arithMul, 5}, {"/", arithDiv, 5},
	{"%", arithMod, 0}, {"^", arithXor, 0},
}

// Unary minus binds tighter than any binary operator with a precedence.
const negatePrecedence = 6

type relationOp uint8

const (
	relEqual relationOp = iota
	relNotEqual
	relLess
	relLessOrEqual
	relGreater
	relGreaterOrEqual
)

// relationSigns are the ways to write a relation; the first is printed.
var relationSigns = []struct {
	sign string
	op   relationOp
}{
	{"=", relEqual}, {"==", relEqual}, {"!=", relNotEqual},
	{"<", relLess}, {"<=", relLessOrEqual}, {">", relGreater}, {">=", relGreaterOrEqual},
}

// A relation compares two numbers, if the packet has all the headers that
// they are loaded from.
type relation struct {
	op    relationOp
	l, r  *arithNode
	needs []*protocol
	flags bool // needs a TCP header, for tcp.flags
}

// How much arithmetic may nest: as it is written, and as it is computed.
const (
	arithMaxNesting = 400
	arithMaxHeight  = 100
)

// isOperator reports whether a word stands between two numbers.
func isOperator(t *token) bool {
	if t.kind != tokenSign {
		return false
	}
	for _, s := range arithSigns {
		if s.sign == t.text {
			return true
		}
	}
	for _, s := range relationSigns {
		if s.sign == t.text {
			return true
		}
	}
	return false
}

// startsRelation reports whether the next operand is a relation. A parenthesis
// is of one if an operator follows its end.
func (p *parser) startsRelation() bool {
	t := p.peek()
	switch {
	case t.is("("):
		end := p.closes[p.at]
		return end > 0 && isOperator(&p.tokens[end+1])
	case t.is("-"), t.is("len"), t.is("length"), t.is("tcp.flags"):
		return true
	case t.kind == tokenNumber:
		return isOperator(p.after(1))
	case t.kind != tokenWord:
		return false
	}
	if _, ok := flagNames[t.text]; ok {
		return isOperator(p.after(1))
	}
	return protoNamed(t.text) != nil && p.after(1).is("[")
}

// relation reads two numbers and what is claimed of them.
func (p *parser) relation() (*node, *fault) {
	l, _, err := p.arith(0)
	if err != nil {
		return nil, err
	}
	rel := &relation{l: l}
	t := p.next()
	found := false
	for _, s := range relationSigns {
		if t.is(s.sign) {
			rel.op, found = s.op, true
		}
	}
	if !found {
		return nil, faultAt(t.offset, `expected a comparison such as "=" or "!=", found %s`, t.quoted())
	}
	if rel.r, _, err = p.arith(0); err != nil {
		return nil, err
	}
	if t := p.peek(); isOperator(t) {
		return nil, faultAt(t.offset, "a comparison has two sides; %s cannot follow it", t.quoted())
	}
	rel.require(rel.l)
	rel.require(rel.r)
	return leaf(test{kind: testRelation, place: p.place, rel: rel}), nil
}

// require notes the headers that a number is loaded from.
func (rel *relation) require(a *arithNode) {
	if a == nil {
		return
	}
	rel.require(a.l)
	rel.require(a.r)
	switch {
	case a.op == arithFlags:
		rel.flags = true
	case a.op != arithLoad, a.from.etherType == 0 && a.from.over == 0:
		return
	default:
		for _, known := range rel.needs {
			if known == a.from {
				return
			}
		}
		rel.needs = append(rel.needs, a.from)
	}
}

// arith reads a number, up to an operator that does not bind tighter than the
// one before it. It returns the height of the tree too.
func (p *parser) arith(before int) (*arithNode, int, *fault) {
	if p.depth++; p.depth > arithMaxNesting {
		return nil, 0, faultAt(p.peek().offset, "the arithmetic is nested too deeply")
	}
	defer func() { p.depth-- }()
	left, height, err := p.unary()
	for err == nil {
		sign := p.peek()
		op, precedence, ok := binaryOperator(sign)
		if !ok || precedence > 0 && before >= precedence {
			break
		}
		p.next()
		operand := p.peek()
		right, h, err := p.arith(precedence)
		if err != nil {
			return nil, 0, err
		}
		if height = 1 + max(height, h); height > arithMaxHeight {
			return nil, 0, faultAt(sign.offset, "the filter has too much arithmetic")
		}
		if left, err = combine(op, left, right, operand); err != nil {
			return nil, 0, err
		}
		if left.op == arithConst {
			height = 1
		}
	}
	return left, height, err
}

func binaryOperator(t *token) (op arithOp, precedence int, ok bool) {
	for _, s := range arithSigns {
		if t.is(s.sign) {
			return s.op, s.precedence, true
		}
	}
	return 0, 0, false
}

// combine makes a node of an operation. Constants are computed at once. At is
// where the right operand stands.
func combine(op arithOp, l, r *arithNode, at *token) (*arithNode, *fault) {
	if r.op == arithConst {
		switch {
		case r.num == 0 && (op == arithDiv || op == arithMod):
			return nil, faultAt(at.offset, "division by zero")
		case r.num > 31 && (op == arithShl || op == arithShr):
			return nil, faultAt(at.offset, "shift by more than 31 bits")
		}
	}
	n := &arithNode{op: op, l: l, r: r}
	if l.op == arithConst && r.op == arithConst {
		var v view
		n = &arithNode{op: arithConst, num: v.compute(n)}
	}
	return n, nil
}

// unary reads a number without binary operators.
func (p *parser) unary() (*arithNode, int, *fault) {
	t := p.next()
	switch {
	case t.kind == tokenNumber:
		return &arithNode{op: arithConst, num: t.number}, 1, nil
	case t.is("len"), t.is("length"):
		return &arithNode{op: arithLen}, 1, nil
	case t.is("tcp.flags"):
		return &arithNode{op: arithFlags}, 1, nil
	case t.is("-"):
		l, height, err := p.arith(negatePrecedence)
		switch {
		case err != nil:
			return nil, 0, err
		case l.op == arithConst:
			return &arithNode{op: arithConst, num: -l.num}, 1, nil
		case height >= arithMaxHeight:
			return nil, 0, faultAt(t.offset, "the filter has too much arithmetic")
		}
		return &arithNode{op: arithNegate, l: l}, height + 1, nil
	case t.is("("):
		n, height, err := p.arith(0)
		if err != nil {
			return nil, 0, err
		}
		if bad := p.peek(); !p.take(")") {
			return nil, 0, faultAt(bad.offset, `expected ")" or an operator, found %s`, bad.quoted())
		}
		return n, height, nil
	case t.kind != tokenWord:
		return nil, 0, faultAt(t.offset, "expected a number, found %s", t.quoted())
	}
	if flag, ok := flagNames[t.text]; ok {
		return &arithNode{op: arithConst, num: flag}, 1, nil
	}
	if from := protoNamed(t.text); from != nil {
		return p.load(from, t)
	}
	return nil, 0, expected("a number", t)
}

// load reads "[offset:size]" behind the name of a protocol.
func (p *parser) load(from *protocol, name *token) (*arithNode, int, *fault) {
	switch t := p.peek(); {
	case !from.indexed:
		return nil, 0, faultAt(name.offset, "bytes of %s cannot be read", name.quoted())
	case !p.take("["):
		return nil, 0, faultAt(t.offset, `expected "[" after %s, found %s`, name.quoted(), t.quoted())
	}
	at := p.peek()
	index, height, err := p.arith(0)
	switch {
	case err != nil:
		return nil, 0, err
	case index.op == arithConst && index.num > 1<<20:
		return nil, 0, faultAt(at.offset, "this is beyond the end of any packet")
	case height >= arithMaxHeight:
		return nil, 0, faultAt(name.offset, "the filter has too much arithmetic")
	}
	size := uint32(1)
	if p.take(":") {
		t := p.next()
		if size = t.number; t.kind != tokenNumber || size != 1 && size != 2 && size != 4 {
			return nil, 0, faultAt(t.offset, "expected a size of 1, 2 or 4 bytes, found %s", t.quoted())
		}
	}
	if t := p.peek(); !p.take("]") {
		return nil, 0, faultAt(t.offset, `expected "]", found %s`, t.quoted())
	}
	return &arithNode{op: arithLoad, from: from, size: uint8(size), l: index}, height + 1, nil
}

// relation reports whether what is claimed holds.
func (v *view) relation(rel *relation) bool {
	for _, proto := range rel.needs {
		if !v.has(proto) {
			return false
		}
	}
	if rel.flags && !v.findTCP() {
		return false
	}
	l, r := v.compute(rel.l), v.compute(rel.r)
	switch rel.op {
	case relEqual:
		return l == r
	case relNotEqual:
		return l != r
	case relLess:
		return l < r
	case relLessOrEqual:
		return l <= r
	case relGreater:
		return l > r
	}
	return l >= r
}

// compute returns the number that a node stands for. Dividing by zero leaves
// the packet as one that cannot match, as a load beyond its end does.
func (v *view) compute(a *arithNode) uint32 {
	switch a.op {
	case arithConst:
		return a.num
	case arithLen:
		return v.wireLen
	case arithFlags:
		return v.u8(v.tcp + 13)
	case arithLoad:
		return v.load(a)
	case arithNegate:
		return -v.compute(a.l)
	}
	l, r := v.compute(a.l), v.compute(a.r)
	switch a.op {
	case arithAdd:
		return l + r
	case arithSub:
		return l - r
	case arithMul:
		return l * r
	case arithAnd:
		return l & r
	case arithOr:
		return l | r
	case arithXor:
		return l ^ r
	case arithShl:
		return l << r
	case arithShr:
		return l >> r
	}
	if r == 0 {
		v.cut = true
		return 0
	}
	if a.op == arithMod {
		return l % r
	}
	return l / r
}

// load returns octets of a header that the packet is known to have.
func (v *view) load(a *arithNode) uint32 {
	at := uint64(v.compute(a.l))
	switch {
	case a.from.over == onIPv6: // icmp6, which is looked for right behind IPv6
		at += uint64(v.network + inet.IPv6Size)
	case a.from.over != 0:
		header := v.network
		at = uint64(uint32(at)+4*(v.u8(header)&15)) + uint64(header)
	case a.from.etherType != 0:
		at += uint64(v.network)
	default:
		at += uint64(v.start)
	}
	if at > uint64(len(v.data)) {
		v.cut = true
		return 0
	}
	switch a.size {
	case 2:
		return v.u16(int(at))
	case 4:
		return v.u32(int(at))
	}
	return v.u8(int(at))
}
