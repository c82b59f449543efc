package record

import (
	"net/netip"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func TestParseTuple(t *testing.T) {
	r := &tracker.Record{}
	r.Ends[tcp.Client].Addr = netip.MustParseAddrPort("10.0.0.1:40034")
	r.Ends[tcp.Server].Addr = netip.MustParseAddrPort("10.0.0.2:443")
	for _, c := range []struct {
		text    string
		ok, has bool
	}{
		{"10.0.0.1:40034-10.0.0.2:443", true, true},
		{"10.0.0.2:443-10.0.0.1:40034", true, true},
		{"[::ffff:10.0.0.1]:40034-10.0.0.2:443", true, true},
		{"10.0.0.1:443-10.0.0.2:40034", true, false},
		{"10.0.0.1:40034-10.0.0.1:40034", true, false},
		{"[2001:db8::1]:40034-[2001:db8::2]:443", true, false},
		{"10.0.0.1:40034", false, false},
		{"10.0.0.1-10.0.0.2", false, false},
		{"", false, false},
	} {
		tuple, err := ParseTuple(c.text)
		if (err == nil) != c.ok || err == nil && tuple.Has(r) != c.has {
			t.Errorf("%q: got %v, %v, which is that of the connection: %t", c.text, tuple, err, tuple.Has(r))
		}
	}
	if !(Tuple{}).Has(r) {
		t.Error("the zero Tuple is not that of any connection")
	}
}
