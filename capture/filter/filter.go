// Package filter reads filters in the language of tcpdump, and asks them about
// packets.
//
// A filter is read once and then asked about every packet. Reading it gives a
// tree of primitives joined by and, or and not; the tree is laid out as a list
// of tests, each of which knows where to go on if it holds and where if it does
// not, so that matching a packet is a loop without recursion, closures or
// allocation. The files are, in the order in which a filter passes through
// them: lex.go (words), parse.go (sentences), id.go (what the addresses, ports
// and numbers in them mean), arith.go (arithmetic over octets), match.go
// (packets), print.go for the way back, and kernel.go, which makes of a filter
// what the kernel runs. Words that stand for numbers are in names.go.
//
// # Grammar
//
//	filter    = [ expr ] .
//	expr      = operand { ( "and" | "&&" | "or" | "||" ) operand } .
//	operand   = ( "not" | "!" ) operand | "(" expr ")" | primitive | id .
//	primitive = [ proto ] [ dir ] [ type ] id
//	          | proto
//	          | ( "vlan" | "mpls" | "pppoes" | "geneve" ) [ number ]
//	          | ( "less" | "greater" ) number
//	          | arith relation arith .
//	proto     = "ether" | "ip" | "ip6" | "arp" | "rarp" | "tcp" | "udp" | "sctp"
//	          | "icmp" | "icmp6" | "igmp" | "igrp" | "pim" | "vrrp" | "carp" | "ah" | "esp" .
//	dir       = "src" | "dst" | "src or dst" | "src and dst" .
//	type      = "host" | "net" | "port" | "portrange" | "proto" .
//	id        = address | address "/" bits | address "mask" address   (host, net, nothing)
//	          | port | name                                           (port)
//	          | port "-" port                                         (portrange)
//	          | number | "\" name                                     (proto)
//	          | "not" id | "(" id { ( "and" | "or" ) id } ")" .
//	relation  = "=" | "==" | "!=" | "<" | "<=" | ">" | ">=" .
//	arith     = number | "len" | "tcp.flags" | proto "[" arith [ ":" ( "1" | "2" | "4" ) ] "]"
//	          | "-" arith | arith op arith | "(" arith ")" .
//	op        = "+" | "-" | "*" | "/" | "%" | "&" | "|" | "^" | "<<" | ">>" .
//
// Five rules of tcpdump surprise people, and are kept: "and" and "or" bind
// equally and group from the left, so "a or b and c" is "(a or b) and c"; an id
// that stands alone takes the qualifiers of the primitive before it ("tcp dst
// port 80 or 443"); "vlan", "mpls", "pppoes" and "geneve" move everything written
// after them, on whichever side of an "or", behind one such header; "proto[…]" of a protocol above IP looks at IPv4 only,
// icmp6 apart; and a packet cut too short for a test that had to be made does
// not match, whatever "not" stands before the test.
//
// One thing is ours. Because tcp[tcpflags] does not see IPv6, "tcp.flags" is
// the octet of flags wherever the TCP header is: behind IPv4, IPv6, or IPv6
// with extension headers. The flags are named fin, syn, rst, psh (or push),
// ack, urg, ece and cwr: "tcp.flags & (syn|fin) != 0".
//
// What tcpdump knows and this does not (gateway, protochain, broadcast, names
// of hosts and networks…) is refused, with a caret under the word. In a few
// places we take more than tcpdump does, where there is only one thing it can
// mean: "net 10/8", and an id beside a primitive in one pair of parentheses.
//
// # Where we leave tcpdump
//
// In "len + tcp[0]" and the like, libpcap forgets to check that the packet is
// TCP when the load is the right operand, and reads whatever is at that place;
// here the relation is false.
//
// Behind "geneve", libpcap looks at numbers that it did not compute if the packet
// is not Geneve. Here such a packet has no headers there, only a length and the
// octets of ether[…]. Behind "mpls and geneve" libpcap goes on to look for labels;
// here the packet inside is looked at.
//
// Tests are made from the left, and a packet that ends before an octet that one
// of them asks for does not match. tcpdump's optimizer may move a test forward
// and so decide some of these packets. Whole packets come out the same.
//
// tcpdump compiles a filter for one link type and refuses what that link type
// cannot have. A Filter is for any, and such a primitive is simply false: "vlan"
// in raw IP, for example, which then moves nothing. The cooked captures of Linux
// may carry tags and labels, so there "vlan" and "mpls" work. See [Filter.Reads] for link types in
// which no network header is found.
package filter

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
)

// A Filter decides which packets are looked at. The zero value matches all.
// It does not change once made, and any number of goroutines may use it.
type Filter struct {
	root  *node // nil matches all
	tests []test
	start int32 // index of the test to begin with
}

// The ends of a list of tests, as indexes.
const (
	accept int32 = -1
	reject int32 = -2
)

// Parse reads a filter expression of tcpdump's language. An empty
// expression matches all packets. The error is a *Error.
func Parse(expr string) (*Filter, error) {
	tokens, err := lex(expr)
	if err != nil {
		return nil, err.in(expr)
	}
	p := parser{tokens: tokens, closes: matchParentheses(tokens)}
	root, err := p.parse()
	if err != nil {
		return nil, err.in(expr)
	}
	f := &Filter{root: root}
	if root != nil {
		f.start = f.layOut(root, accept, reject)
	}
	return f, nil
}

// Match reports whether the filter lets a packet through. Data are its captured
// octets from the header of the link layer on, and wireLen is what it measured
// before it was cut. Data are neither changed nor kept.
//
// A primitive takes 11 to 17 ns, and 23 if it is a relation over tcp[tcpflags],
// on one core of an AMD EPYC (BenchmarkMatch).
func (f *Filter) Match(link pcap.LinkType, data []byte, wireLen int) bool {
	if f.root == nil {
		return true
	}
	layout := link.Layout()
	v := view{data: data, wireLen: uint32(wireLen)}
	v.open(layout)
	at := f.start
	for at >= 0 {
		t := &f.tests[at]
		holds := v.test(t, layout)
		switch {
		case v.cut:
			return false
		case holds:
			at = t.yes
		default:
			at = t.no
		}
	}
	return at == accept
}

// Reads reports whether packets of this link type show the filter what it asks
// for. Where it is false (802.11, for example, or a log of a firewall), no
// network header is found, only len, less, greater and ether[…] mean anything,
// and every other primitive is false.
func (f *Filter) Reads(link pcap.LinkType) bool {
	if link.Layout().Kind != pcap.LayoutNone {
		return true
	}
	for i := range f.tests {
		if f.tests[i].needsNetwork() {
			return false
		}
	}
	return true
}

// A node is a primitive, or a junction of one or two nodes.
type node struct {
	join junction
	test test  // valid if join is joinNone
	l, r *node // r is nil unless join is joinAnd or joinOr
}

type junction uint8

const (
	joinNone junction = iota
	joinNot
	joinAnd
	joinOr
)

// layOut appends the tests of a node to the list, each going on to yes or no,
// and returns the index of the first one to make.
func (f *Filter) layOut(n *node, yes, no int32) int32 {
	for {
		switch n.join {
		case joinNot:
			n, yes, no = n.l, no, yes
		case joinAnd:
			n, yes = n.l, f.layOut(n.r, yes, no)
		case joinOr:
			n, no = n.l, f.layOut(n.r, yes, no)
		default:
			t := n.test
			t.yes, t.no = yes, no
			f.tests = append(f.tests, t)
			return int32(len(f.tests) - 1)
		}
	}
}

// An Error says which place of a filter expression is not understood, and
// why.
type Error struct {
	Expr   string // as given to Parse
	Offset int    // of the place in Expr, in octets
	Reason string // one sentence, without a period
}

// Error returns three lines: the reason, the expression, and a caret under the
// place. What cannot be printed is shown as a blank.
func (e *Error) Error() string {
	var line strings.Builder
	column := 0
	for i, r := range e.Expr {
		if i < e.Offset {
			column++
		}
		if !unicode.IsPrint(r) {
			r = ' '
		}
		line.WriteRune(r)
	}
	return fmt.Sprintf("filter: %s\n  %s\n  %s^", e.Reason, line.String(), strings.Repeat(" ", column))
}

// A fault is a Error that does not know the expression yet.
type fault struct {
	offset int
	reason string
}

func faultAt(offset int, format string, args ...any) *fault {
	return &fault{offset, fmt.Sprintf(format, args...)}
}

func (e *fault) in(expr string) error {
	return &Error{Expr: expr, Offset: e.offset, Reason: e.reason}
}
