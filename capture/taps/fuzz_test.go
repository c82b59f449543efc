package taps_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// fuzzed makes captures of so many taps of what fuzzing chooses: six octets for a segment,
// of which some taps have it, at about the same time, or none of the others.
func fuzzed(data []byte, n int) [][]tcp.Segment {
	lists := make([][]tcp.Segment, n)
	ends := [2]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:40000"), netip.MustParseAddrPort("198.51.100.1:80")}
	now := tcp.Time(1_700_000_000 * 1e9)
	for ; len(data) >= 6; data = data[6:] {
		now = now.Add(time.Duration(data[0]) * time.Duration(data[0]) * 40 * time.Microsecond)
		dir := int(data[1] & 1)
		s := tcp.Segment{Time: now, Src: ends[dir], Dst: ends[1-dir], TTL: 64 - data[1]>>7, Wnd: 1000}
		s.Flags = [...]tcp.Flags{tcp.ACK, tcp.SYN, tcp.SYN | tcp.ACK, tcp.FIN | tcp.ACK, tcp.RST, tcp.ACK | tcp.PSH, tcp.RST | tcp.ACK, 0}[data[1]>>1&7]
		s.Seq, s.Ack = tcp.Seq(data[2])*700-50000, tcp.Seq(data[3])*700-50000
		if data[1]&16 != 0 {
			s.Data = tcp.Size(data[4]) * 40
		}
		if data[1]&32 != 0 {
			s.Options.HasTS, s.Options.TSVal, s.Options.TSEcr = true, uint32(data[4]), uint32(data[5])
		}
		if data[1]&64 != 0 {
			s.ID = uint16(data[4])
		}
		if s.Options.NumSACK = data[5] >> 7; s.Options.NumSACK > 0 {
			s.Options.SACK[0] = tcp.Block{Left: s.Ack + 700, Right: s.Ack + 700*tcp.Seq(data[4])}
		}
		for i := range lists {
			if data[5]&(1<<i) == 0 {
				continue
			}
			k := s
			k.Time = k.Time.Add(time.Duration(data[5]>>4&3) * time.Duration(i) * 3 * time.Millisecond)
			if data[5]&64 != 0 && i > 0 {
				k.Src, k.Dst = changedPort(k.Src), changedPort(k.Dst)
			}
			if data[5]&8 != 0 && i > 0 {
				k.Seq += 12345
			}
			lists[i] = append(lists[i], k)
		}
	}
	return lists
}

// changedPort returns the client's address and port as another tap has them.
func changedPort(a netip.AddrPort) netip.AddrPort {
	if a.Port() == 80 {
		return a
	}
	return netip.MustParseAddrPort("203.0.113.1:50000")
}

// FuzzMerge has any segments at two and three taps. Nothing panics; time does not run
// back; numbers grow; what comes near has left; and each frame of each tap is handed out,
// unless it was between two others or an error that another tap has too.
func FuzzMerge(f *testing.F) {
	f.Add([]byte("\x01\x02\x10\x00\x00\x03\x09\x05\x20\x11\x00\x03\x09\x00\x11\x21\x00\x03\x09\x10\x11\x21\x40\x03\x09\x01\x21\x40\x00\x03"))
	f.Add([]byte("\x01\x02\x10\x00\x00\x13\x09\x05\x20\x11\x00\x11\xff\x00\x11\x21\x00\x03\xff\x10\x11\x21\x40\x02\x09\x08\x21\x40\x00\x02"))
	f.Add([]byte("\x01\x12\x10\x00\xff\x43\x09\x15\x20\x11\x80\x4f\xff\x30\x11\x21\x00\x0b\xff\x10\x11\x21\xf0\x02\x09\x18\x21\x40\x70\x03"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 6*200 {
			return
		}
		lists := fuzzed(data, 2+len(data)%2)
		src, err := open(t, taps.Options{}, lists...)
		if err != nil {
			if !strings.Contains(err.Error(), "in common") {
				t.Fatal(err)
			}
			return
		}
		s := &story{Endpoints: map[string]struct {
			Addr string `json:"addr"`
		}{"client": {"192.0.2.1"}}}
		fates(t, s, src)
		found := make([]map[int]bool, len(lists))
		for i := range found {
			found[i] = map[int]bool{}
		}
		for n := 1; src.Frames(n) != nil; n++ {
			for i, frame := range src.Frames(n) {
				found[i][frame] = true
			}
		}
		for i := range lists {
			for frame := range len(lists[i]) {
				if !found[i][frame+1] {
					t.Errorf("frame %d of tap %d is lost", frame+1, i)
				}
			}
		}
		src.Between()
		if st := src.Stats(); st.Segments == 0 && len(lists[0]) > 0 {
			t.Errorf("no segments counted of %d", len(lists[0]))
		}
	})
}
