// Package decode makes TCP segments of packets. Traffic is never an error: what
// cannot be decoded is told apart from what is not TCP, and no more.
//
//	fast.go      the fast path: plain IP behind the usual link layers
//	slow.go      the slow path, which takes all else apart header by header:
//	table.go     the table of headers: link layers, tags, tunnels
//	tags.go      what reads those that take more than a line, behind an Ethernet type,
//	tunnels.go   behind IP, GRE or UDP,
//	links.go     and behind nothing, by the link type
//	frame.go     what remains of a packet, and what tells what it is
//	ipsec.go     IPComp, and ESP that encrypts nothing
//	as.go        what is read as something else
//	several.go   those that hold several frames, or none of one kind: 802.11, UDP
//	gopacket.go  IP, its extension headers and options, TCP, LLC
//	fragment.go  fragments of IP
//	icmp.go      ICMP errors, which quote a segment
//	tcp.go       TCP options and checksums, for both
//	named.go     names of hosts, in DNS, TLS and HTTP
package decode

import (
	"encoding/binary"
	"hash/maphash"
	"io"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Options say how packets are decoded. The zero value enters tunnels, and
// checks the segments that open and close connections.
type Options struct {
	// Outer leaves tunnels (IP in IP, GRE, EtherIP, VXLAN, Geneve) closed:
	// only TCP that no tunnel carries is a segment. Without it tunnels are
	// entered, and the innermost TCP counts.
	Outer bool

	// As has what is read as something else than the table of headers says.
	As []As

	// NullESP looks whether ESP carries what is not encrypted.
	NullESP bool

	// VerifyChecksums checks the TCP checksum of every segment that was
	// captured whole, not only of those with SYN, FIN or RST.
	VerifyChecksums bool

	// Payload hashes what every segment carries that was captured whole and
	// whose checksum is right or left to the network card.
	Payload bool

	// Seed is what payloads are hashed with. The zero Seed is one of its own.
	Seed maphash.Seed

	// Key, unless nil, is what payloads are hashed with instead: other processes have the
	// same hashes with it.
	Key *[32]byte

	// Names has Naming and Named tell of names of hosts.
	Names bool

	// Part, unless nil, is told of every packet that is a fragment of a segment, and
	// of the one that makes that whole, both by their numbers.
	Part func(packet, whole int)
}

// A Verdict is what decoding makes of a packet.
type Verdict uint8

const (
	NotTCP      Verdict = iota // something else, or a part of something that is not whole yet
	TCP                        // the Segment is filled in
	Shut                       // not opened, Passed says what and why
	Undecodable                // cut before the end of the TCP header, or malformed
	ask                        // only the slow path can tell
)

// A Decoder makes Segments of packets. It keeps the fragments that wait for
// others, so packets come in the order of the capture. Its methods are for one
// goroutine. The zero value decodes by the zero Options.
type Decoder struct {
	o     Options
	as    map[place]place // of Options.As
	ports *portSet        // UDP ports at which there may be a tunnel
	seed  maphash.Seed    // of the hashes of payloads

	// Of the slow path, and of the packet that it decodes.
	segment    *tcp.Segment // to be filled in
	now        tcp.Time
	depth      int           // IP headers entered
	headers    int           // other headers since the last of them
	passed     Passed        // what was not opened
	more       []frame       // that are left of an aggregate of 802.11
	inflate    io.ReadCloser // of IPComp; nil: there was none
	moreDepth  int           // of which the headers around it have so many IP headers
	layers     gopacketLayers
	fragments  fragments
	number     int    // of the packet
	naming     bool   // there is something for Named
	data       []byte // what the segment carries, if that may tell of names
	named      []Named
	hellos     map[helloKey]*hello // that are not whole yet
	helloOrder []helloKey          // the oldest first
	helloNext  uint64              // the last 6 bits of the numbers that they go on at
	parts      []int               // with Options.Part: the packets that it is made of, itself among them
}

// New returns a Decoder that has seen no packet.
func New(o Options) *Decoder {
	p := &Decoder{o: o, seed: o.Seed}
	p.setAs(o.As)
	return p
}

// A Why says why something was not opened.
type Why uint8

const (
	NotOpened  Why = iota // there is nothing that reads it
	Encrypted             // it is encrypted
	InPieces              // it is a piece, and pieces are not put together there
	Compressed            // it is compressed
)

func (w Why) String() string {
	return [...]string{"not opened", "encrypted", "in pieces", "compressed"}[w]
}

// Passed is what a packet was passed over for that is not known to be something
// else than TCP: the name of the outermost header that was not opened, and why.
type Passed struct {
	Name string
	Why  Why
}

// Passed returns what the packet decoded last was passed over for, if it was Shut.
func (p *Decoder) Passed() Passed { return p.passed }

// pass is the verdict on what is not opened.
func (p *Decoder) pass(name string, why Why) Verdict {
	p.passed = Passed{name, why}
	return Shut
}

// Next fills in a Segment of the packet decoded last beyond those before, and
// reports whether there is one: some headers hold several.
func (p *Decoder) Next(s *tcp.Segment) bool {
	if len(p.more) == 0 {
		return false
	}
	return p.guarded(s, p.next) == TCP
}

// GivenUp is how many fragmented datagrams were given up before they were whole, to stay
// within MaxDatagrams, MaxPieces and MaxFragmentBytes.
func (p *Decoder) GivenUp() int { return p.fragments.givenUp }

// Number says which number the next packet has.
func (p *Decoder) Number(n int) { p.number = n }

// Decode reads a packet. If it is TCP, or an ICMP error about TCP, all of s is
// filled in but its Time and Packet; else s may hold anything. The record is
// neither changed nor kept.
func (p *Decoder) Decode(r *pcap.Record, s *tcp.Segment) Verdict {
	v, tunnel := p.fast(r.Link, r.Data, r.Wire, s), false
	if v == ask {
		v = p.slow(r.Link, frame{r.Data, r.Wire}, r.Time, s)
		tunnel = p.depth > 1
		if v == TCP && len(p.parts) > 1 {
			p.tellParts(p.number, p.parts)
		}
	}
	if v == TCP {
		s.Way = tcp.WayUnknown
		if !tunnel { // whose ends are no ends of what it carries
			s.Way = r.Heading()
		}
	}
	return v
}

// IP makes a Segment of one whole IPv4 or IPv6 packet that no capture
// holds, its Time and Packet left zero. It is not ok if the packet is neither
// TCP nor an ICMP error about TCP, or a fragment.
func IP(packet []byte) (s tcp.Segment, ok bool) {
	v := new(Decoder).Decode(&pcap.Record{Data: packet, Wire: len(packet), Link: pcap.LinkRaw}, &s)
	return s, v == TCP
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
