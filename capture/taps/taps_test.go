package taps_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

const stories = "../../tracker/testdata/traces"

// A wireEvent is what the wire between two hosts did to a packet.
type wireEvent struct {
	Action string  `json:"action"`
	T      float64 `json:"t"`
	Dir    string  `json:"dir"`
	Flags  string  `json:"flags"`
	Seq    uint32  `json:"seq"`
	Ack    uint32  `json:"ack"`
	Len    int     `json:"len"`
}

// A story is what truth.json says of the wire.
type story struct {
	dir       string
	captures  [2][]tcp.Segment // where a test has read them
	Name      string           `json:"scenario"`
	Taps      []string         `json:"taps"`
	Endpoints map[string]struct {
		Addr string `json:"addr"`
	} `json:"endpoints"`
	Wire *[]wireEvent `json:"wire_events"`
}

func (e *wireEvent) String() string {
	return fmt.Sprintf("%s %s %d %d %d", e.Dir, e.Flags, e.Seq, e.Ack, e.Len)
}

// expected returns what became of packets by the log of the wire: how often each was
// lost, copied and forged.
func (s *story) expected() map[string]int {
	want := map[string]int{}
	for i := range *s.Wire {
		e := &(*s.Wire)[i]
		switch {
		case e.Flags == "": // an ICMP error
		case e.Action == "drop" || e.Action == "random-drop" || e.Action == "blackhole":
			want["lost "+e.String()]++
		case e.Action == "dup":
			want["copied "+e.String()]++
		case strings.HasPrefix(e.Action, "re-inject"):
			if want["lost "+e.String()] > 0 {
				want["lost "+e.String()]--
			} else {
				want["copied "+e.String()]++
			}
		case e.Action == "inject":
			want["forged "+e.String()]++
		}
	}
	for k, n := range want {
		if n == 0 {
			delete(want, k)
		}
	}
	return want
}

// loadStories returns the stories that have a log of the wire and both captures.
func loadStories(t *testing.T) (list []*story) {
	files, err := filepath.Glob(stories + "/*/truth.json")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d stories: %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := &story{dir: filepath.Dir(file)}
		if err := json.Unmarshal(data, s); err != nil {
			t.Fatal(err)
		}
		if s.Wire != nil && len(s.Taps) == 2 {
			list = append(list, s)
		}
	}
	return list
}

// A change is what is changed in the server's capture.
type change struct {
	name  string
	ahead time.Duration
	drift float64
	nat   bool
}

var changes = []change{
	{name: "true"},
	{name: "ahead", ahead: 3200 * time.Millisecond, drift: 80e-6},
	{name: "behind", ahead: -3200 * time.Millisecond, drift: 800e-6},
	{name: "nat", nat: true},
	{name: "nat-ahead", ahead: 3200 * time.Millisecond, drift: 80e-6, nat: true},
}

// stamp returns what the changed clock showed.
func (c *change) stamp(t, first tcp.Time) tcp.Time {
	return t.Add(c.ahead) + tcp.Time(float64(t-first)*c.drift)
}

// rewrite writes a pcap file as the change leaves it.
func (c *change) rewrite(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	unit := tcp.Time(1)
	switch le.Uint32(b) {
	case 0xa1b23c4d:
	case 0xa1b2c3d4:
		unit = 1000
	default:
		t.Fatalf("%s: no pcap file in this byte order", from)
	}
	link := le.Uint32(b[20:])
	var first tcp.Time
	for at := 24; at+16 <= len(b); {
		r := b[at:]
		n := int(le.Uint32(r[8:]))
		now := tcp.Time(le.Uint32(r))*tcp.Second + tcp.Time(le.Uint32(r[4:]))*unit
		if first == 0 {
			first = now
		}
		now = c.stamp(now, first)
		le.PutUint32(r, uint32(now/tcp.Second))
		le.PutUint32(r[4:], uint32(now%tcp.Second/unit))
		if c.nat {
			header := map[uint32]int{1: 14, 113: 16}[link]
			natPacket(r[16+header : 16+n])
		}
		at += 16 + n
	}
	if err := os.WriteFile(to, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

var inside, outside = netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("203.0.113.5")

// update updates a checksum for a 16-bit word that changes (RFC 1624).
func update(sum []byte, old, new uint16) {
	be := binary.BigEndian
	s := uint32(^be.Uint16(sum)) + uint32(^old) + uint32(new)
	s = s&0xffff + s>>16
	s = s&0xffff + s>>16
	be.PutUint16(sum, ^uint16(s))
}

// natPacket rewrites an IPv4 packet as a firewall between the two hosts would have,
// that clamps the MSS to 1380: also what an ICMP error quotes.
func natPacket(p []byte) {
	be := binary.BigEndian
	if p[0]>>4 != 4 {
		return
	}
	t := p[int(p[0]&15)*4:]
	put := func(b []byte, v uint16, sums ...[]byte) {
		for _, sum := range sums {
			update(sum, be.Uint16(b), v)
		}
		be.PutUint16(b, v)
	}
	address := func(at, port int) {
		if netip.AddrFrom4([4]byte(p[at:])) != inside {
			return
		}
		o := outside.As4()
		if p[9] != 6 {
			put(p[at:], be.Uint16(o[:]), p[10:12])
			put(p[at+2:], be.Uint16(o[2:]), p[10:12])
			return
		}
		put(p[at:], be.Uint16(o[:]), p[10:12], t[16:18])
		put(p[at+2:], be.Uint16(o[2:]), p[10:12], t[16:18])
		put(t[port:], be.Uint16(t[port:])+20000, t[16:18])
	}
	if netip.AddrFrom4([4]byte(p[12:])) == inside {
		ttl := be.Uint16(p[8:])
		put(p[8:], ttl-3<<8, p[10:12])
	}
	address(12, 0)
	address(16, 2)
	if p[9] == 6 && t[13]&2 != 0 {
		for o := 20; o+4 <= len(t) && o < int(t[12]>>4)*4; {
			if t[o] == 1 {
				o++
				continue
			}
			if t[o] == 2 && be.Uint16(t[o+2:]) > 1380 {
				put(t[o+2:], 1380, t[16:18])
			}
			if t[o+1] < 2 {
				break
			}
			o += int(t[o+1])
		}
	}
}

// play returns the fates of a story's packets.
func play(t *testing.T, s *story, c *change) map[string]int {
	t.Helper()
	server := filepath.Join(t.TempDir(), "server.pcap")
	c.rewrite(t, filepath.Join(s.dir, s.Taps[1]), server)
	src, err := taps.Open([]taps.Tap{{Name: "client", Files: []string{filepath.Join(s.dir, s.Taps[0])}}, {Name: "server", Files: []string{server}}}, taps.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	return fates(t, s, src)
}

func TestFatesEqualTheWires(t *testing.T) {
	for _, c := range changes {
		all := 0
		for _, s := range loadStories(t) {
			t.Run(c.name+"/"+filepath.Base(s.dir), func(t *testing.T) {
				want := s.expected()
				equal(t, play(t, s, &c), want)
				for _, n := range want {
					all += n
				}
			})
		}
		t.Logf("%s: %d packets lost, copied or forged", c.name, all)
	}
}

// maps returns the keys of both.
func maps(a, b map[string]int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range a {
			if !yield(k) {
				return
			}
		}
		for k := range b {
			if _, both := a[k]; !both && !yield(k) {
				return
			}
		}
	}
}
