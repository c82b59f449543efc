package pktgen

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// An Attack is what somebody sends who wants whoever reads the capture to run out of
// memory or time: of everything that is remembered there is an attack that makes much
// of it. Two that are equal have the same packets, octet for octet.
type Attack struct {
	Kind    string // one of Attacks
	Packets int    // about so many
	Seed    uint64
}

// Attacks returns the kinds of attacks.
func Attacks() (names []string) {
	for _, a := range attacks {
		names = append(names, a.name)
	}
	return names
}

// Write writes the attack as a capture of an Ethernet and returns the number of
// packets. The error is that of w. It panics if the kind does not exist.
func (a Attack) Write(w io.Writer) (packets int, err error) {
	at := slices.IndexFunc(attacks, func(k attackKind) bool { return k.name == a.Kind })
	if at < 0 {
		panic(fmt.Sprintf("pktgen: unknown kind of attack %q", a.Kind))
	}
	buffered := bufio.NewWriterSize(w, 1<<18)
	g := &attacker{Rand: rand.New(rand.NewPCG(a.Seed, 793)), now: trafficStart, pause: 10 * time.Microsecond, out: buffered}
	if !attacks[at].blocks {
		if g.pcap, err = NewPcap(buffered, pcap.LinkEthernet, attackSnap); err != nil {
			return 0, err
		}
	}
	for i := 0; g.packets < a.Packets && g.err == nil; i++ {
		attacks[at].step(g, i)
	}
	if g.err != nil {
		return g.packets, g.err
	}
	return g.packets, buffered.Flush()
}

// attackSnap is the snap length of attacks.
const attackSnap = 512

// An attackKind makes one kind of attack, a few packets at a step.
type attackKind struct {
	name   string
	step   func(g *attacker, i int)
	blocks bool // it writes pcapng blocks itself
}

// An attacker writes packets.
type attacker struct {
	*rand.Rand
	out     io.Writer
	pcap    *Pcap
	blocks  pcap.Blocks
	now     tcp.Time
	pause   time.Duration // between two packets
	packets int
	err     error
	options tcp.Options // of the next segments
	wnd     uint16      // of these; 0: 1,000
	icmp    tcp.ICMP    // what the next segments are quoted in
	urg     uint16
	seq     [2]uint32 // of a conversation that goes on
}

// victim is the server that most attacks are about.
var victim = netip.AddrFrom4([4]byte{192, 0, 2, 1})

// end returns an end of a connection.
func end(host netip.Addr, port int) netip.AddrPort { return netip.AddrPortFrom(host, uint16(port)) }

// stranger returns the i-th of very many ends of clients.
func stranger(i int) netip.AddrPort { return end(clientAt(i), lowPort+i>>24%ports) }

// fellow returns the i-th of the ends of a few clients.
func fellow(i int) netip.AddrPort { return end(clientAt(i%16), lowPort+i/16%ports) }

// sends writes a segment.
func (g *attacker) sends(src, dst netip.AddrPort, flags tcp.Flags, seq, ack uint32, data int) {
	s := tcp.Segment{Time: g.now, Src: src, Dst: dst, Flags: flags, Seq: tcp.Seq(seq), Ack: tcp.Seq(ack), Data: tcp.Size(data),
		Wnd: g.wnd, Options: g.options, ICMP: g.icmp, Urg: g.urg, ID: uint16(g.Uint32())}
	if s.Wnd == 0 {
		s.Wnd = 1000
	}
	if s.Wnd == noWindow {
		s.Wnd = 0
	}
	if g.err == nil {
		g.err = g.pcap.WriteSegment(&s, 0)
	}
	g.passes()
}

// noWindow has segments close their window.
const noWindow = 65535

// frame writes what carries IP in a frame.
func (g *attacker) frame(src, dst netip.Addr, packet []byte) {
	if g.err == nil {
		g.err = g.pcap.Write(g.now, append(appendEthernet(nil, src, dst, 0), packet...))
	}
	g.passes()
}

// passes counts a packet, after which time passes.
func (g *attacker) passes() {
	g.packets++
	g.now = g.now.Add(g.pause)
}

// opens writes a handshake, in which the client has the numbers from 1000 on, and the
// server those from 5000 on.
func (g *attacker) opens(client, server netip.AddrPort) {
	g.sends(client, server, tcp.SYN, 1000, 0, 0)
	g.sends(server, client, tcp.SYN|tcp.ACK, 5000, 1001, 0)
	g.sends(client, server, tcp.ACK, 1001, 5001, 0)
}

// closes writes an orderly close behind a handshake.
func (g *attacker) closes(client, server netip.AddrPort) {
	g.sends(client, server, tcp.FIN|tcp.ACK, 1001, 5001, 0)
	g.sends(server, client, tcp.FIN|tcp.ACK, 5001, 1002, 0)
	g.sends(client, server, tcp.ACK, 1002, 5002, 0)
}

// first opens the one connection that an attack is about, and returns its ends.
func (g *attacker) first(i int) (client, server netip.AddrPort) {
	client, server = end(clientAt(1), lowPort), end(victim, servicePort)
	if i == 0 {
		g.opens(client, server)
		g.seq = [2]uint32{1001, 5001}
	}
	return client, server
}

// block writes the pcapng blocks that were made.
func (g *attacker) block() {
	if g.err == nil {
		_, g.err = g.out.Write(g.blocks.Bytes())
	}
	g.blocks.Reset()
	g.passes()
}

// alone is an attack of segments each of which is of a connection of its own.
func alone(name string, flags tcp.Flags, fromServer bool) attackKind {
	return attackKind{name: name, step: func(g *attacker, i int) {
		src, dst := stranger(i), end(victim, servicePort)
		if fromServer {
			src, dst = dst, src
		}
		g.sends(src, dst, flags, g.Uint32(), g.Uint32(), 0)
	}}
}

// upon is an attack on one connection, which was opened properly.
func upon(name string, step func(g *attacker, client, server netip.AddrPort)) attackKind {
	return attackKind{name: name, step: func(g *attacker, i int) {
		client, server := g.first(i)
		step(g, client, server)
	}}
}

// each is an attack of connections that are opened properly, and then are used so.
func each(name string, step func(g *attacker, client, server netip.AddrPort)) attackKind {
	return attackKind{name: name, step: func(g *attacker, i int) {
		client, server := stranger(i), end(victim, servicePort)
		g.opens(client, server)
		step(g, client, server)
	}}
}

// attacks are all kinds of attacks.
var attacks = []attackKind{
	alone("syn", tcp.SYN, false),
	alone("ack", tcp.ACK, false),
	alone("fin", tcp.FIN|tcp.ACK, false),
	alone("rst", tcp.RST, false),
	alone("syn-ack", tcp.SYN|tcp.ACK, true),
	alone("data", tcp.PSH|tcp.ACK, false),
	{name: "syn-ipv6", step: func(g *attacker, i int) {
		g.sends(end(toIPv6(clientAt(i)), g.IntN(65536)), end(toIPv6(victim), servicePort), tcp.SYN, g.Uint32(), 0, 0)
	}},
	{name: "syn-spoofed-pairs", step: func(g *attacker, i int) { // no two packets have an address in common
		g.sends(stranger(2*i), end(clientAt(2*i+1), g.IntN(65536)), tcp.SYN, g.Uint32(), 0, 0)
	}},
	{name: "flags", step: func(g *attacker, i int) {
		g.sends(stranger(i), end(victim, servicePort), tcp.Flags(g.IntN(512)), g.Uint32(), g.Uint32(), g.IntN(2))
	}},
	{name: "flags-few", step: func(g *attacker, i int) {
		g.wnd = uint16(g.Uint32())
		ends := [2]netip.AddrPort{fellow(g.IntN(64)), end(victim, servicePort)}
		from := g.IntN(2)
		g.sends(ends[from], ends[1-from], tcp.Flags(g.IntN(512)), uint32(g.IntN(1<<14)), uint32(g.IntN(1<<14)), g.IntN(3)*g.IntN(1000))
	}},
	{name: "scan-fast", step: func(g *attacker, i int) {
		client, server := end(clientAt(1), lowPort+i%ports), end(clientAt(1000+i/1000), 1+i%1000*7)
		g.sends(client, server, tcp.SYN, g.Uint32(), 0, 0)
		g.sends(server, client, tcp.RST|tcp.ACK, 0, g.Uint32(), 0)
	}},
	{name: "scan-slow", step: func(g *attacker, i int) {
		g.pause = 5 * time.Second
		g.sends(end(clientAt(i%256), lowPort+i/256%ports), end(clientAt(1000+i%1024), 1+i/1024%65535), tcp.SYN, g.Uint32(), 0, 0)
	}},
	{name: "refused", step: func(g *attacker, i int) {
		client, server := stranger(i), end(victim, servicePort)
		g.sends(client, server, tcp.SYN, 1000, 0, 0)
		g.sends(server, client, tcp.RST|tcp.ACK, 0, 1001, 0)
	}},
	{name: "incarnations", step: func(g *attacker, i int) {
		client, server := end(clientAt(1), lowPort), end(victim, servicePort)
		g.opens(client, server)
		g.closes(client, server)
		g.now = g.now.Add(2 * time.Minute)
	}},
	{name: "incarnations-reset", step: func(g *attacker, i int) {
		client, server := fellow(i%4), end(victim, servicePort)
		g.sends(client, server, tcp.SYN, g.Uint32(), 0, 0)
		g.sends(client, server, tcp.RST, g.Uint32(), 0, 0)
	}},
	{name: "time-wait-reuse", step: func(g *attacker, i int) {
		client, server := fellow(i%64), end(victim, servicePort)
		isn := uint32(i) << 8
		g.sends(client, server, tcp.SYN, isn, 0, 0)
		g.sends(server, client, tcp.SYN|tcp.ACK, isn, isn+1, 0)
		g.sends(client, server, tcp.ACK, isn+1, isn+1, 0)
		g.sends(client, server, tcp.FIN|tcp.ACK, isn+1, isn+1, 0)
		g.sends(server, client, tcp.FIN|tcp.ACK, isn+1, isn+2, 0)
		g.sends(client, server, tcp.ACK, isn+2, isn+2, 0)
	}},
	{name: "listeners", step: func(g *attacker, i int) {
		g.opens(end(clientAt(1), lowPort+i%ports), end(clientAt(1000+i/50_000), 1+i%50_000))
	}},
	each("half-open", func(g *attacker, client, server netip.AddrPort) {}),
	each("closed", func(g *attacker, client, server netip.AddrPort) { g.closes(client, server) }),
	each("close-wait", func(g *attacker, client, server netip.AddrPort) {
		g.sends(client, server, tcp.FIN|tcp.ACK, 1001, 5001, 0)
		g.sends(server, client, tcp.ACK, 5001, 1002, 0)
		g.pause = time.Millisecond
	}),
	each("aborted", func(g *attacker, client, server netip.AddrPort) {
		g.sends(client, server, tcp.PSH|tcp.ACK, 1001, 5001, 100)
		g.sends(server, client, tcp.RST|tcp.ACK, 5001, 1101, 0)
		g.sends(server, client, tcp.RST, 5001, 0, 0)
	}),
	{name: "midstream", step: func(g *attacker, i int) { // each with anomalies
		client, server := stranger(i), end(victim, servicePort)
		seq := g.Uint32()
		g.sends(client, server, tcp.PSH|tcp.ACK, seq, 5001, 100)
		g.sends(client, server, tcp.PSH|tcp.ACK, seq, 5001, 100)
		g.sends(server, client, tcp.ACK, 5001, seq+100_000, 0)
		g.sends(client, server, tcp.RST, seq+50, 0, 0)
		g.sends(client, server, tcp.FIN|tcp.ACK, seq+100, 5001, 0)
	}},
	{name: "icmp", step: func(g *attacker, i int) {
		g.icmp = tcp.ICMP{Type: 3, Code: uint8(g.IntN(16)), From: clientAt(i + 7)}
		g.sends(stranger(i), end(victim, servicePort), 0, g.Uint32(), 0, 0)
	}},
	each("icmp-answers", func(g *attacker, client, server netip.AddrPort) {
		g.icmp = tcp.ICMP{Type: 3, Code: uint8(g.IntN(16)), From: clientAt(g.IntN(1 << 24))}
		g.sends(client, server, 0, 1001, 0, 0)
		g.icmp = tcp.ICMP{}
	}),
	upon("rst-blind", func(g *attacker, client, server netip.AddrPort) {
		g.sends(client, server, tcp.RST, g.Uint32(), 0, 0)
	}),
	upon("data-blind", func(g *attacker, client, server netip.AddrPort) {
		g.sends(client, server, tcp.PSH|tcp.ACK, g.Uint32(), g.Uint32(), g.IntN(1400))
	}),
	upon("challenges", func(g *attacker, client, server netip.AddrPort) {
		g.sends(client, server, tcp.SYN, g.Uint32(), 0, 0)
		g.sends(server, client, tcp.ACK, 5001, 1001, 0)
	}),
	upon("keepalive", func(g *attacker, client, server netip.AddrPort) {
		g.pause = 10 * time.Second
		g.sends(client, server, tcp.ACK, 1000, 5001, 0)
		g.sends(server, client, tcp.ACK, 5001, 1001, 0)
	}),
	upon("window-probes", func(g *attacker, client, server netip.AddrPort) {
		g.pause = time.Second
		g.sends(client, server, tcp.ACK, 1001, 5001, 1)
		g.wnd = noWindow
		g.sends(server, client, tcp.ACK, 5001, 1001, 0)
		g.wnd = 0
	}),
	upon("sack", func(g *attacker, client, server netip.AddrPort) {
		g.sends(client, server, tcp.ACK, g.seq[0]+2000, 5001, 1000)
		g.options = tcp.Options{NumSACK: 4}
		for i := range g.options.SACK {
			left := tcp.Seq(g.seq[0] + uint32(g.IntN(1<<16)))
			g.options.SACK[i] = tcp.Block{Left: left, Right: left + tcp.Seq(g.IntN(5000))}
		}
		g.sends(server, client, tcp.ACK, 5001, g.seq[0], 0)
		g.options = tcp.Options{}
		g.seq[0] += uint32(g.IntN(3))
	}),
	upon("holes", func(g *attacker, client, server netip.AddrPort) { // every second segment is missing
		g.seq[0] += 2000
		g.sends(client, server, tcp.ACK, g.seq[0], 5001, 1000)
	}),
	upon("acks-ahead", func(g *attacker, client, server netip.AddrPort) { // of what was not captured
		g.seq[0] += 1_000_000
		g.sends(server, client, tcp.ACK, 5001, g.seq[0], 0)
	}),
	upon("retransmitted", func(g *attacker, client, server netip.AddrPort) {
		g.sends(client, server, tcp.PSH|tcp.ACK, 1001+uint32(g.IntN(20))*100, 5001, 200)
	}),
	upon("urgent", func(g *attacker, client, server netip.AddrPort) {
		g.urg = uint16(g.Uint32())
		g.sends(client, server, tcp.URG|tcp.ACK, g.seq[0], 5001, 10)
		g.seq[0] += 10
	}),
	upon("fins", func(g *attacker, client, server netip.AddrPort) {
		g.sends(client, server, tcp.FIN|tcp.ACK, 1001+uint32(g.IntN(5000)), 5001, 0)
		g.sends(server, client, tcp.ACK, 5001, 1001, 0)
	}),
	{name: "duplicates", step: func(g *attacker, i int) {
		client, server, before := stranger(i), end(victim, servicePort), g.Rand
		for range 2 {
			seed := rand.NewPCG(uint64(i), 1) // the same numbers again
			g.Rand = rand.New(seed)
			g.opens(client, server)
			g.closes(client, server)
		}
		g.Rand = before
	}},
	{name: "simultaneous", step: func(g *attacker, i int) {
		a, b := stranger(i), end(victim, servicePort)
		g.sends(a, b, tcp.SYN, 1000, 0, 0)
		g.sends(b, a, tcp.SYN, 5000, 0, 0)
		g.sends(a, b, tcp.SYN|tcp.ACK, 1000, 5001, 0)
		g.sends(b, a, tcp.SYN|tcp.ACK, 5000, 1001, 0)
	}},
	{name: "clock-back", step: func(g *attacker, i int) {
		g.pause = -time.Millisecond
		g.sends(stranger(i/2), end(victim, servicePort), tcp.SYN, uint32(i/2), 0, 0)
	}},
	{name: "clock-jumps", step: func(g *attacker, i int) {
		g.now = trafficStart.Add(time.Duration(g.IntN(1<<30)) * time.Second / 4)
		client, server := stranger(i/8), end(victim, servicePort)
		g.sends(client, server, []tcp.Flags{tcp.SYN, tcp.ACK, tcp.FIN | tcp.ACK, tcp.RST}[i%4], 1000+uint32(i%8), 1, 0)
	}},
	{name: "options", step: func(g *attacker, i int) {
		src, dst := stranger(i), end(victim, servicePort)
		s := tcp.Segment{Src: src, Dst: dst, Flags: tcp.SYN, Seq: tcp.Seq(g.Uint32()), Wnd: 1000, Options: tcp.Options{Signed: true, HasTS: true, MSS: 1}}
		b := Append(nil, &s)
		for k := inet.IPv4Size + inet.TCPSize; k < len(b); k++ {
			b[k] = byte(g.Uint32())
		}
		g.frame(src.Addr(), dst.Addr(), b)
	}},
	{name: "fragments", step: func(g *attacker, i int) { // of datagrams none of which is complete
		g.fragment(i, 8*g.IntN(1000), true)
	}},
	{name: "fragments-small", step: func(g *attacker, i int) { // very many of each datagram
		g.fragment(i/2000, 8*(i%2000), true)
	}},
	{name: "fragments-overlapping", step: func(g *attacker, i int) {
		g.fragment(i/300, 8*g.IntN(20), g.IntN(10) > 0)
	}},
	{name: "tunnels", step: func(g *attacker, i int) { g.tunnel(i, 3) }},
	{name: "tunnels-deep", step: func(g *attacker, i int) { g.tunnel(i, 15) }},
	{name: "vlans", step: func(g *attacker, i int) {
		s := tcp.Segment{Time: g.now, Src: stranger(i % 100), Dst: end(victim, servicePort), Flags: tcp.SYN, Seq: 1, Wnd: 1000}
		if g.err == nil {
			g.err = g.pcap.WriteSegment(&s, uint16(1+i%4094))
		}
		g.passes()
	}},
	{name: "ipv6-extensions", step: func(g *attacker, i int) {
		src, dst := toIPv6(clientAt(i)), toIPv6(victim)
		s := tcp.Segment{Src: end(src, 1), Dst: end(dst, servicePort), Flags: tcp.SYN, Seq: tcp.Seq(g.Uint32()), Wnd: 1000}
		b := Append(nil, &s)
		chain := slices.Clone(b[:inet.IPv6Size])
		chain[6] = inet.ProtoDestOpts
		n := g.IntN(inet.MaxExtensions + 4)
		for range n {
			chain = append(chain, inet.ProtoDestOpts, 0, 1, 4, 0, 0, 0, 0)
		}
		if n > 0 {
			chain[len(chain)-8] = inet.ProtoTCP
		} else {
			chain[6] = inet.ProtoTCP
		}
		be.PutUint16(chain[4:], uint16(len(chain)-inet.IPv6Size+len(b)-inet.IPv6Size))
		g.frame(src, dst, append(chain, b[inet.IPv6Size:]...))
	}},
	{name: "names", step: func(g *attacker, i int) { // of an answer of the DNS
		src, dst := end(victim, 53), stranger(i)
		name := fmt.Sprintf("\x3fa%062d\x07example\x00", i)
		message := append([]byte{1, 2, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}, name...)
		message = append(message, 0, 1, 0, 1, 0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 10, byte(i>>16), byte(i>>8), byte(i))
		b := appendIP(nil, src.Addr(), dst.Addr(), inet.ProtoUDP, &tcp.Segment{})
		at := len(b)
		b = be.AppendUint16(be.AppendUint16(b, 53), dst.Port())
		b = append(be.AppendUint16(b, uint16(8+len(message))), 0, 0)
		b = append(b, message...)
		finish(b, b[at:], 0, inet.ProtoUDP, 6)
		g.frame(src.Addr(), dst.Addr(), b)
		g.sends(stranger(i+1), netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 80), tcp.SYN, 1, 0, 0)
	}},
	{name: "interfaces", blocks: true, step: func(g *attacker, i int) { // in many sections, each with many
		if i%2000 == 0 {
			g.blocks.Section("attack")
		}
		g.blocks.Interface(fmt.Sprintf("interface-with-a-long-name-%d", i), pcap.LinkRaw, 0)
		s := tcp.Segment{Src: stranger(i), Dst: end(victim, servicePort), Flags: tcp.SYN, Wnd: 1000}
		data := Append(nil, &s)
		g.blocks.Packet(i%2000, &pcap.Record{Data: data, Wire: len(data), Time: g.now}, "")
		g.block()
	}},
	{name: "name-blocks", blocks: true, step: func(g *attacker, i int) {
		if i == 0 {
			g.blocks.Section("attack")
			g.blocks.Interface("eth0", pcap.LinkRaw, 0)
		}
		for range 20 {
			host := clientAt(g.IntN(1 << 24))
			g.blocks.Names(host, fmt.Sprintf("%0200d.example", g.Uint32()))
		}
		s := tcp.Segment{Src: stranger(i), Dst: end(clientAt(g.IntN(1<<24)), servicePort), Flags: tcp.SYN, Wnd: 1000}
		data := Append(nil, &s)
		g.blocks.Packet(0, &pcap.Record{Data: data, Wire: len(data), Time: g.now}, "")
		g.block()
	}},
}

// fragment writes a fragment of the i-th datagram, of 8 octets at an offset.
func (g *attacker) fragment(i, offset int, more bool) {
	src, dst := clientAt(i%(1<<20)), victim
	b := appendIP(nil, src, dst, inet.ProtoTCP, &tcp.Segment{ID: uint16(i)})
	field := uint16(offset / 8)
	if more {
		field |= 0x2000
	}
	be.PutUint16(b[6:], field)
	b = append(b, 0x80, 0, 0x13, 0x89, 0, 0, 0, byte(offset))
	be.PutUint16(b[2:], uint16(len(b)))
	be.PutUint16(b[10:], fold(sum(b[:inet.IPv4Size])))
	g.frame(src, dst, b)
}

// tunnel writes a SYN in so many headers of IP.
func (g *attacker) tunnel(i, depth int) {
	s := tcp.Segment{Src: stranger(i), Dst: end(victim, servicePort), Flags: tcp.SYN, Seq: tcp.Seq(g.Uint32()), Wnd: 1000}
	b := Append(nil, &s)
	for k := range depth {
		outer := appendIP(nil, clientAt(g.IntN(1<<24)), clientAt(i%7), inet.ProtoIPv4, &tcp.Segment{ID: uint16(k)})
		be.PutUint16(outer[2:], uint16(len(outer)+len(b)))
		be.PutUint16(outer[10:], fold(sum(outer[:inet.IPv4Size])))
		b = append(outer, b...)
	}
	g.frame(clientAt(1), victim, b)
}
