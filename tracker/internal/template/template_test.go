package template

import (
	"net/netip"
	"testing"
	"time"
)

func TestFill(t *testing.T) {
	x, y := netip.MustParseAddrPort("192.0.2.1:40000"), netip.MustParseAddrPort("[2001:db8::2]:80")
	for _, test := range []struct {
		template, want string
		value          any // of v
	}{
		{"no blank", "no blank", nil},
		{"{X} to {Y}", "192.0.2.1:40000 to [2001:db8::2]:80", nil},
		{"{X.ip}, {Y.port}", "192.0.2.1, 80", nil},
		{"{v bytes} left", "1 byte left", 1},
		{"{v bytes}", "2 bytes", 2},
		{"{v received bytes}", "0 received bytes", 0},
		{"{v}", "9.9 ms", 9900 * time.Microsecond},
		{"{v}", "10 ms", 10 * time.Millisecond},
		{"{v}", "1.0 s", time.Second},
		{"{v}", "2m5s", 125 * time.Second},
		{"{v}", "within a millisecond", Soon(time.Millisecond - 1)},
		{"{v}", "after 1.0 ms", Soon(time.Millisecond)},
		{"{v}", "60 s", Hold(time.Minute)},
		{"{v}", "1.5 s", Hold(1500 * time.Millisecond)},
	} {
		got := Fill(test.template, func(name string) any {
			if v, ok := End(name, x, y); ok {
				return v
			}
			return test.value
		})
		if got != test.want {
			t.Errorf("%q with %v: got %q, want %q", test.template, test.value, got, test.want)
		}
	}
	for _, name := range []string{"Z", "X.name", "x"} {
		if v, ok := End(name, x, y); ok {
			t.Errorf("{%s} is %v", name, v)
		}
	}
}
