package capture

import (
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/filter"
)

// The filter for the innermost header sees what no filter of the packet does: the
// connection behind each of many headers.
func TestInnerFilter(t *testing.T) {
	const path = "testdata/more-encapsulations.pcapng" // one connection 10.0.0.1:4xxxx to 10.0.0.2:443 in each
	for _, c := range []struct {
		expr string
		want func(client bool, flags string) bool
	}{
		{"src host 10.0.0.1 and dst port 443", func(client bool, _ string) bool { return client }},
		{"src port 443", func(client bool, _ string) bool { return !client }},
		{"tcp.flags & syn != 0", func(_ bool, flags string) bool { return flags == "SYN" || flags == "SYN,ACK" }},
		{"host 192.0.2.1", func(bool, string) bool { return false }},
		{"", func(bool, string) bool { return true }},
	} {
		f, err := filter.Parse(c.expr)
		if err != nil {
			t.Fatal(err)
		}
		count := func(o Options) (n int, st Stats) {
			s := open(t, o, path)
			for g, err := range s.Segments() {
				if err != nil {
					t.Fatal(err)
				}
				if o.Inner != nil || c.want(g.Dst.Port() == 443, g.Flags.String()) {
					n++
				}
			}
			return n, s.Stats()
		}
		want, all := count(Options{})
		got, st := count(Options{Inner: f})
		if got != want || st.Segments != want || st.Filtered != all.Segments-want {
			t.Errorf("%q: got %d segments, %+v, want %d of %d", c.expr, got, st, want, all.Segments)
		}
	}
}

// Frames with a VLAN tag that a filter leaves out are counted.
func TestTaggedFramesAreCounted(t *testing.T) {
	f, err := filter.Parse("tcp")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{Filter: f}, file(t, "x.pcap", ethernetOf(0x8100, 0x0806, 0x88a8, 0x0800)))
	for _, err := range s.Segments() {
		if err != nil {
			t.Fatal(err)
		}
	}
	if st := s.Stats(); st.Filtered != 4 || st.Tagged != 2 {
		t.Errorf("%d of %d have a tag", st.Tagged, st.Filtered)
	}
}
