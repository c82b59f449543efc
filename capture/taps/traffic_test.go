package taps_test

import (
	"bufio"
	"cmp"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A pathway has two taps, 5 ms apart, and hosts next to them.
type pathway struct {
	packets int // to be sent, about so many
	short   bool
	lossy   bool // every hundredth segment with data is lost, and sent again
	pace    time.Duration
	sent    []sending
}

const oneWay = 5 * time.Millisecond

// A sending is a segment that a host sends.
type sending struct {
	at       tcp.Time
	flow     int32
	toServer bool
	lost     bool
	flags    tcp.Flags
	data     uint16
	id       uint16
	seq, ack uint32
}

// run has the hosts send.
func (p *pathway) run() {
	start := tcp.Time(1_700_000_000 * 1e9)
	if p.short {
		for i := 0; len(p.sent) < p.packets; i++ {
			p.connect(int32(i), start.Add(time.Duration(i)*p.pace))
		}
		return
	}
	const flows = 16
	for i := range int32(flows) {
		p.transfer(i, start.Add(time.Duration(i)*700*time.Microsecond), p.packets/flows)
	}
}

func (p *pathway) send(at tcp.Time, flow int32, toServer bool, flags tcp.Flags, seq, ack uint32, data int) *sending {
	p.sent = append(p.sent, sending{at: at, flow: flow, toServer: toServer, flags: flags, seq: seq, ack: ack, data: uint16(data), id: uint16(len(p.sent))})
	return &p.sent[len(p.sent)-1]
}

// connect has a connection of ten segments.
func (p *pathway) connect(flow int32, t tcp.Time) {
	c, s := uint32(flow)*7919+1, uint32(flow)*104729+1
	p.send(t, flow, true, tcp.SYN, c, 0, 0)
	p.send(t.Add(oneWay), flow, false, tcp.SYN|tcp.ACK, s, c+1, 0)
	t = t.Add(2 * oneWay)
	p.send(t, flow, true, tcp.ACK, c+1, s+1, 0)
	p.send(t.Add(20*time.Microsecond), flow, true, tcp.ACK|tcp.PSH, c+1, s+1, 200)
	t = t.Add(oneWay + 90*time.Microsecond)
	p.send(t, flow, false, tcp.ACK, s+1, c+201, 0)
	p.send(t.Add(time.Millisecond), flow, false, tcp.ACK|tcp.PSH, s+1, c+201, 900)
	t = t.Add(oneWay + 2*time.Millisecond)
	p.send(t, flow, true, tcp.FIN|tcp.ACK, c+201, s+901, 0)
	p.send(t.Add(oneWay), flow, false, tcp.FIN|tcp.ACK, s+901, c+202, 0)
	p.send(t.Add(2*oneWay), flow, true, tcp.ACK, c+202, s+902, 0)
}

// transfer has a connection of so many segments: the client sends 32 of data in each round
// trip, of which every second is acknowledged.
func (p *pathway) transfer(flow int32, t tcp.Time, segments int) {
	const size, inFlight = 1448, 32
	c, s := uint32(flow)*7919+1, uint32(flow)*104729+1
	p.send(t, flow, true, tcp.SYN, c, 0, 0)
	p.send(t.Add(oneWay), flow, false, tcp.SYN|tcp.ACK, s, c+1, 0)
	t = t.Add(2 * oneWay)
	p.send(t, flow, true, tcp.ACK, c+1, s+1, 0)
	c, s = c+1, s+1
	for n := 0; n < segments; n += inFlight * 3 / 2 {
		missing := uint32(0) // that was lost
		for i := range inFlight {
			at := t.Add(time.Duration(i) * 12 * time.Microsecond)
			flags := tcp.ACK
			if i == inFlight-1 {
				flags |= tcp.PSH
			}
			k := p.send(at, flow, true, flags, c, s, size)
			if p.lossy && missing == 0 && i < inFlight-4 && (n+i)%100 == 7 {
				k.lost, missing = true, c
			}
			c += size
			if i%2 == 1 {
				ack := c
				if missing != 0 {
					ack = missing
				}
				p.send(at.Add(oneWay+3*time.Microsecond), flow, false, tcp.ACK, s, ack, 0)
			}
		}
		t = t.Add(2*oneWay + inFlight*12*time.Microsecond)
		if missing != 0 {
			p.send(t, flow, true, tcp.ACK, missing, s, size)
			p.send(t.Add(oneWay+3*time.Microsecond), flow, false, tcp.ACK, s, c, 0)
			t = t.Add(2*oneWay + 10*time.Microsecond)
		}
		t = t.Add(p.pace)
	}
}

// write writes what the two taps capture, and returns the files.
func (p *pathway) write(t testing.TB) (client, server string) {
	t.Helper()
	p.run()
	dir := t.TempDir()
	client, server = filepath.Join(dir, "client.pcap"), filepath.Join(dir, "server.pcap")
	for i, name := range []string{client, server} {
		atServer := i == 1
		when := func(k *sending) tcp.Time {
			if k.toServer == atServer {
				return k.at.Add(oneWay)
			}
			return k.at
		}
		slices.SortStableFunc(p.sent, func(a, b sending) int { return cmp.Compare(when(&a), when(&b)) })
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b := bufio.NewWriterSize(f, 1<<18)
		w, err := pktgen.NewPcap(b, pcap.LinkEthernet, 96)
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.sent {
			k := &p.sent[i]
			if k.lost && k.toServer == atServer {
				continue
			}
			s := k.segment()
			s.Time = when(k)
			if err := w.WriteSegment(&s, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	return client, server
}

// segment returns what is sent.
func (k *sending) segment() tcp.Segment {
	c := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(k.flow >> 16), byte(k.flow >> 8), byte(k.flow)}), uint16(32768+k.flow%16384))
	s := netip.MustParseAddrPort("198.51.100.7:5001")
	seg := tcp.Segment{Src: c, Dst: s, Seq: tcp.Seq(k.seq), Ack: tcp.Seq(k.ack), Flags: k.flags, Data: tcp.Size(k.data), ID: k.id, Wnd: 501, TTL: 64}
	if !k.toServer {
		seg.Src, seg.Dst = s, c
	}
	seg.Options.HasTS, seg.Options.TSVal = true, uint32(k.at/1e6)
	if seg.Flags.Any(tcp.SYN) {
		seg.Options.MSS, seg.Options.SACKOK = 1460, true
	}
	return seg
}
