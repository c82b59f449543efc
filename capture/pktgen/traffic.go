package pktgen

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A TrafficKind names what traffic consists of.
type TrafficKind string

const (
	// LongFlows are a few connections that carry much, up or down: two
	// segments of data for each ACK.
	LongFlows TrafficKind = "long-flows"

	// ShortConnections have ten segments each: a handshake, a question, an
	// answer, their ACKs, and a close, by the server in every third. Some
	// thousands are open at once.
	ShortConnections TrafficKind = "short-connections"

	// SYNs are nothing but that, to one listener, each from another address.
	SYNs TrafficKind = "syns"

	// FullPayloads are LongFlows whose data is in the capture.
	FullPayloads TrafficKind = "full-payloads"

	// Mixed is IPv4 and IPv6, with and without VLAN tags: connections of a few
	// questions and longer answers, some of them aborted, fragments, and
	// between them packets that are not TCP, or no packets at all.
	Mixed TrafficKind = "mixed"
)

// TrafficKinds returns all kinds of traffic.
func TrafficKinds() []TrafficKind {
	return []TrafficKind{LongFlows, ShortConnections, SYNs, FullPayloads, Mixed}
}

// Traffic is what well-behaved hosts send over paths that lose nothing. Two
// that are equal have the same packets, octet for octet.
type Traffic struct {
	Kind    TrafficKind
	Packets int // about so many; of ShortConnections ten times as many as connections
	Flows   int // of LongFlows and FullPayloads; 0 is 16
	Seed    uint64
}

// A Packet of Traffic.
type Packet struct {
	tcp.Segment        // whose Packet and Checksum are not set
	VLAN        uint16 // the tag of the frame; 0: none
	Frame       []byte // unless nil, the Ethernet frame; of the Segment only Time has a meaning
}

// trafficStart is when all traffic begins.
const trafficStart tcp.Time = 1_700_000_000 * 1e9

// All returns the packets in the order in which they are captured. There is one
// Packet, which is filled in anew for every step of the loop. It panics if the
// kind does not exist.
func (t Traffic) All() iter.Seq[*Packet] {
	if !slices.Contains(TrafficKinds(), t.Kind) {
		panic(fmt.Sprintf("pktgen: unknown kind of traffic %q", t.Kind))
	}
	return func(yield func(*Packet) bool) {
		if t.Kind == SYNs {
			t.syns(yield)
			return
		}
		newNetwork(t, yield).run()
	}
}

// Snap is the snap length of captures of the traffic, in octets: what headers
// need, or, where the data belongs to it, no limit to speak of.
func (t Traffic) Snap() int {
	if t.Kind == FullPayloads || t.Kind == Mixed {
		return 1 << 18
	}
	return 96
}

// Write writes the traffic as a pcap capture of an Ethernet and returns the
// number of packets. The error is that of w.
func (t Traffic) Write(w io.Writer) (packets int, err error) {
	buffered := bufio.NewWriterSize(w, 1<<18)
	p, err := NewPcap(buffered, pcap.LinkEthernet, t.Snap())
	if err != nil {
		return 0, err
	}
	for k := range t.All() {
		if k.Frame != nil {
			err = p.Write(k.Time, k.Frame)
		} else {
			err = p.WriteSegment(&k.Segment, k.VLAN)
		}
		if err != nil {
			return packets, err
		}
		packets++
	}
	return packets, buffered.Flush()
}

// random returns the source of all that is chosen.
func (t Traffic) random() *rand.Rand { return rand.New(rand.NewPCG(t.Seed, 9293)) }

// clientAt returns the i-th of 2^24 addresses of clients, in no order that
// shows.
func clientAt(i int) netip.Addr {
	var octets [4]byte
	binary.BigEndian.PutUint32(octets[:], 10<<24|uint32(i)*0x9e3779b1&0xffffff)
	return netip.AddrFrom4(octets)
}

// syns makes SYNs, 100,000 a second.
func (t Traffic) syns(yield func(*Packet) bool) {
	rnd := t.random()
	now := trafficStart
	server := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), servicePort)
	for i := range t.Packets {
		now = now.Add(time.Duration(rnd.ExpFloat64() * 1e4))
		k := Packet{Segment: tcp.Segment{
			Time: now, Src: netip.AddrPortFrom(clientAt(i), uint16(lowPort+rnd.IntN(ports))), Dst: server,
			Seq: tcp.Seq(rnd.Uint32()), Wnd: 64240, Flags: tcp.SYN,
			TTL: uint8(64 - rnd.IntN(20)), ID: uint16(rnd.Uint32()),
			Options: tcp.Options{MSS: mss, SACKOK: true, HasTS: true, TSVal: rnd.Uint32(), HasShift: true, Shift: shift},
		}}
		if !yield(&k) {
			return
		}
	}
}
