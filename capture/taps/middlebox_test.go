package taps_test

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// TestOtherIsAsCaptured has NAT, a clamped MSS and another window scale between the taps:
// events have the client's names, and Other what the server's tap captured.
func TestOtherIsAsCaptured(t *testing.T) {
	a, b := small(t)
	for i := range b {
		k := &b[i]
		if k.Src.Port() != 5001 {
			k.Src = netip.AddrPortFrom(outside, k.Src.Port()+1000)
			k.TTL -= 2
		} else {
			k.Dst = netip.AddrPortFrom(outside, k.Dst.Port()+1000)
		}
		if k.Options.MSS != 0 {
			k.Options.MSS = 1300
		}
	}
	src, err := open(t, taps.Options{}, a, b)
	if err != nil {
		t.Fatal(err)
	}
	for k, err := range src.Segments() {
		if err != nil {
			t.Fatal(err)
		}
		if k.Src.Addr() == outside || k.Dst.Addr() == outside {
			t.Fatalf("packet %d has names of the server's side: %v > %v", k.Packet, k.Src, k.Dst)
		}
		if k.Twin == nil {
			continue
		}
		o := k.Twin.Other
		if k.Twin.Fate != tcp.FatePassed || o == nil {
			t.Fatalf("packet %d: %+v", k.Packet, k.Twin)
		}
		frames := src.Frames(k.Packet)
		at, list := 1, b
		if k.Src.Port() == 5001 {
			at, list = 0, a
		}
		want := list[frames[at]-1]
		if o.Src != want.Src || o.Dst != want.Dst || o.Options.MSS != want.Options.MSS || o.TTL != want.TTL || o.Packet != frames[at] {
			t.Fatalf("packet %d: other is frame %d, %v > %v %v, want frame %d, %v > %v %v", k.Packet, o.Packet, o.Src, o.Dst, o, frames[at], want.Src, want.Dst, &want)
		}
	}
	p := src.Between().Pairs[0]
	if p.Rewritten != p.Connections || len(p.Rewritings) == 0 || p.Rewritings[0].Far[0].Addr() != outside || p.Rewritings[0].Near[0].Addr() == outside {
		t.Errorf("%d of %d connections rewritten: %v", p.Rewritten, p.Connections, p.Rewritings)
	}
	if p.Passages[0].Changes.MSS == 0 || p.Passages[0].Changes.Hops != 2 || p.Passages[0].Changes.Numbers != 0 {
		t.Errorf("changes: %+v", p.Passages[0].Changes)
	}
}

// TestOneSideTagged has VLAN tags and a shorter snap length at one tap.
func TestOneSideTagged(t *testing.T) {
	a, b := (&pathway{packets: 500}).write(t)
	var buffer bytes.Buffer
	p, err := pktgen.NewPcap(&buffer, pcap.LinkEthernet, 74)
	if err != nil {
		t.Fatal(err)
	}
	list := readAll(t, b)
	for i := range list {
		if err := p.WriteSegment(&list[i], 7); err != nil {
			t.Fatal(err)
		}
	}
	tagged := filepath.Join(t.TempDir(), "tagged.pcap")
	if err := os.WriteFile(tagged, buffer.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	src, err := taps.Open([]taps.Tap{{Files: []string{a}}, {Files: []string{tagged}}}, taps.Options{Capture: capture.Options{Payload: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for k, err := range src.Segments() {
		if err != nil {
			t.Fatal(err)
		}
		if k.Twin != nil && k.Twin.Fate != tcp.FatePassed {
			t.Fatalf("packet %d: %+v", k.Packet, k.Twin)
		}
	}
}

// TestPortsAreUsedAgain has a firewall that gives one outside port to one inside
// connection after another, and a client that uses its port again for another.
func TestPortsAreUsedAgain(t *testing.T) {
	one, two := (&pathway{packets: 300, short: true, pace: 100 * time.Millisecond}).write(t)
	a, b := readAll(t, one), readAll(t, two)
	rename := func(list []tcp.Segment, port func(n int) uint16) {
		for i := range list {
			k := &list[i]
			n := int(k.Src.Port()) - 32768
			client := &k.Src
			if k.Src.Port() == 5001 {
				n, client = int(k.Dst.Port())-32768, &k.Dst
			}
			*client = netip.AddrPortFrom(outside, port(n))
		}
	}
	for _, test := range []struct {
		name   string
		at     []tcp.Segment
		inside func(n int) uint16
	}{
		{"outside", b, func(n int) uint16 { return uint16(1000 + n%3) }},
		{"inside", a, func(n int) uint16 { return uint16(1000 + n%3) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			x, y := slices.Clone(a), slices.Clone(b)
			if test.name == "outside" {
				rename(y, test.inside)
			} else {
				rename(x, test.inside)
			}
			src, err := open(t, taps.Options{}, x, y)
			if err != nil {
				t.Fatal(err)
			}
			wrong := 0
			for k, err := range src.Segments() {
				if err != nil {
					t.Fatal(err)
				}
				if k.Twin != nil && k.Twin.Fate != tcp.FatePassed {
					wrong++
				}
			}
			if wrong > 0 {
				t.Errorf("%d packets did not pass", wrong)
			}
		})
	}
}

// TestFourTaps has NAT between the second and the third.
func TestFourTaps(t *testing.T) {
	one, two := (&pathway{packets: 2000, lossy: true}).write(t)
	a, b := readAll(t, one), readAll(t, two)
	middle := func(after time.Duration) (list []tcp.Segment) {
		arrived := map[tcp.Seq]bool{}
		for _, k := range b {
			if k.Src.Port() != 5001 {
				arrived[k.Seq+tcp.Seq(k.ID)<<16] = true
			}
		}
		for dir, from := range [][]tcp.Segment{a, b} {
			for _, k := range from {
				toServer := k.Src.Port() != 5001
				if toServer != (dir == 0) || toServer && !arrived[k.Seq+tcp.Seq(k.ID)<<16] {
					continue
				}
				if toServer {
					k.Time = k.Time.Add(after)
				} else {
					k.Time = k.Time.Add(oneWay - after)
				}
				list = append(list, k)
			}
		}
		return byTime(list)
	}
	renamed := func(list []tcp.Segment) []tcp.Segment {
		list = slices.Clone(list)
		for i := range list {
			k := &list[i]
			client := &k.Src
			if k.Src.Port() == 5001 {
				client = &k.Dst
			}
			*client = netip.AddrPortFrom(outside, client.Port()-20000)
		}
		return list
	}
	lists := [][]tcp.Segment{a, middle(2 * time.Millisecond), renamed(middle(2100 * time.Microsecond)), renamed(b)}
	src, err := open(t, taps.Options{}, lists[2], lists[0], lists[3], lists[1])
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for k, err := range src.Segments() {
		if err != nil {
			t.Fatal(err)
		}
		if k.Twin == nil {
			continue
		}
		if k.Src.Addr() == outside || k.Dst.Addr() == outside {
			t.Fatalf("packet %d: %v > %v", k.Packet, k.Src, k.Dst)
		}
		switch k.Twin.Fate {
		case tcp.FatePassed:
			if slices.Contains(src.Frames(k.Packet), 0) {
				t.Fatalf("packet %d: frames %v", k.Packet, src.Frames(k.Packet))
			}
		case tcp.FateLost:
			if lost++; k.Twin.Between != [2]uint8{1, 3} {
				t.Fatalf("packet %d is lost between %v, want 1 and 3", k.Packet, k.Twin.Between)
			}
		default:
			t.Fatalf("packet %d: %+v", k.Packet, k.Twin)
		}
	}
	bt := src.Between()
	if want := []int{1, 3, 0, 2}; !slices.Equal(bt.Order, want) {
		t.Errorf("the taps lie in the order %v, want %v", bt.Order, want)
	}
	if want := len(a) - len(lists[1]); lost == 0 || bt.Pairs[0].Passages[0].Lost != lost {
		t.Errorf("%d lost, %d between the first two, want about %d", lost, bt.Pairs[0].Passages[0].Lost, want)
	}
	if bt.Pairs[1].Rewritten == 0 || bt.Pairs[0].Rewritten+bt.Pairs[2].Rewritten != 0 {
		t.Errorf("rewritten: %d, %d, %d", bt.Pairs[0].Rewritten, bt.Pairs[1].Rewritten, bt.Pairs[2].Rewritten)
	}
	for _, p := range bt.Pairs {
		if len(p.Clock.Pieces) != 1 || p.Clock.Pieces[0].Offset.Abs() > 10*time.Microsecond {
			t.Errorf("clock of %d against %d: %+v", p.Far, p.Near, p.Clock.Pieces)
		}
	}
}

// TestErrorsComeOnce has an ICMP error at both taps, of which the quotes have the names of
// each side: only that next to its addressee is handed out, with the client's names.
func TestErrorsComeOnce(t *testing.T) {
	one, two := (&pathway{packets: 60, short: true, pace: 100 * time.Millisecond}).write(t)
	a, b := readAll(t, one), readAll(t, two)
	for i := range b {
		if k := &b[i]; k.Src.Port() != 5001 {
			k.Src = netip.AddrPortFrom(outside, k.Src.Port())
		} else {
			k.Dst = netip.AddrPortFrom(outside, k.Dst.Port())
		}
	}
	icmp := func(list []tcp.Segment, of int, after time.Duration) []tcp.Segment {
		e := list[of]
		e.Time = e.Time.Add(after)
		e.ICMP = tcp.ICMP{Type: 3, Code: 1, From: netip.MustParseAddr("198.51.100.99")}
		return byTime(append(list, e))
	}
	of := func(list []tcp.Segment, fromServer bool) int {
		return slices.IndexFunc(list, func(k tcp.Segment) bool { return k.Data > 0 && (k.Src.Port() == 5001) == fromServer })
	}
	a = icmp(icmp(a, of(a, false), 9*time.Millisecond), of(a, true), time.Millisecond)
	b = icmp(icmp(b, of(b, false), 2*time.Millisecond), of(b, true), 8*time.Millisecond)
	src, err := open(t, taps.Options{}, a, b)
	if err != nil {
		t.Fatal(err)
	}
	var got []tcp.Segment
	for k, err := range src.Segments() {
		if err != nil {
			t.Fatal(err)
		}
		if k.ICMP.Type == 0 {
			continue
		}
		if k.Leg != tcp.Passing || k.Twin != nil || k.Src.Addr() == outside || k.Dst.Addr() == outside {
			t.Errorf("error about %v > %v: leg %v, %v", k.Src, k.Dst, k.Leg, k.Twin)
		}
		got = append(got, *k)
		if frames := src.Frames(k.Packet); (frames[0] != 0) == (k.Src.Port() == 5001) {
			t.Errorf("error to %v: frames %v", k.Src, frames)
		}
	}
	if len(got) != 2 {
		t.Errorf("%d errors, want 2", len(got))
	}
}

// TestProxyAnswers has a device between the taps that answers SYNs in the server's name, and
// adds to the server's numbers what its own first was more.
func TestProxyAnswers(t *testing.T) {
	one, two := (&pathway{packets: 400, short: true, pace: 20 * time.Millisecond}).write(t)
	a, b := readAll(t, one), readAll(t, two)
	a = changedNumbers(a, netip.MustParseAddr("0.0.0.0"), [2]tcp.Seq{})
	for i := range a {
		k := &a[i]
		if k.Src.Port() == 5001 {
			k.Seq += 0x1234567
			if k.Flags.Any(tcp.SYN) {
				k.Time = k.Time.Add(-oneWay)
				k.ID, k.TTL, k.Wnd, k.Options.TSVal = 0, 255, 0, 0
				k.Options.SACKOK, k.Options.MSS = false, 1400
			}
		} else if k.Flags.Any(tcp.ACK) {
			k.Ack += 0x1234567
		}
	}
	src, err := open(t, taps.Options{}, byTime(a), b)
	if err != nil {
		t.Fatal(err)
	}
	s := &story{Endpoints: map[string]struct {
		Addr string `json:"addr"`
	}{"server": {"198.51.100.7"}}}
	counts := map[string]int{}
	for k, n := range fates(t, s, src) {
		f := strings.Fields(k)
		if len(f) > 2 {
			k = f[0] + " " + f[2]
		}
		counts[k] += n
	}
	t.Log(counts)
	conns := src.Between().Pairs[0].Connections
	if counts["lost SA"] != conns || counts["forged SA"]+counts["unknown SA"] != conns || len(counts) > 4 {
		t.Errorf("of %d connections: %v", conns, counts)
	}
}

// TestMissedThenSentAgain has a segment that the server's capture misses, of which the
// acknowledgment is lost, so that it is sent again: the first has arrived all the same.
func TestMissedThenSentAgain(t *testing.T) {
	one, two := (&pathway{packets: 40, short: true, pace: 50 * time.Millisecond}).write(t)
	a, b := readAll(t, one), readAll(t, two)
	data := slices.IndexFunc(a, func(k tcp.Segment) bool { return k.Data > 0 && k.Src.Port() != 5001 })
	first := a[data]
	ack := func(k *tcp.Segment) bool { return k.Dst == first.Src && k.Ack == first.End() && k.Data == 0 }
	again := first
	again.Time, again.ID, again.Options.TSVal = again.Time.Add(5500*time.Microsecond), 60_000, again.Options.TSVal+5
	a = byTime(append(without(a, func(_ int, k *tcp.Segment) bool { return ack(k) }), again))
	arrived := again
	arrived.Time = again.Time.Add(oneWay)
	b = byTime(append(without(b, func(_ int, k *tcp.Segment) bool { return k.Seq == first.Seq && k.Src == first.Src && k.Data > 0 }), arrived))
	src, err := open(t, taps.Options{}, a, b)
	if err != nil {
		t.Fatal(err)
	}
	var got []tcp.Fate
	for k, err := range src.Segments() {
		if err != nil {
			t.Fatal(err)
		}
		if k.Twin != nil && (k.Twin.Fate != tcp.FatePassed || k.Src == first.Src && k.Seq == first.Seq && k.Data > 0) {
			got = append(got, k.Twin.Fate)
		}
	}
	if want := []tcp.Fate{tcp.FateMissed, tcp.FateLost, tcp.FatePassed}; !slices.Equal(got, want) {
		t.Errorf("fates %v, want %v: of the segment, of its acknowledgment, and of the segment again", got, want)
	}
}

// TestPartsAreAlike has records that are cut: each part is the same at both taps.
func TestPartsAreAlike(t *testing.T) {
	one, two := (&pathway{packets: 2000}).write(t)
	a, b := readAll(t, one), readAll(t, two)
	client := a[0].Src.Addr()
	n := len(a)
	a, b = joined(a, client, true, 11), joined(b, client, true, 4)
	src, err := open(t, taps.Options{}, a, b)
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for k, err := range src.Segments() {
		if err != nil {
			t.Fatal(err)
		}
		if k.Twin == nil {
			continue
		}
		if passed++; k.Twin.Fate != tcp.FatePassed {
			t.Fatalf("packet %d: %+v", k.Packet, k.Twin)
		}
		if o := k.Twin.Other; o.Seq != k.Seq || o.Data != k.Data || o.Flags != k.Flags || o.Src != k.Src {
			t.Fatalf("packet %d is %v, and at the other tap %v", k.Packet, k, o)
		}
	}
	if len(a) == n || len(b) == n || passed < len(a) || passed < len(b) {
		t.Errorf("%d and %d records, %d packets", len(a), len(b), passed)
	}
}

// TestForgedReset has a RST at the server's tap that looks like the client's in everything.
// That the client goes on shows that it did not send it; if it does not go on, nothing does.
func TestForgedReset(t *testing.T) {
	one, two := (&pathway{packets: 3000}).write(t)
	a, b := readAll(t, one), readAll(t, two)
	of := b[len(b)/2]
	for i := len(b) / 2; of.Src.Port() == 5001 || of.Data == 0; i++ {
		of = b[i]
	}
	reset := of
	reset.Time, reset.Seq, reset.Flags, reset.Data = of.Time.Add(1), of.End(), tcp.RST|tcp.ACK, 0
	reset.ID++
	for _, goesOn := range []bool{true, false} {
		x, y := slices.Clone(a), byTime(append(slices.Clone(b), reset))
		if !goesOn {
			behind := func(at tcp.Time) func(int, *tcp.Segment) bool {
				return func(_ int, k *tcp.Segment) bool {
					return (k.Src == of.Src || k.Dst == of.Src) && k.Time > at && k.Flags&tcp.RST == 0
				}
			}
			x, y = without(x, behind(of.Time.Add(-oneWay))), without(y, behind(of.Time))
		}
		src, err := open(t, taps.Options{}, x, y)
		if err != nil {
			t.Fatal(err)
		}
		want := map[bool]tcp.Fate{true: tcp.FateForged, false: tcp.FateUnknown}[goesOn]
		found := false
		for k, err := range src.Segments() {
			if err != nil {
				t.Fatal(err)
			}
			if k.Flags.Any(tcp.RST) {
				if found = true; k.Twin == nil || k.Twin.Fate != want {
					t.Errorf("goes on %v: %+v, want fate %v", goesOn, k.Twin, want)
				}
			}
		}
		if !found {
			t.Errorf("goes on %v: no RST", goesOn)
		}
	}
}
