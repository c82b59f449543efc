package who

import (
	"net/netip"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func TestComment(t *testing.T) {
	local, remote := netip.MustParseAddrPort("10.0.0.1:49152"), netip.MustParseAddrPort("[2001:db8::1]:443")
	for _, o := range []tcp.Owner{
		{Source: tcp.FromSocket, PID: 1234, Program: "curl", User: "alice"},
		{Source: tcp.FromListener, PID: 1, Program: "a \"b\"\n{}", Unit: "x.service", Container: "0123456789ab", Pod: "shop/web"},
		{User: "root"},
	} {
		want := Owned{1_764_500_000_000_000_001, local, remote, o}
		line := Comment(want.Start, local, remote, &o)
		if got, ok := ParseComment(line); !ok || got != want {
			t.Errorf("%s is read as %+v, %v", line, got, ok)
		}
	}
	want := `tcpwatch {"start":"2025-11-30T10:53:20Z","local":"10.0.0.1:49152","remote":"[2001:db8::1]:443","source":"socket","pid":7,"program":"p"}`
	if got := Comment(1_764_500_000_000_000_000, local, remote, &tcp.Owner{Source: tcp.FromSocket, PID: 7, Program: "p"}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, line := range []string{
		"", "a comment", "tcpwatch", "tcpwatch {", "tcpwatch {}", `tcpwatch {"local":"10.0.0.1:1","remote":"10.0.0.2:2"}`,
		`tcpwatch {"local":"10.0.0.1:1","remote":"x","user":"root"}`, `tcpwatch {"local":"10.0.0.1:1","user":"root"}`,
		`tcpwatch {"local":"10.0.0.1:1","remote":"10.0.0.2:2","pid":"x"}`,
	} {
		if o, ok := ParseComment(line); ok {
			t.Errorf("%q is read as %+v", line, o)
		}
	}
}
