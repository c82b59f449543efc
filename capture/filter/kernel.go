package filter

import (
	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"golang.org/x/net/bpf"
)

// A filter can be asked in the kernel, which then need not hand over what it
// leaves out. The program for it is one of the classic BPF machine, over the
// octets of an Ethernet frame. It makes the same tests in the same order. Of
// what it cannot compute (most arithmetic, chains of IPv6 extension headers) it
// assumes what lets the packet through, so that it never leaves out a packet
// that the filter matches; the filter itself is asked again about all others.

// maxProgram is how many instructions the kernel takes, less those that stand
// before the filter's.
const maxProgram = 4096 - 64

// Ends of the program, as labels beside the indexes of tests.
const (
	labelAccept = -1 - iota
	labelReject
)

// A kernelProgram is a program on its way.
type kernelProgram struct {
	code  []bpf.Instruction
	jumps []kernelJump // to labels, to be put in
	at    map[int]int  // where the tests begin, by label
	tests int          // labels given out
}

type kernelJump struct{ at, label int }

// Kernel returns the program that asks the filter in the kernel about
// packets on Ethernet, or nil if it would be too long or matches all. It returns
// snap for packets to be handed over, and 0 for others.
func (f *Filter) Kernel(snap int) []bpf.Instruction {
	if f.root == nil {
		return nil
	}
	p := &kernelProgram{at: map[int]int{}}
	p.node(f.root, true, labelAccept, labelReject)
	p.at[labelReject] = len(p.code)
	p.code = append(p.code, bpf.RetConstant{})
	p.at[labelAccept] = len(p.code)
	p.code = append(p.code, bpf.RetConstant{Val: uint32(snap)})
	if len(p.code) > maxProgram {
		return nil
	}
	for _, j := range p.jumps {
		p.code[j.at] = bpf.Jump{Skip: uint32(p.at[j.label] - j.at - 1)}
	}
	return p.code
}

// label returns a new label.
func (p *kernelProgram) label() int {
	p.tests++
	return p.tests
}

func (p *kernelProgram) here(label int) { p.at[label] = len(p.code) }

func (p *kernelProgram) emit(code ...bpf.Instruction) { p.code = append(p.code, code...) }

func (p *kernelProgram) jump(label int) {
	p.jumps = append(p.jumps, kernelJump{len(p.code), label})
	p.emit(bpf.Jump{})
}

// when goes on to yes if the comparison of the accumulator holds, else to no.
// The labels must be ahead.
func (p *kernelProgram) when(cond bpf.JumpTest, val uint32, yes, no int) {
	p.emit(bpf.JumpIf{Cond: cond, Val: val, SkipFalse: 1})
	p.jump(yes)
	p.jump(no)
}

// node lays out a node, which goes on to yes or no. unsure is what a test that
// cannot be made is taken to say, so that the packet is let through.
func (p *kernelProgram) node(n *node, unsure bool, yes, no int) {
	switch n.join {
	case joinNot:
		p.node(n.l, !unsure, no, yes)
	case joinAnd, joinOr:
		second := p.label()
		if n.join == joinAnd {
			p.node(n.l, unsure, second, no)
		} else {
			p.node(n.l, unsure, yes, second)
		}
		p.here(second)
		p.node(n.r, unsure, yes, no)
	default:
		open := no
		if unsure {
			open = yes
		}
		p.test(&n.test, yes, no, open)
	}
}

// network is where the header behind so many tags begins.
func (p *kernelProgram) network(tags uint8) uint32 { return inet.EthernetSize + 4*uint32(tags) }

// carries loads the EtherType of what is behind so many tags.
func (p *kernelProgram) carries(tags uint8) {
	p.emit(bpf.LoadAbsolute{Off: p.network(tags) - 2, Size: 2})
}

// family goes on to v4, v6 or other by what is behind so many tags.
func (p *kernelProgram) family(tags uint8, v4, v6, other int) {
	p.carries(tags)
	not4 := p.label()
	p.when(bpf.JumpEqual, inet.TypeIPv4, v4, not4)
	p.here(not4)
	p.when(bpf.JumpEqual, inet.TypeIPv6, v6, other)
}

// test lays out one test, which goes on to open where it cannot be made.
func (p *kernelProgram) test(t *test, yes, no, open int) {
	if t.place.in != nil || t.place.labels > 0 {
		p.jump(open)
		return
	}
	switch t.kind {
	case testType:
		p.isType(t.num, t.place.tags, yes, no, open)
	case testProto:
		p.isProto(t, yes, no)
	case testIPv4:
		p.isIPv4(t, yes, no)
	case testIPv6:
		p.isIPv6(t, yes, no)
	case testEtherHost:
		p.eitherWay(t, 6, 0, yes, no)
	case testPort:
		p.isPort(t, yes, no)
	case testVLAN:
		p.isStep(t, []uint32{inet.TypeVLAN, inet.TypeQinQ, inet.TypeQinQOld}, 0, 0xfff, yes, no)
	case testMPLS:
		p.isStep(t, []uint32{inet.TypeMPLS}, 12, 0xfffff000, yes, no)
	case testPPPoE:
		p.isStep(t, []uint32{inet.TypePPPoE}, 0, 0xffff, yes, no)
	case testGeneve:
		p.isPort(&test{place: t.place, dir: dirDst, over: onUDP, low: genevePort, high: genevePort}, open, no)
	default:
		p.relation(t, yes, no, open)
	}
}

func (p *kernelProgram) isType(num uint32, tags uint8, yes, no, open int) {
	if num < inet.MinType {
		p.jump(open) // LLC
		return
	}
	p.carries(tags)
	p.when(bpf.JumpEqual, num, yes, no)
}

func (p *kernelProgram) isProto(t *test, yes, no int) {
	at := p.network(t.place.tags)
	v4, v6 := p.label(), p.label()
	p.family(t.place.tags, v4, v6, no)
	p.here(v4)
	if t.on&onIPv4 != 0 {
		p.emit(bpf.LoadAbsolute{Off: at + 9, Size: 1})
		p.when(bpf.JumpEqual, t.num, yes, no)
	} else {
		p.jump(no)
	}
	p.here(v6)
	if t.on&onIPv6 == 0 {
		p.jump(no)
		return
	}
	other, fragment := p.label(), p.label()
	p.emit(bpf.LoadAbsolute{Off: at + 6, Size: 1})
	p.when(bpf.JumpEqual, t.num, yes, other)
	p.here(other)
	p.when(bpf.JumpEqual, inet.ProtoFragment, fragment, no)
	p.here(fragment)
	p.emit(bpf.LoadAbsolute{Off: at + inet.IPv6Size, Size: 1})
	p.when(bpf.JumpEqual, t.num, yes, no)
}

func (p *kernelProgram) isIPv4(t *test, yes, no int) {
	at := p.network(t.place.tags)
	p.carries(t.place.tags)
	for _, c := range [...]struct {
		set      networkSet
		kind     uint32
		src, dst uint32
	}{{onIPv4, inet.TypeIPv4, 12, 16}, {onARP, inet.TypeARP, 14, 24}, {onRARP, inet.TypeRARP, 14, 24}} {
		if t.on&c.set == 0 {
			continue
		}
		is, other := p.label(), p.label()
		p.when(bpf.JumpEqual, c.kind, is, other)
		p.here(is)
		p.eitherWay(t, at+c.src, at+c.dst, yes, no)
		p.here(other)
		p.carries(t.place.tags)
	}
	p.jump(no)
}

func (p *kernelProgram) isIPv6(t *test, yes, no int) {
	is := p.label()
	p.carries(t.place.tags)
	p.when(bpf.JumpEqual, inet.TypeIPv6, is, no)
	p.here(is)
	at := p.network(t.place.tags)
	p.eitherWay(t, at+8, at+24, yes, no)
}

// eitherWay compares the addresses at src and dst as view.eitherWay does.
func (p *kernelProgram) eitherWay(t *test, src, dst uint32, yes, no int) {
	second := p.label()
	switch t.dir {
	case dirSrc:
		p.isAddress(t, src, yes, no)
	case dirDst:
		p.isAddress(t, dst, yes, no)
	case dirBoth:
		p.isAddress(t, src, second, no)
	default:
		p.isAddress(t, src, yes, second)
	}
	if p.here(second); t.dir == dirBoth || t.dir == dirEither {
		p.isAddress(t, dst, yes, no)
	}
}

func (p *kernelProgram) isAddress(t *test, at uint32, yes, no int) {
	if t.kind == testEtherHost {
		high := p.label()
		p.emit(bpf.LoadAbsolute{Off: at + 2, Size: 4})
		p.when(bpf.JumpEqual, t.addr[1], high, no)
		p.here(high)
		p.emit(bpf.LoadAbsolute{Off: at, Size: 2})
		p.when(bpf.JumpEqual, t.addr[0], yes, no)
		return
	}
	words := 4
	if t.kind == testIPv4 {
		words = 1
	}
	for i := range words {
		if t.mask[i] == 0 {
			continue
		}
		next := p.label()
		p.emit(bpf.LoadAbsolute{Off: at + 4*uint32(i), Size: 4}, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: t.mask[i]})
		p.when(bpf.JumpEqual, t.addr[i], next, no)
		p.here(next)
	}
	p.jump(yes)
}

func (p *kernelProgram) isPort(t *test, yes, no int) {
	at := p.network(t.place.tags)
	v4, v6, whole := p.label(), p.label(), p.label()
	p.family(t.place.tags, v4, v6, no)
	p.here(v4)
	ports4, ports6 := p.label(), p.label()
	p.emit(bpf.LoadAbsolute{Off: at + 9, Size: 1})
	p.hasPorts(t, whole, no)
	p.here(whole)
	p.emit(bpf.LoadAbsolute{Off: at + 6, Size: 2})
	p.when(bpf.JumpBitsSet, 0x1fff, no, ports4)
	p.here(ports4)
	p.emit(bpf.LoadMemShift{Off: at})
	p.ports(t, at, yes, no)
	p.here(v6)
	p.emit(bpf.LoadAbsolute{Off: at + 6, Size: 1})
	p.hasPorts(t, ports6, no)
	p.here(ports6)
	p.emit(bpf.LoadConstant{Dst: bpf.RegX, Val: inet.IPv6Size})
	p.ports(t, at, yes, no)
}

// hasPorts asks whether the accumulator is the number of a protocol in t.over.
func (p *kernelProgram) hasPorts(t *test, yes, no int) {
	for _, number := range [...]uint32{inet.ProtoTCP, inet.ProtoUDP, inet.ProtoSCTP} {
		if t.over.has(number) {
			other := p.label()
			p.when(bpf.JumpEqual, number, yes, other)
			p.here(other)
		}
	}
	p.jump(no)
}

// ports compares the ports of the header that begins X behind at.
func (p *kernelProgram) ports(t *test, at uint32, yes, no int) {
	second := p.label()
	inRange := func(at uint32, yes, no int) {
		p.emit(bpf.LoadIndirect{Off: at, Size: 2})
		if t.low == t.high {
			p.when(bpf.JumpEqual, uint32(t.low), yes, no)
			return
		}
		low := p.label()
		p.when(bpf.JumpGreaterOrEqual, uint32(t.low), low, no)
		p.here(low)
		p.when(bpf.JumpGreaterThan, uint32(t.high), no, yes)
	}
	switch t.dir {
	case dirSrc:
		inRange(at, yes, no)
	case dirDst:
		inRange(at+2, yes, no)
	case dirBoth:
		inRange(at, second, no)
	default:
		inRange(at, yes, second)
	}
	if p.here(second); t.dir == dirBoth || t.dir == dirEither {
		inRange(at+2, yes, no)
	}
}

// isStep asks for one of these EtherTypes, and for the number of t under a mask.
func (p *kernelProgram) isStep(t *test, kinds []uint32, shift, mask uint32, yes, no int) {
	is := p.label()
	p.carries(t.place.tags)
	for _, kind := range kinds {
		other := p.label()
		p.when(bpf.JumpEqual, kind, is, other)
		p.here(other)
	}
	p.jump(no)
	p.here(is)
	if t.num == anyNumber {
		p.jump(yes)
		return
	}
	size := 4
	if t.kind == testVLAN {
		size = 2
	}
	p.emit(bpf.LoadAbsolute{Off: p.network(t.place.tags), Size: size}, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: mask})
	p.when(bpf.JumpEqual, t.num<<shift, yes, no)
}

// relation lays out the arithmetic that people write: the length, or octets of
// TCP or its flags, masked or not, compared with a number.
func (p *kernelProgram) relation(t *test, yes, no, open int) {
	rel := t.rel
	mask, value := uint32(0xffffffff), rel.l
	if value.op == arithAnd && value.r.op == arithConst {
		mask, value = value.r.num, value.l
	}
	conds := map[relationOp]bpf.JumpTest{
		relEqual: bpf.JumpEqual, relNotEqual: bpf.JumpNotEqual, relLess: bpf.JumpLessThan,
		relLessOrEqual: bpf.JumpLessOrEqual, relGreater: bpf.JumpGreaterThan, relGreaterOrEqual: bpf.JumpGreaterOrEqual,
	}
	compare := func() {
		p.emit(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: mask})
		p.when(conds[rel.op], rel.r.num, yes, no)
	}
	at := p.network(t.place.tags)
	switch {
	case rel.r.op != arithConst:
		p.jump(open)
	case value.op == arithLen:
		p.emit(bpf.LoadExtension{Num: bpf.ExtLen})
		compare()
	case value.op == arithFlags, value.op == arithLoad && value.from.number == inet.ProtoTCP && value.l.op == arithConst:
		v4, v6, whole, tcp := p.label(), p.label(), p.label(), p.label()
		place, size, beyond := uint32(13), 1, open
		if value.op == arithLoad {
			place, size, beyond = value.l.num, int(value.size), no // octets of tcp[…] are looked at in IPv4 only
		}
		p.family(t.place.tags, v4, v6, no)
		p.here(v6)
		p.jump(beyond)
		p.here(v4)
		p.emit(bpf.LoadAbsolute{Off: at + 9, Size: 1})
		p.when(bpf.JumpEqual, inet.ProtoTCP, whole, no)
		p.here(whole)
		p.emit(bpf.LoadAbsolute{Off: at + 6, Size: 2})
		p.when(bpf.JumpBitsSet, 0x1fff, no, tcp)
		p.here(tcp)
		p.emit(bpf.LoadMemShift{Off: at}, bpf.LoadIndirect{Off: at + place, Size: size})
		compare()
	default:
		p.jump(open)
	}
}
