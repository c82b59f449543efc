package decode

import (
	"bytes"
	"compress/flate"
	"io"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
)

// Headers between IP and what it carries that hide it: of IPComp what is deflated,
// of ESP what is not encrypted, are what the header of IP before them carries.

const (
	protoESP    = 50
	protoIPComp = 108
)

// ipComp reads what is compressed (RFC 3173): as DEFLATE, whatever the two ends call
// it.
func (p *Decoder) ipComp(f frame, n *network) Verdict {
	const header = 4
	rest, ok := f.after(header)
	if !ok {
		return f.missing()
	}
	if p.depth++; p.depth > MaxDepth { // what it is deflated to may be the same again
		return Undecodable
	}
	if !rest.whole() {
		return p.pass("IPComp", Compressed)
	}
	from := bytes.NewReader(rest.data)
	if p.inflate == nil {
		p.inflate = flate.NewReader(from)
	} else if err := p.inflate.(flate.Resetter).Reset(from, nil); err != nil {
		return p.pass("IPComp", Compressed)
	}
	data, err := io.ReadAll(io.LimitReader(p.inflate, maxDatagram))
	if err != nil || len(data) == 0 {
		return p.pass("IPComp", Compressed)
	}
	return p.payload(f.data[0], frame{data, len(data)}, n)
}

// nullESP reads what ESP does not encrypt (RFC 2410), which nothing tells but that it
// is all right: the padding counts from 1, and IP or TCP are behind the header.
func (p *Decoder) nullESP(f frame, n *network) Verdict {
	const header, trailer = 8, 2
	for _, check := range [...]int{12, 16, 8, 24, 32, 0} { // octets of the check value
		end := len(f.data) - check - trailer
		if !f.whole() || end <= header {
			continue
		}
		padding, next := int(f.data[end]), f.data[end+1]
		inside := frame{f.data[header:max(header, end-padding)], max(0, end-padding-header)}
		if !counts(f.data[header+len(inside.data) : end]) {
			continue
		}
		switch next {
		case inet.ProtoIPv4, inet.ProtoIPv6:
			if inside.isIP() {
				return p.payload(next, inside, n)
			}
		case inet.ProtoTCP:
			if h := inside.data; len(h) >= inet.TCPSize && h[12]>>4 >= 5 && int(h[12]>>4)*4 <= len(h) && h[12]&0xe == 0 {
				return p.payload(next, inside, n)
			}
		}
	}
	return p.pass("ESP", Encrypted)
}

// counts reports whether octets count from 1.
func counts(b []byte) bool {
	for i, c := range b {
		if int(c) != i+1 {
			return false
		}
	}
	return true
}
