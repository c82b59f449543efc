package tracker

import (
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// underway is a connection after a handshake and one octet each way: A is at 100, and B at 300.
var underway = []string{
	"> <SEQ=98><CTL=SYN>", "< <SEQ=298><ACK=99><CTL=SYN,ACK>", "> <SEQ=99><ACK=299><CTL=ACK><DATA=1>",
	"< <SEQ=299><ACK=100><CTL=ACK><DATA=1>", "> <SEQ=100><ACK=300><CTL=ACK>",
}

// played returns the connection after the segments, of which ">" are from A.
// The last is not taken in, but returned with the end that it is from.
func played(t *testing.T, segments ...string) (c *Conn, last *tcp.Segment, from tcp.Endpoint) {
	t.Helper()
	tk, err := New(Config{}, func(*Event) {})
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range segments {
		way, text, _ := strings.Cut(text, " ")
		s, err := tcp.ParseSegment(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		s.Time, s.Src, s.Dst = 1_000_000*second+tcp.Time(i)*second/100, peerA, peerB
		if from = tcp.Client; way == "<" {
			from, s.Src, s.Dst = tcp.Server, peerB, peerA
		}
		last = &s
		if i < len(segments)-1 {
			tk.Observe(last)
		}
	}
	k, _ := flow.KeyOf(last)
	return tk.machine.newestOf(k), last, from
}

func TestRead(t *testing.T) {
	for _, test := range []struct {
		before, segment string
		want            reading
	}{
		{"", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10>", reading{fresh: 10}},
		{"", "> <SEQ=110><ACK=300><CTL=ACK><DATA=10>", reading{fresh: 10}},
		{"", "> <SEQ=100><ACK=300><CTL=ACK>", reading{}},
		{"", "> <SEQ=2000000000><ACK=300><CTL=ACK><DATA=10>", reading{foreign: true}},

		// One below the next number, of octets that are acknowledged.
		{"", "> <SEQ=99><ACK=300><CTL=ACK>", reading{keepalive: true}},
		{"", "> <SEQ=99><ACK=300><CTL=ACK><DATA=1>", reading{keepalive: true, old: true}},
		{"", "> <SEQ=99><ACK=300><CTL=ACK><DATA=2>", reading{fresh: 1}},
		{"", "> <SEQ=99><ACK=300><CTL=FIN,ACK>", reading{old: true}},
		{"", "> <SEQ=98><ACK=300><CTL=ACK>", reading{}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=109><ACK=300><CTL=ACK>", reading{}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=109><ACK=300><CTL=ACK><DATA=1>", reading{old: true}},

		// Some or all of the octets were captured before.
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10>", reading{old: true}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=105><ACK=300><CTL=ACK><DATA=10>", reading{fresh: 5}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=100><ACK=300><CTL=FIN,ACK><DATA=10>", reading{}},

		// They lie in a hole, in part.
		{"> <SEQ=110><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10>", reading{fresh: 10}},
		{"> <SEQ=110><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=102><ACK=300><CTL=ACK><DATA=3>", reading{fresh: 3}},
		{"> <SEQ=110><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=105><ACK=300><CTL=ACK><DATA=10>", reading{fresh: 5}},
		{"> <SEQ=110><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=30>", reading{fresh: 20}},
		{"> <SEQ=110><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=110><ACK=300><CTL=ACK><DATA=10>", reading{old: true}},

		// It left before what was captured.
		{"", "> <SEQ=100><ACK=299><CTL=ACK>", reading{stale: true}},
		{"", "> <SEQ=100><ACK=299><CTL=ACK><DATA=10>", reading{fresh: 10}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=20>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=19>", reading{old: true, stale: true}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=20>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=20>", reading{old: true, stale: true}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=20>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=21>", reading{old: true}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=2000>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=976>", reading{old: true}}, // too far below: drawn at random
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=2000>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=977>", reading{old: true, stale: true}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10><TS=50,1><ID=20>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10><TS=49,1><ID=21>", reading{old: true, stale: true}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10><TS=50,1><ID=20>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10><TS=51,1><ID=19>", reading{old: true}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10><TS=50,1><ID=20>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10><TS=50,1><ID=20>", reading{old: true, stale: true}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10><TS=50,1><ID=20>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10><TS=50,1><ID=21>", reading{old: true}},
		{"> <SEQ=100><ACK=300><CTL=ACK><TS=50,1><ID=20>", "> <SEQ=100><ACK=300><CTL=ACK><TS=50,1><ID=20>", reading{}},

		// A SYN that was not the first has numbers of its own.
		{"", "> <SEQ=98><CTL=SYN>", reading{old: true}},
		{"", "> <SEQ=97><CTL=SYN>", reading{foreign: true}},
	} {
		segments := slices.Clone(underway)
		if test.before != "" {
			segments = append(segments, test.before)
		}
		c, s, from := played(t, append(segments, test.segment)...)
		if got := c.read(s, from); got != test.want {
			t.Errorf("after %q %s is read as %+v, want %+v", test.before, test.segment, got, test.want)
		}
	}
}

// How far A's octets are without a hole, and how far they are acknowledged.
func TestContiguous(t *testing.T) {
	const hole = "> <SEQ=110><ACK=300><CTL=ACK><DATA=10>"
	for _, test := range []struct {
		segments        []string
		contiguous, una tcp.Seq
	}{
		{nil, 100, 100},
		{[]string{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10>"}, 110, 100},
		{[]string{hole}, 100, 100},
		{[]string{hole, "> <SEQ=130><ACK=300><CTL=ACK><DATA=10>"}, 100, 100},
		{[]string{hole, "> <SEQ=130><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10>"}, 120, 100},
		{[]string{hole, "< <SEQ=300><ACK=105><CTL=ACK>"}, 105, 105},
		{[]string{hole, "< <SEQ=300><ACK=110><CTL=ACK>"}, 120, 110},
		{[]string{hole, "< <SEQ=300><ACK=120><CTL=ACK>"}, 120, 120},
		{[]string{hole, "< <SEQ=300><ACK=130><CTL=ACK>"}, 120, 120}, // more than A was seen to send
	} {
		c, _, _ := played(t, slices.Concat(underway, test.segments, underway[:1])...)
		if got := c.contiguous(tcp.Client); got != test.contiguous {
			t.Errorf("after %v A's octets are there up to %d, want %d", test.segments, got, test.contiguous)
		}
		if got := c.ends[tcp.Client].una(&c.ends[tcp.Server]); got != test.una {
			t.Errorf("after %v SND.UNA of A is %d, want %d", test.segments, got, test.una)
		}
	}
}
