// Package decode makes TCP segments of packets. Traffic is never an error: what
// cannot be decoded is told apart from what is not TCP, and no more.
//
//	fast.go      the fast path: plain IP behind the usual link layers
//	slow.go      the slow path, which takes all else apart header by header:
//	link.go      link layers
//	gopacket.go  IP, its extension headers and options, TCP, LLC, 802.11
//	fragment.go  fragments of IP
//	tunnel.go    tunnels in IP
//	icmp.go      ICMP errors, which quote a segment
//	tcp.go       TCP options and checksums, for both
//	named.go     names of hosts, in DNS, TLS and HTTP
package decode

import (
	"encoding/binary"
	"hash/maphash"

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

	// VerifyChecksums checks the TCP checksum of every segment that was
	// captured whole, not only of those with SYN, FIN or RST.
	VerifyChecksums bool

	// Payload hashes what every segment carries that was captured whole and
	// whose checksum is right or left to the network card.
	Payload bool

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
	Undecodable                // cut before the end of the TCP header, or malformed
	ask                        // only the slow path can tell
)

// A Decoder makes Segments of packets. It keeps the fragments that wait for
// others, so packets come in the order of the capture. Its methods are for one
// goroutine. The zero value decodes by the zero Options.
type Decoder struct {
	o    Options
	seed maphash.Seed // of the hashes of payloads

	// Of the slow path, and of the packet that it decodes.
	segment    *tcp.Segment // to be filled in
	now        tcp.Time
	depth      int // IP headers entered
	tags       int // other headers since the last of them
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
func New(o Options) *Decoder { return &Decoder{o: o} }

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
