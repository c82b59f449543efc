package decode

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
	"golang.org/x/net/dns/dnsmessage"
)

// Names of hosts, as packets tell them: in answers of the DNS (UDP from port 53,
// or 5353), in the ClientHello of TLS, and in the Host field of HTTP/1. All of it
// is written by who sends the packet, and may be a lie.
//
// What is looked at of a segment is its first octet, unless that may begin a
// ClientHello or a request, or its number may be that of a segment that is waited
// for. Memory is bounded: a few ClientHellos that wait for their next segment, each
// of them at most maxHello octets.

// A Named is a name that a packet tells, or what a file says beside a packet.
type Named struct {
	Name string     // lower case, without a dot at the end; it may hold anything
	Host netip.Addr // that has it

	// Of the DNS: who was told; not valid: anybody. Of TLS and HTTP: the two ends, of which the server
	// has the name.
	Asker          netip.Addr
	Client, Server netip.AddrPort

	Comment string // of a packet in a pcapng file; then there is nothing else

	// The process that Client is of, as the file says beside a packet, which then opens the
	// connection, or does not; then there is no Name.
	Program string
	PID     int
	Opens   bool
}

const (
	portDNS, portMDNS = 53, 5353

	maxName    = 255
	maxAnswers = 256     // records of an answer that are looked at
	maxAliases = 16      // names that lead to an address
	maxRequest = 8 << 10 // octets of a request that are looked at
	maxMethod  = 16      // and of its method
	maxHello   = 16 << 10
	maxHellos  = 64 // that wait

	// helloTime is how long a ClientHello may take.
	helloTime = 10 * time.Second
)

// Naming reports whether the newest packet may tell of names. With Options.Names it
// is to be asked after every packet, and Named if it may.
func (p *Decoder) Naming() bool { return p.naming }

// Named returns the names that the newest packet tells, good until the next. The
// segment and the time are those of the packet.
func (p *Decoder) Named(s *tcp.Segment, at tcp.Time) []Named {
	if p.data != nil {
		p.client(s, p.data, at)
	}
	named := p.named
	p.naming, p.data, p.named = false, nil, named[:0]
	return named
}

// namesIn reports whether a datagram may tell of names.
func namesIn(datagram []byte) bool {
	return len(datagram) > udpSize && (be16(datagram) == portDNS || be16(datagram) == portMDNS)
}

// tell takes a name that the packet tells.
func (p *Decoder) tell(n Named) {
	if n.Name = strings.ToLower(strings.TrimSuffix(n.Name, ".")); n.Name != "" && len(n.Name) <= maxName {
		p.named, p.naming = append(p.named, n), true
	}
}

// dns takes the addresses of an answer. What leads to one by aliases has its name:
// the first of them, which is what was asked for.
func (p *Decoder) dns(datagram []byte, asker netip.Addr) {
	var d dnsmessage.Parser
	h, err := d.Start(datagram[udpSize:])
	if err != nil || !h.Response || d.SkipAllQuestions() != nil {
		return
	}
	type address struct {
		name string
		addr netip.Addr
	}
	var addrs []address
	aliasOf := make(map[string]string) // by what it leads to
	for range maxAnswers {
		rr, err := d.AnswerHeader()
		if err != nil {
			break
		}
		name := strings.ToLower(rr.Name.String())
		switch {
		case rr.Type == dnsmessage.TypeA && rr.Class&^cacheFlush == dnsmessage.ClassINET:
			a, err := d.AResource()
			if err != nil {
				return
			}
			addrs = append(addrs, address{name, netip.AddrFrom4(a.A)})
		case rr.Type == dnsmessage.TypeAAAA && rr.Class&^cacheFlush == dnsmessage.ClassINET:
			a, err := d.AAAAResource()
			if err != nil {
				return
			}
			addrs = append(addrs, address{name, netip.AddrFrom16(a.AAAA)})
		case rr.Type == dnsmessage.TypeCNAME:
			c, err := d.CNAMEResource()
			if err != nil {
				return
			}
			aliasOf[strings.ToLower(c.CNAME.String())] = name
		default:
			if d.SkipAnswer() != nil {
				return
			}
		}
	}
	for _, a := range addrs {
		for range maxAliases {
			alias, is := aliasOf[a.name]
			if !is {
				break
			}
			a.name = alias
		}
		p.tell(Named{Name: a.name, Host: a.addr, Asker: asker})
	}
}

// cacheFlush is the bit of the class that multicast DNS has another use for (RFC
// 6762 §10.2).
const cacheFlush = 0x8000

// A helloKey names the flow that a ClientHello comes in.
type helloKey struct{ src, dst netip.AddrPort }

// A hello is a ClientHello that is not whole yet.
type hello struct {
	next tcp.Seq
	data []byte
	at   tcp.Time
}

// mayName reports whether what a segment carries may tell of names: by its first
// octet, that of a record of a handshake or a letter as requests begin with, or
// because a ClientHello may go on in it.
func (p *Decoder) mayName(first byte, at tcp.Seq) bool {
	return first == recordHandshake || first-'A' < 26 || p.helloNext>>(at&63)&1 != 0
}

// isRequest reports whether the data begins with a method, as requests do.
func isRequest(data []byte) bool {
	for i, b := range data[:min(len(data), maxMethod)] {
		if b-'A' >= 26 {
			return b == ' ' && i > 0
		}
	}
	return false
}

// client takes what a segment carries, from its start on, as far as it was
// captured.
func (p *Decoder) client(s *tcp.Segment, data []byte, now tcp.Time) {
	if len(p.hellos) > 0 && p.goesOn(s, data, now) {
		return
	}
	if data[0] == recordHandshake {
		p.hello(s, data, now)
	} else if isRequest(data) {
		p.tellServer(s, hostOf(data[:min(len(data), maxRequest)]))
	}
}

// tellServer takes the name of the receiver of a segment.
func (p *Decoder) tellServer(s *tcp.Segment, name string) {
	p.tell(Named{Name: name, Host: s.Dst.Addr(), Client: s.Src, Server: s.Dst})
}

// hello takes octets from the start of a ClientHello on.
func (p *Decoder) hello(s *tcp.Segment, data []byte, now tcp.Time) {
	name, more := ServerName(data)
	p.tellServer(s, name)
	if !more || s.Cut != tcp.CutNone || len(data) > maxHello {
		return
	}
	if len(p.hellos) == maxHellos {
		p.forget(p.helloOrder[0])
	}
	if p.hellos == nil {
		p.hellos = make(map[helloKey]*hello)
	}
	key := helloKey{s.Src, s.Dst}
	p.hellos[key] = &hello{s.End(), bytes.Clone(data), now}
	p.helloOrder = append(p.helloOrder, key)
	p.helloNext |= 1 << (s.End() & 63)
}

// goesOn reports whether the segment is of a flow whose ClientHello was not whole
// yet.
func (p *Decoder) goesOn(s *tcp.Segment, data []byte, now tcp.Time) bool {
	if oldest := p.helloOrder[0]; now.Sub(p.hellos[oldest].at) > helloTime {
		p.forget(oldest)
	}
	key := helloKey{s.Src, s.Dst}
	h := p.hellos[key]
	if h == nil {
		return false
	}
	if s.Seq != h.next {
		return true // it comes again, or too early
	}
	p.forget(key)
	p.hello(s, append(h.data, data...), now)
	return true
}

// forget forgets a ClientHello.
func (p *Decoder) forget(key helloKey) {
	delete(p.hellos, key)
	i := slices.Index(p.helloOrder, key)
	p.helloOrder = slices.Delete(p.helloOrder, i, i+1)
	p.helloNext = 0
	for _, h := range p.hellos {
		p.helloNext |= 1 << (h.next & 63)
	}
}

// hostOf returns the Host of an HTTP/1 request, without the port; "" if there is
// none.
func hostOf(data []byte) string {
	line, fields, _ := bytes.Cut(data, []byte("\r\n"))
	if !bytes.Contains(line, []byte(" HTTP/1.")) {
		return ""
	}
	for {
		line, rest, ok := bytes.Cut(fields, []byte("\r\n"))
		if !ok || len(line) == 0 {
			return ""
		}
		fields = rest
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !strings.EqualFold(string(name), "host") {
			continue
		}
		host := string(bytes.TrimSpace(value))
		if at := strings.LastIndexByte(host, ':'); at >= 0 && !strings.HasSuffix(host, "]") {
			host = host[:at]
		}
		if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
			return "" // it says nothing new
		}
		return host
	}
}

// The parts of TLS (RFC 8446) that lead to a server name (RFC 6066 §3).
const (
	recordHandshake = 22
	clientHello     = 1
	extensionName   = 0
	nameHost        = 0
)

// ServerName returns the server name of a ClientHello that begins with the data;
// "" if there is none. More says that there may be one in what follows.
func ServerName(data []byte) (name string, more bool) {
	b := make([]byte, 0, len(data)) // of the handshake, without the heads of records
	for len(data) >= 5 && data[0] == recordHandshake && data[1] == 3 {
		n := min(int(be16(data[3:])), len(data)-5)
		b, data = append(b, data[5:5+n]...), data[5+n:]
	}
	if len(b) > 0 && b[0] != clientHello || len(b) == 0 && len(data) >= 5 {
		return "", false
	}
	whole := false
	if len(b) >= 4 {
		if n := int(b[1])<<16 | int(be16(b[2:])); n <= len(b)-4 {
			b, whole = b[:4+n], true
		}
	}
	name, cut := serverName(cursor{b})
	return name, cut && !whole && len(data) < 5 // else something else follows
}

// serverName reads a ClientHello. It returns cut if that ends too early.
func serverName(c cursor) (name string, cut bool) {
	if !c.skip(4+2+32) || !c.skipVector(1) || !c.skipVector(2) || !c.skipVector(1) {
		return "", true // its head, version and random; the session; ciphers; compression
	}
	left, ok := c.number(2)
	if !ok {
		return "", true
	}
	for left >= 4 {
		kind, _ := c.number(2)
		size, ok := c.number(2)
		if !ok {
			return "", true
		}
		if left -= 4 + size; left < 0 {
			return "", false
		}
		body, ok := c.take(size)
		if !ok {
			return "", true
		}
		if kind == extensionName {
			return hostName(cursor{body}), false
		}
	}
	return "", false
}

// hostName reads a list of names.
func hostName(c cursor) string {
	c.number(2)
	for {
		kind, _ := c.number(1)
		size, ok := c.number(2)
		if !ok {
			return ""
		}
		name, ok := c.take(size)
		if !ok {
			return ""
		}
		if kind == nameHost {
			return string(name)
		}
	}
}

// A cursor reads octets, and never beyond their end.
type cursor struct{ b []byte }

func (c *cursor) take(n int) (b []byte, ok bool) {
	if n > len(c.b) {
		c.b = nil
		return nil, false
	}
	b, c.b = c.b[:n], c.b[n:]
	return b, true
}

func (c *cursor) skip(n int) bool {
	_, ok := c.take(n)
	return ok
}

// number reads a number of so many octets.
func (c *cursor) number(octets int) (n int, ok bool) {
	b, ok := c.take(octets)
	for _, o := range b {
		n = n<<8 | int(o)
	}
	return n, ok
}

// skipVector passes over what its length, of so many octets, stands before.
func (c *cursor) skipVector(octets int) bool {
	n, ok := c.number(octets)
	return ok && c.skip(n)
}
