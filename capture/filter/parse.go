package filter

import (
	"slices"
	"strings"
)

// How deep an expression may nest, in parentheses and nots. Chains of and and
// or do not count.
const maxNesting = 200

// How many headers "vlan", "mpls", "pppoes" and "geneve" may step over.
const maxSteps = 16

// A parser turns words into a tree, by recursive descent.
type parser struct {
	tokens  []token
	closes  []int // for each "(" the index of its ")", or 0
	at      int   // index of the word to read next
	nesting int   // of boolean expressions
	depth   int   // of the arithmetic being read
	steps   int   // how many headers have been stepped over
	place   place // behind them
}

// Qualifiers say what an id is of: "tcp dst port". An id without any takes
// those of the primitive before it.
type qualifiers struct {
	given       bool
	proto       *protocol // nil if not said
	dir         direction
	kind        string // host, net, port, portrange, proto; "" if not said, which means host
	protoOffset int    // of the word for proto
}

// matchParentheses returns for each "(" the index of the ")" that closes it.
func matchParentheses(tokens []token) []int {
	closes := make([]int, len(tokens))
	var open []int
	for i := range tokens {
		switch {
		case tokens[i].is("("):
			open = append(open, i)
		case tokens[i].is(")") && len(open) > 0:
			closes[open[len(open)-1]] = i
			open = open[:len(open)-1]
		}
	}
	return closes
}

func (p *parser) peek() *token { return &p.tokens[p.at] }

// next returns the word to read next and steps over it. The end is not stepped
// over.
func (p *parser) next() *token {
	t := &p.tokens[p.at]
	if t.kind != tokenEnd {
		p.at++
	}
	return t
}

// take steps over the next word if it is the one named.
func (p *parser) take(text string) bool {
	if !p.peek().is(text) {
		return false
	}
	p.at++
	return true
}

// after returns the word n places behind the next one.
func (p *parser) after(n int) *token {
	return &p.tokens[min(p.at+n, len(p.tokens)-1)]
}

// parse reads the whole expression. The node is nil if there is none.
func (p *parser) parse() (*node, *fault) {
	if p.peek().kind == tokenEnd {
		return nil, nil
	}
	n, _, err := p.expr(qualifiers{})
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != tokenEnd {
		return nil, p.trailing(t)
	}
	return n, nil
}

// trailing says why the word behind a complete expression cannot stand there.
func (p *parser) trailing(t *token) *fault {
	switch {
	case t.is(")"):
		return faultAt(t.offset, `this ")" has no "("`)
	case t.kind == tokenWord && slices.Contains(refused, t.text):
		return faultAt(t.offset, "%s is not supported", t.quoted())
	}
	return faultAt(t.offset, `expected "and", "or" or the end, found %s`, t.quoted())
}

// expr reads operands joined by and and or, and returns the qualifiers that an
// id behind it takes.
func (p *parser) expr(q qualifiers) (*node, qualifiers, *fault) {
	left, q, err := p.operand(q)
	for err == nil {
		join, ok := p.takeJoin()
		if !ok {
			break
		}
		var right *node
		if right, q, err = p.operand(q); err == nil {
			left = &node{join: join, l: left, r: right}
		}
	}
	return left, q, err
}

func (p *parser) takeJoin() (junction, bool) {
	switch {
	case p.take("and"):
		return joinAnd, true
	case p.take("or"):
		return joinOr, true
	}
	return joinNone, false
}

// nested runs read one level deeper.
func (p *parser) nested(read func() *fault) *fault {
	if p.nesting++; p.nesting > maxNesting {
		return faultAt(p.peek().offset, "the expression is nested more than %d levels deep", maxNesting)
	}
	err := read()
	p.nesting--
	return err
}

// operand reads what stands between and and or. Q are the qualifiers of the
// primitive before; returned are those of this one, not given if it has none.
func (p *parser) operand(q qualifiers) (n *node, last qualifiers, err *fault) {
	t := p.peek()
	switch {
	case t.is("not"):
		p.next()
		err = p.nested(func() (err *fault) {
			n, last, err = p.operand(q)
			return err
		})
		return &node{join: joinNot, l: n}, last, err
	case p.startsRelation():
		n, err = p.relation()
		return n, qualifiers{}, err
	case t.is("("):
		err = p.nested(func() (err *fault) {
			n, err = p.parenthesized(func() (n *node, err *fault) {
				n, _, err = p.expr(q)
				return n, err
			})
			return err
		})
		return n, q, err
	case t.kind == tokenWord:
		return p.primitive(q)
	case t.kind == tokenEnd:
		return nil, q, faultAt(t.offset, "an expression is missing after %s", p.tokens[p.at-1].quoted())
	case t.kind == tokenSign:
		return nil, q, faultAt(t.offset, "an expression cannot begin with %s", t.quoted())
	}
	return p.bareID(q)
}

// parenthesized reads what stands in parentheses; the next word is "(".
func (p *parser) parenthesized(read func() (*node, *fault)) (*node, *fault) {
	open := p.next()
	if t := p.peek(); t.is(")") {
		return nil, faultAt(t.offset, "these parentheses are empty")
	}
	n, err := read()
	if err != nil {
		return nil, err
	}
	if t := p.peek(); !p.take(")") {
		if t.kind == tokenEnd {
			return nil, faultAt(open.offset, `this "(" is never closed`)
		}
		return nil, p.trailing(t)
	}
	return n, nil
}

// bareID reads an id without qualifiers of its own.
func (p *parser) bareID(q qualifiers) (*node, qualifiers, *fault) {
	t := p.peek()
	if !q.given {
		return nil, q, faultAt(t.offset, `%s needs "host", "net", "port" or "proto" before it`, t.quoted())
	}
	n, err := p.id(q)
	return n, q, err
}

// primitive reads one that begins with a word.
func (p *parser) primitive(q qualifiers) (*node, qualifiers, *fault) {
	t := p.peek()
	switch t.text {
	case "src", "dst", "host", "net", "port", "portrange", "proto":
		return p.qualified(nil)
	case "vlan", "mpls", "pppoes", "geneve":
		n, err := p.step()
		return n, qualifiers{}, err
	case "less", "greater":
		n, err := p.lessGreater()
		return n, qualifiers{}, err
	case "and", "or":
		if p.at == 0 {
			return nil, q, faultAt(t.offset, "an expression is missing before %s", t.quoted())
		}
		return nil, q, faultAt(t.offset, "an expression is missing between %s and %s", p.tokens[p.at-1].quoted(), t.quoted())
	case "mask":
		return nil, q, faultAt(t.offset, `"mask" may only follow the address of "net"`)
	}
	if proto := protoNamed(t.text); proto != nil {
		switch p.after(1).text {
		case "src", "dst", "host", "net", "port", "portrange", "proto":
			return p.qualified(p.next())
		}
		n, err := p.abbreviation(proto)
		return n, qualifiers{}, err
	}
	if !q.given || isKeyword(strings.ToLower(t.text)) {
		return nil, q, unknownWord(t)
	}
	return p.bareID(q)
}

// unknownWord says why a word cannot begin a primitive.
func unknownWord(t *token) *fault {
	if slices.Contains(refused, t.text) {
		return faultAt(t.offset, "%s is not supported", t.quoted())
	}
	if lower := strings.ToLower(t.text); lower != t.text && isKeyword(lower) {
		return faultAt(t.offset, "unknown word %s; keywords are in lower case: %s", t.quoted(), quoteWord(lower))
	}
	if _, ok := flagNames[t.text]; ok {
		return faultAt(t.offset, `%s is not a condition by itself; write "tcp.flags & %s != 0"`, t.quoted(), t.text)
	}
	return faultAt(t.offset, "%s is not known", t.quoted())
}

// isKeyword reports whether a word has a meaning of its own, so that it cannot
// be a name.
func isKeyword(s string) bool {
	switch s {
	case "and", "or", "not", "src", "dst", "host", "net", "mask", "port", "portrange", "proto",
		"vlan", "mpls", "pppoes", "geneve", "less", "greater", "len", "length", "tcp.flags":
		return true
	}
	return protoNamed(s) != nil || slices.Contains(refused, s)
}

// abbreviation reads the name of a protocol that stands alone.
func (p *parser) abbreviation(proto *protocol) (*node, *fault) {
	t := p.next()
	want := test{kind: testProto, place: p.place, num: proto.number, on: proto.over}
	switch {
	case proto.etherType != 0:
		want.kind, want.num = testType, uint32(proto.etherType)
	case proto.over == 0:
		return nil, faultAt(t.offset, `%s must be followed by "src", "dst", "host", "proto" or "["`, t.quoted())
	}
	if bad := p.peek(); bad.kind == tokenWord && slices.Contains(refused, bad.text) {
		return nil, faultAt(bad.offset, "%s is not supported", bad.quoted())
	}
	return leaf(want), nil
}

func leaf(t test) *node { return &node{test: t} }

// qualified reads a primitive of an id with qualifiers. The word for the
// protocol, if there is one, has been read.
func (p *parser) qualified(proto *token) (*node, qualifiers, *fault) {
	q := qualifiers{given: true}
	if proto != nil {
		q.proto, q.protoOffset = protoNamed(proto.text), proto.offset
	}
	q.dir = p.direction()
	switch t := p.peek(); t.text {
	case "proto":
		if q.dir != dirEither {
			return nil, q, faultAt(t.offset, `"proto" has no direction: "src" and "dst" cannot come before it`)
		}
		fallthrough
	case "host", "net", "port", "portrange":
		q.kind = p.next().text
	}
	n, err := p.id(q)
	return n, q, err
}

// direction reads src, dst, or both joined by and or or.
func (p *parser) direction() direction {
	dir, other := dirEither, ""
	switch {
	case p.take("src"):
		dir, other = dirSrc, "dst"
	case p.take("dst"):
		dir, other = dirDst, "src"
	default:
		return dirEither
	}
	if !p.after(1).is(other) {
		return dir
	}
	switch {
	case p.take("or"):
		dir = dirEither
	case p.take("and"):
		dir = dirBoth
	default:
		return dir
	}
	p.next()
	return dir
}

// A stepWord is a word that asks for a header and steps over it.
type stepWord struct {
	name string
	kind testKind
	most uint32 // of the number that may follow
	what string // that number is
}

var stepWords = []stepWord{
	{"vlan", testVLAN, 4095, "a VLAN number"},
	{"mpls", testMPLS, 1<<20 - 1, "an MPLS label"},
	{"pppoes", testPPPoE, 1<<16 - 1, "a PPPoE session number"},
	{"geneve", testGeneve, 1<<24 - 1, "a Geneve network number"},
}

// stepOf returns the word for a kind of test, or nil.
func stepOf(kind testKind) *stepWord {
	for i := range stepWords {
		if stepWords[i].kind == kind {
			return &stepWords[i]
		}
	}
	return nil
}

// step reads "vlan", "mpls", "pppoes" or "geneve", with or without a number,
// and steps over the header.
func (p *parser) step() (*node, *fault) {
	word := p.next()
	step := &stepWords[slices.IndexFunc(stepWords, func(s stepWord) bool { return s.name == word.text })]
	want := test{kind: step.kind, place: p.place, num: anyNumber}
	parens := 0
	for p.after(parens).is("(") {
		parens++
	}
	if t := p.after(parens); t.kind == tokenNumber && (parens > 0 || !isOperator(p.after(1))) {
		if t.number > step.most {
			return nil, faultAt(t.offset, "%s is at most %d", step.what, step.most)
		}
		want.num = t.number
		p.at += parens + 1
		for range parens {
			if t := p.peek(); !p.take(")") {
				return nil, faultAt(t.offset, `expected ")", found %s`, t.quoted())
			}
		}
	}
	if p.steps++; p.steps > maxSteps {
		return nil, faultAt(word.offset, `%s is one header too many: at most %d can be stepped over`, word.quoted(), maxSteps)
	}
	behind := ""
	switch step.kind {
	case testVLAN:
		p.place.tags++
		if p.place.in != nil && p.place.in.kind == testPPPoE {
			behind = "pppoes"
		}
	case testMPLS:
		p.place.labels++
	default:
		p.place = place{in: &tunnel{step.kind, want.place}}
	}
	if want.place.labels > 0 && (step.kind == testVLAN || step.kind == testPPPoE) {
		behind = "mpls"
	}
	if behind != "" {
		return nil, faultAt(word.offset, `%s cannot come after %q`, word.quoted(), behind)
	}
	return leaf(want), nil
}

// lessGreater reads "less" or "greater", which include the number they name.
func (p *parser) lessGreater() (*node, *fault) {
	word, t := p.next(), p.next()
	if t.kind != tokenNumber {
		return nil, faultAt(t.offset, "expected a length in bytes after %s, found %s", word.quoted(), t.quoted())
	}
	op := relLessOrEqual
	if word.text == "greater" {
		op = relGreaterOrEqual
	}
	length, limit := &arithNode{op: arithLen}, &arithNode{op: arithConst, num: t.number}
	return leaf(test{kind: testRelation, place: p.place, rel: &relation{op: op, l: length, r: limit}}), nil
}
