package record

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func TestFieldsHaveOnePathEach(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range fields {
		if seen[f.path] {
			t.Errorf("%s is twice in the list", f.path)
		}
		seen[f.path] = true
	}
}

// The vectors are those published with the Community ID specification, and one
// of Zeek's own tests.
func TestCommunityID(t *testing.T) {
	for _, test := range []struct{ a, b, want string }{
		{"128.232.110.120:34855", "66.35.250.204:80", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{"[2001:470:e5bf:dead:4957:2174:e82c:4887]:63943", "[2607:f8b0:400c:c03::1a]:25", "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="},
		{"1.2.3.4:1122", "5.6.7.8:3344", "1:wCb3OG7yAFWelaUydu0D+125CLM="},
	} {
		a, b := netip.MustParseAddrPort(test.a), netip.MustParseAddrPort(test.b)
		if got := communityID(a, b); got != test.want {
			t.Errorf("communityID(%v, %v) = %s, want %s", a, b, got, test.want)
		}
		if got := communityID(b, a); got != test.want {
			t.Errorf("communityID(%v, %v) = %s, want %s", b, a, got, test.want)
		}
	}
	// Between ports of one address the lesser port comes first.
	a, b := netip.MustParseAddrPort("127.0.0.1:256"), netip.MustParseAddrPort("127.0.0.1:255")
	if communityID(a, b) != communityID(b, a) {
		t.Error("the direction changes the identifier between ports of one address")
	}
}

func TestExists(t *testing.T) {
	for _, test := range []struct {
		client, server tcp.State
		want           bool
	}{
		{tcp.Closed, tcp.Closed, false},
		{tcp.Closed, tcp.Listen, false},
		{tcp.SynSent, tcp.Listen, true},
		{tcp.TimeWait, tcp.Closed, true},
		{tcp.Closed, tcp.LastAck, true},
		{tcp.Unknown, tcp.Closed, true},
	} {
		var r tracker.Record
		r.Ends[tcp.Client].State, r.Ends[tcp.Server].State = test.client, test.server
		if got := exists(&r); got != test.want {
			t.Errorf("exists(%v, %v) = %v", test.client, test.server, got)
		}
	}
}

// Lines that waited leave nothing behind.
func TestEventLinesAreForgotten(t *testing.T) {
	var got []string
	l := newEventLines(&Options{Where: func(*tracker.Record) bool { return true }}, func(line []byte) error {
		got = append(got, string(line))
		return nil
	})
	for _, step := range []func() error{
		func() error { return l.add(1, []byte("a")) },
		func() error { return l.add(2, []byte("b")) },
		func() error { return l.add(0, []byte("c")) },
		func() error { return l.decide(2, false) },
		func() error { return l.decide(3, true) },
		func() error { return l.add(1, []byte("d")) },
		func() error { return l.decide(1, true) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"a", "c", "d"}; !slices.Equal(got, want) {
		t.Errorf("passed on were %q, want %q", got, want)
	}
	if n := len(l.waiting) + len(l.lines) + len(l.selected); n != 0 {
		t.Errorf("%d things are kept of what was passed on", n)
	}
}
