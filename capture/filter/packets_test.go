package filter

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
)

// A packet is one that filters are tried on.
type packet struct {
	name    string
	data    []byte
	wireLen int
}

// A datagram is a packet of the network layer, and its EtherType.
type datagram struct {
	name string
	kind uint16
	data []byte
}

func octets16(values ...uint16) []byte {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

// ipv4 builds a packet. Fragment is the field of flags and offset, options are a
// multiple of four octets.
func ipv4(src, dst string, proto byte, fragment uint16, options, payload []byte) []byte {
	b := []byte{byte(0x45 + len(options)/4), 0}
	b = binary.BigEndian.AppendUint16(b, uint16(20+len(options)+len(payload)))
	b = append(b, 0x12, 0x34)
	b = binary.BigEndian.AppendUint16(b, fragment)
	b = append(b, 64, proto, 0xbe, 0xef)
	return slices.Concat(b, netip.MustParseAddr(src).AsSlice(), netip.MustParseAddr(dst).AsSlice(), options, payload)
}

func ipv6(src, dst string, next byte, payload []byte) []byte {
	b := []byte{0x60, 0, 0, 7}
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	b = append(b, next, 64)
	return slices.Concat(b, netip.MustParseAddr(src).AsSlice(), netip.MustParseAddr(dst).AsSlice(), payload)
}

func tcpHeader(src, dst uint16, flags byte) []byte {
	return slices.Concat(octets16(src, dst), []byte{0, 0, 1, 0, 0, 0, 2, 0, 0x50, flags, 0xff, 0, 1, 2, 0, 0}, []byte("GET /"))
}

func udpHeader(src, dst uint16) []byte {
	return slices.Concat(octets16(src, dst, 12, 0), []byte("ping"))
}

func arp(src, dst string) []byte {
	return slices.Concat([]byte{0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1}, netip.MustParseAddr(src).AsSlice(),
		[]byte{2, 0, 0, 0, 0, 2}, netip.MustParseAddr(dst).AsSlice())
}

var (
	testAddrs4 = []string{"10.0.0.1", "10.9.1.2", "10.9.200.7", "192.168.1.1", "1.2.3.4", "224.0.0.1", "0.0.0.10"}
	testAddrs6 = []string{"fe80::1", "2001:db8::1", "2001:db8:0:1::2", "::1", "ff02::1", "2001:db8:ffff::1"}
	testPorts  = []uint16{22, 53, 80, 443, 8080, 40000, 7000, 65535, 0}
	testFlags  = []byte{0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0x01, 0x00, 0xc2, 0xff}
)

// datagrams returns packets of all sorts, the same ones every time.
func datagrams() []datagram {
	rng := rand.New(rand.NewPCG(9293, 793))
	addr4 := func() string { return testAddrs4[rng.IntN(len(testAddrs4))] }
	addr6 := func() string { return testAddrs6[rng.IntN(len(testAddrs6))] }
	port := func() uint16 { return testPorts[rng.IntN(len(testPorts))] }
	flags := func() byte { return testFlags[rng.IntN(len(testFlags))] }
	transports := func(n int) map[byte][]byte {
		return map[byte][]byte{
			6:   tcpHeader(port(), port(), flags()),
			17:  udpHeader(port(), port()),
			132: slices.Concat(octets16(port(), port()), make([]byte, 12)),
			1:   {[]byte{8, 0, 3, 13}[n%4], byte(n % 3), 0, 0, 1, 2, 3, 4},
			58:  {[]byte{128, 135, 1, 2}[n%4], 0, 0, 0, 1, 2, 3, 4},
			2:   {0x16, 0, 0, 0, 224, 0, 0, 1},
			47:  {0, 0, 8, 0, 0x45, 0, 0, 20},
			50:  {0, 0, 0, 1, 0, 0, 0, 2},
			103: {0x20, 0, 0, 0},
			112: {0x31, 1, 100, 1},
		}
	}
	protos := []byte{6, 6, 6, 6, 17, 17, 132, 1, 58, 2, 47, 50, 103, 112}
	options := []byte{7, 7, 4, 10, 0, 0, 1, 0}

	var all []datagram
	add := func(name string, kind uint16, data []byte) {
		all = append(all, datagram{fmt.Sprintf("%s #%d", name, len(all)), kind, data})
	}
	for n := range 8 {
		for _, proto := range protos {
			payload := transports(n)[proto]
			add(fmt.Sprintf("v4 proto %d", proto), inet.TypeIPv4, ipv4(addr4(), addr4(), proto, 0x4000, nil, payload))
			add(fmt.Sprintf("v6 proto %d", proto), inet.TypeIPv6, ipv6(addr6(), addr6(), proto, payload))
			if n > 2 {
				continue
			}
			add(fmt.Sprintf("v4 options proto %d", proto), inet.TypeIPv4, ipv4(addr4(), addr4(), proto, 0, options, payload))
			add(fmt.Sprintf("v4 first fragment proto %d", proto), inet.TypeIPv4, ipv4(addr4(), addr4(), proto, 0x2000, nil, payload))
			add(fmt.Sprintf("v4 later fragment proto %d", proto), inet.TypeIPv4, ipv4(addr4(), addr4(), proto, 0x20b9, nil, payload))
			add(fmt.Sprintf("v6 first fragment proto %d", proto), inet.TypeIPv6,
				ipv6(addr6(), addr6(), 44, slices.Concat([]byte{proto, 0, 0, 1, 0, 0, 0, 9}, payload)))
			add(fmt.Sprintf("v6 later fragment proto %d", proto), inet.TypeIPv6,
				ipv6(addr6(), addr6(), 44, slices.Concat([]byte{proto, 0, 5, 0xa8, 0, 0, 0, 9}, payload)))
			add(fmt.Sprintf("v6 hop-by-hop proto %d", proto), inet.TypeIPv6,
				ipv6(addr6(), addr6(), 0, slices.Concat([]byte{proto, 0, 1, 4, 0, 0, 0, 0}, payload)))
		}
		add("arp", inet.TypeARP, arp(addr4(), addr4()))
		add("rarp", inet.TypeRARP, arp(addr4(), addr4()))
	}
	add("v4 both ports 80", inet.TypeIPv4, ipv4("10.0.0.1", "10.0.0.1", 6, 0, nil, tcpHeader(80, 80, 0x10)))
	add("v6 both ports 80", inet.TypeIPv6, ipv6("fe80::1", "fe80::1", 6, tcpHeader(80, 80, 0x10)))
	add("v4 sctp 443", inet.TypeIPv4, ipv4("10.0.0.1", "1.2.3.4", 132, 0, nil, slices.Concat(octets16(443, 22), make([]byte, 12))))
	add("rarp of 10.0.0.1", inet.TypeRARP, arp("10.0.0.1", "10.0.0.1"))
	add("loopback", inet.TypeLoopback, []byte{0, 0, 1, 0, 0, 0})
	add("llc stp", 38, []byte{0x42, 0x42, 3, 0, 0, 0, 0, 0})
	add("llc ip", 1500, []byte{0x06, 0x06, 3, 0x45, 0, 0, 20})
	add("llc iso", 1499, []byte{0xfe, 0xfe, 3, 0x83})
	add("no llc iso", 1501, []byte{0xfe, 0xfe, 3, 0x83})
	add("type 0", 0, []byte{5, 5, 5, 5})
	add("version 5", inet.TypeIPv4, append([]byte{0x55}, ipv4("10.0.0.1", "1.2.3.4", 6, 0, nil, tcpHeader(80, 22, 2))[1:]...))
	return all
}

// variations adds to packets those cut at every length, those with octets
// changed, and plain noise. Keep is how many octets at their head stay as they
// are.
func variations(packets []packet, keep int) []packet {
	rng := rand.New(rand.NewPCG(1122, 2525))
	all := packets
	for i := 0; i < len(packets); i += 1 + len(packets)/40 {
		p := packets[i]
		for n := keep; n < len(p.data); n++ {
			all = append(all, packet{fmt.Sprintf("%s cut at %d", p.name, n), p.data[:n:n], p.wireLen})
		}
	}
	for i := range 600 {
		p := packets[rng.IntN(len(packets))]
		data := append([]byte(nil), p.data...)
		for range 1 + rng.IntN(3) {
			data[keep+rng.IntN(min(60, len(data)-keep))] = byte(rng.Uint32())
		}
		all = append(all, packet{fmt.Sprintf("%s mutant %d", p.name, i), data, len(data) + rng.IntN(3)*700})
	}
	for i := range 100 {
		data := append([]byte(nil), packets[0].data[:keep]...)
		for range rng.IntN(100) {
			data = append(data, byte(rng.Uint32()))
		}
		all = append(all, packet{fmt.Sprintf("noise %d", i), data, len(data)})
	}
	return all
}

// linkHeader returns what stands before a datagram on a link type, or false if
// that cannot be.
func linkHeader(link pcap.LinkType, kind uint16) ([]byte, bool) {
	ip := kind == inet.TypeIPv4 || kind == inet.TypeIPv6
	switch link {
	case pcap.LinkEthernet:
		return slices.Concat([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}, octets16(kind)), true
	case pcap.LinkLinuxSLL:
		if kind <= 1500 {
			kind = 4
		}
		return slices.Concat([]byte{0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0}, octets16(kind)), true
	case pcap.LinkLinuxSLL2:
		return slices.Concat(octets16(kind), []byte{0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0}), true
	case pcap.LinkRaw:
		return nil, ip
	case pcap.LinkIPv4:
		return nil, kind == inet.TypeIPv4
	case pcap.LinkIPv6:
		return nil, kind == inet.TypeIPv6
	case pcap.LinkPPP, pcap.LinkPPPoE:
		proto := octets16(0x21)
		if kind == inet.TypeIPv6 {
			proto = octets16(0x57)
		} else if !ip {
			proto = octets16(0xc021)
		}
		if link == pcap.LinkPPP {
			return slices.Concat([]byte{0xff, 3}, proto), true
		}
		return slices.Concat([]byte{0x11, 0, 0, 1, 0, 60}, proto), true
	case pcap.LinkCiscoHDLC:
		return slices.Concat([]byte{0x0f, 0}, octets16(kind)), true
	case pcap.LinkNull, pcap.LinkLoop:
		family := []byte{2, 0, 0, 0}
		if kind == inet.TypeIPv6 {
			family[0] = 10
		} else if !ip {
			family[0] = 23
		}
		if link == pcap.LinkLoop {
			family[0], family[3] = family[3], family[0]
		}
		return family, true
	}
	return nil, false
}

// packetsOf returns packets of one link type, the same ones every time.
func packetsOf(link pcap.LinkType) []packet {
	var all []packet
	add := func(name string, data []byte) {
		all = append(all, packet{name, data, len(data)})
	}
	keep := 0
	for i, d := range datagrams() {
		header, ok := linkHeader(link, d.kind)
		if !ok {
			continue
		}
		if link == pcap.LinkNull || link == pcap.LinkLoop || link == pcap.LinkPPP || link == pcap.LinkPPPoE {
			keep = len(header)
		}
		add(d.name, slices.Concat(header, d.data))
		if link != pcap.LinkEthernet || i%3 != 0 && d.kind != inet.TypeARP {
			continue
		}
		macs, kind := header[:12], octets16(d.kind)
		tpid := []uint16{inet.TypeVLAN, inet.TypeQinQ, inet.TypeQinQOld}[i/3%3]
		id := []uint16{100, 3, 0x2064, 4095}[i/3%4]
		add("tagged "+d.name, slices.Concat(macs, octets16(tpid, id), kind, d.data))
		add("twice tagged "+d.name, slices.Concat(macs, octets16(tpid, id, inet.TypeVLAN, 300), kind, d.data))
	}
	all = variations(all, keep)
	if links := []pcap.LinkType{pcap.LinkEthernet, pcap.LinkLinuxSLL, pcap.LinkLinuxSLL2, pcap.LinkPPP, pcap.LinkPPPoE, pcap.LinkCiscoHDLC}; slices.Contains(links, link) {
		all = append(all, variations(steppedOver(link), keep)...)
	}
	return all
}

// steppedOver returns packets behind the headers that filters step over.
func steppedOver(link pcap.LinkType) []packet {
	var all []packet
	add := func(name string, kind uint16, data ...[]byte) {
		header, _ := linkHeader(link, kind)
		if (link == pcap.LinkPPP || link == pcap.LinkPPPoE) && kind != inet.TypeIPv4 && kind != inet.TypeIPv6 {
			if kind == inet.TypeMPLS {
				kind = 0x281
			}
			header = slices.Concat(header[:len(header)-2], octets16(kind))
		}
		b := slices.Concat(append([][]byte{header}, data...)...)
		all = append(all, packet{name, b, len(b)})
	}
	label := func(label uint32, last byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, label<<12|64)
		b[2] |= last
		return b
	}
	inner := []packet{}
	for i, d := range datagrams() {
		if i%9 == 0 && len(inner) < 30 || d.kind == inet.TypeARP && i%2 == 0 {
			inner = append(inner, packet{d.name, d.data, int(d.kind)})
		}
	}
	for i, d := range inner {
		kind := uint16(d.wireLen)
		ppp := map[uint16]uint16{inet.TypeIPv4: 0x21, inet.TypeIPv6: 0x57}[kind]
		session := octets16(0x1100, []uint16{5, 0x27, 0xffff}[i%3], 60)
		add("labelled "+d.name, inet.TypeMPLS, label(100+uint32(i%2), 1), d.data)
		add("twice labelled "+d.name, inet.TypeMPLS, label(100, 0), label(1<<20-1-uint32(i%2), 1), d.data)
		add("in a session "+d.name, inet.TypePPPoE, session, octets16(ppp), d.data)
		add("labelled in a session "+d.name, inet.TypePPPoE, session, octets16(0x281), label(100, 1), d.data)
		add("in a session with a tag "+d.name, inet.TypeVLAN, octets16(100, inet.TypePPPoE), session, octets16(ppp), d.data)
		add("labelled with a tag "+d.name, inet.TypeVLAN, octets16(3, inet.TypeMPLS), label(100, 1), d.data)

		ethernet, _ := linkHeader(pcap.LinkEthernet, kind)
		options := make([]byte, 4*(i%4))
		geneve := func(kind uint16, rest ...[]byte) []byte {
			header := slices.Concat([]byte{byte(i % 4), 0}, octets16(kind), []byte{0, 0, byte(5 + i%2), 0}, options)
			return slices.Concat(octets16(40000, 6081, 100, 0), header, slices.Concat(rest...))
		}
		v4 := func(payload []byte) []byte { return ipv4("10.9.1.2", "1.2.3.4", 17, 0x4000, options, payload) }
		frame := geneve(0x6558, ethernet, d.data)
		add("frame in geneve "+d.name, inet.TypeIPv4, v4(frame))
		add("frame in geneve over v6 "+d.name, inet.TypeIPv6, ipv6("fe80::1", "2001:db8::1", 17, frame))
		add("geneve without a frame "+d.name, inet.TypeIPv4, v4(geneve(kind, d.data)))
		add("tagged in geneve "+d.name, inet.TypeIPv4, v4(geneve(0x6558, ethernet[:12], octets16(inet.TypeVLAN, 300), octets16(kind), d.data)))
		add("labelled in geneve "+d.name, inet.TypeIPv4, v4(geneve(0x6558, ethernet[:12], octets16(inet.TypeMPLS), label(100, 1), d.data)))
		add("geneve in geneve "+d.name, inet.TypeIPv4, v4(geneve(inet.TypeIPv4, v4(frame))))
		add("geneve in a session "+d.name, inet.TypePPPoE, session, octets16(0x21), v4(frame))
	}
	return all
}
