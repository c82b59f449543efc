//go:build lab && linux

package lab

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

var floodFor = flag.Duration("floodfor", 3*time.Second, "how long each flood of strangers takes (60s, by command)")

// A flood of strangers, as fast as they can be sent, is followed in bounded memory, and
// every packet of it is seen, or the kernel says that it was lost. The end of the run
// takes no longer than what waits in the buffer.
func TestLiveFlood(t *testing.T) {
	client, server := joined(t)
	for _, c := range []struct {
		name string
		args string
		most int // MiB that it may take, its buffer included
		next func(r *rand.Rand, s *tcp.Segment)
	}{
		{"syn", "-o summary", 80, func(r *rand.Rand, s *tcp.Segment) { s.Flags = tcp.SYN }},
		{"flags", "-o table --interval 500ms", 104, func(r *rand.Rand, s *tcp.Segment) { s.Flags = tcp.Flags(r.IntN(512)) }},
		{"both ways", "-o summary --listen 127.0.0.1:9556", 128, func(r *rand.Rand, s *tcp.Segment) { // few, so that there are connections among them
			s.Flags = []tcp.Flags{tcp.SYN, tcp.SYN | tcp.ACK, tcp.ACK, tcp.FIN | tcp.ACK, tcp.RST}[r.IntN(5)]
			s.Seq, s.Ack = tcp.Seq(r.IntN(4)), tcp.Seq(r.IntN(4))
			if s.Src = netip.AddrPortFrom(s.Src.Addr(), uint16(1024+r.IntN(20_000))); r.IntN(2) == 0 {
				s.Src, s.Dst = s.Dst, s.Src
			}
		}},
	} {
		w := watchIn(t, client, append([]string{"live", "-i", "veth", "--max-memory", "64MiB", "-B", "2MiB"}, strings.Fields(c.args)...)...)
		r, began := rand.New(rand.NewPCG(1, 2)), time.Now()
		frame := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}
		before, sent := lostByDevice(t, server), 0
		for time.Since(began) < *floodFor {
			server.must(t, func() error {
				n, err := sendFrames("veth", 20_000, func(int) []byte {
					var from [4]byte
					binary.BigEndian.PutUint32(from[:], 11<<24|r.Uint32()>>8)
					s := tcp.Segment{
						Src: netip.AddrPortFrom(netip.AddrFrom4(from), uint16(r.Uint32())), Dst: netip.MustParseAddrPort("10.77.0.3:7000"),
						Seq: tcp.Seq(r.Uint32()), Ack: tcp.Seq(r.Uint32()), Wnd: 1000, ID: uint16(r.Uint32()),
					}
					c.next(r, &s)
					frame = pktgen.Append(frame[:14], &s)
					return frame
				})
				sent += n
				return err
			})
		}
		took := time.Since(began)
		sent -= lostByDevice(t, server) - before
		peak, _ := strconv.Atoi(strings.TrimSuffix(w.status("VmHWM"), " kB"))
		ended := time.Now()
		out := w.stop(t)
		seen, dropped := countedIn(out)
		t.Logf("%s: %d sent in %v, %d seen, %d dropped, peak %d kB, ended in %v", c.name, sent, took.Round(time.Millisecond), seen, dropped, peak, time.Since(ended).Round(time.Millisecond))
		if seen+dropped != sent {
			t.Errorf("%s: %d packets were sent, %d seen and %d dropped", c.name, sent, seen, dropped)
		}
		if peak == 0 || peak > c.most<<10 {
			t.Errorf("%s: it took %d kB, want at most %d MiB", c.name, peak, c.most)
		}
		if seen < 1000 {
			t.Errorf("%s: it hardly saw any", c.name)
		}
	}
}
