package conn

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/internal/flow"
	"github.com/tcpwatch/tcpwatch/tracker/internal/health"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// underway is a connection after a handshake and one octet each way: A is at 100, and B at 300.
var underway = []string{
	"> <SEQ=98><CTL=SYN>", "< <SEQ=298><ACK=99><CTL=SYN,ACK>", "> <SEQ=99><ACK=299><CTL=ACK><DATA=1>",
	"< <SEQ=299><ACK=100><CTL=ACK><DATA=1>", "> <SEQ=100><ACK=300><CTL=ACK>",
}

// mute is a Listener that does nothing.
type mute struct{}

func (mute) Opened(*Conn, Opening)                      {}
func (mute) Moved(*Conn, *Move)                         {}
func (mute) Heeds(tcp.Endpoint, *Move) bool             { return false }
func (mute) Happened(*Scene)                            {}
func (mute) TookBack(*Conn, []int, []int)               {}
func (mute) TookBackFIN(*Conn, int)                     {}
func (mute) Refused(*Conn, tcp.Endpoint, int, tcp.Skip) {}
func (mute) Seen(*Conn, tcp.Endpoint, int, tcp.Skip)    {}
func (mute) Over(*Conn)                                 {}
func (mute) Faulty(health.Fault)                        {}

// played returns the connection after the segments, of which ">" are from A.
// The last is not taken in, but returned with the end that it is from.
func played(t *testing.T, segments ...string) (c *Conn, last *tcp.Segment, from tcp.Endpoint) {
	t.Helper()
	return playedOn(t, tcp.StackLinux, segments...)
}

// playedOn is played between two ends of a stack.
func playedOn(t *testing.T, stack tcp.StackID, segments ...string) (c *Conn, last *tcp.Segment, from tcp.Endpoint) {
	t.Helper()
	a, b := netip.MustParseAddrPort("192.0.2.1:40000"), netip.MustParseAddrPort("198.51.100.1:443")
	m := NewMachine(Setup{MaxConns: 10, Listener: mute{}, Stack: stack})
	for i, text := range segments {
		way, text, _ := strings.Cut(text, " ")
		s, err := tcp.ParseSegment(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		s.Packet = i + 1
		s.Time, s.Src, s.Dst = 1_000_000*tcp.Second+tcp.Time(i)*tcp.Second/100, a, b
		if from = tcp.Client; way == "<" {
			from, s.Src, s.Dst = tcp.Server, b, a
		}
		last = &s
		if i < len(segments)-1 {
			m.Observe(last)
		}
	}
	k, _ := flow.KeyOf(last)
	return m.NewestOf(k), last, from
}

func TestRead(t *testing.T) {
	for _, test := range []struct {
		before, segment string
		want            recent.Reading
	}{
		{"", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10>", recent.Reading{Fresh: 10}},
		{"", "> <SEQ=110><ACK=300><CTL=ACK><DATA=10>", recent.Reading{Fresh: 10}},
		{"", "> <SEQ=100><ACK=300><CTL=ACK>", recent.Reading{}},
		{"", "> <SEQ=2000000000><ACK=300><CTL=ACK><DATA=10>", recent.Reading{Foreign: true}},

		// One below the next number, of octets that are acknowledged.
		{"", "> <SEQ=99><ACK=300><CTL=ACK>", recent.Reading{Keepalive: true}},
		{"", "> <SEQ=99><ACK=300><CTL=ACK><DATA=1>", recent.Reading{Keepalive: true, Old: true}},
		{"", "> <SEQ=99><ACK=300><CTL=ACK><DATA=2>", recent.Reading{Fresh: 1}},
		{"", "> <SEQ=99><ACK=300><CTL=FIN,ACK>", recent.Reading{Old: true}},
		{"", "> <SEQ=98><ACK=300><CTL=ACK>", recent.Reading{}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=109><ACK=300><CTL=ACK>", recent.Reading{}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=109><ACK=300><CTL=ACK><DATA=1>", recent.Reading{Old: true}},

		// Some or all of the octets were captured before.
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10>", recent.Reading{Old: true}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=105><ACK=300><CTL=ACK><DATA=10>", recent.Reading{Fresh: 5}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=100><ACK=300><CTL=FIN,ACK><DATA=10>", recent.Reading{}},

		// They lie in a hole, in part.
		{"> <SEQ=110><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10>", recent.Reading{Fresh: 10}},
		{"> <SEQ=110><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=102><ACK=300><CTL=ACK><DATA=3>", recent.Reading{Fresh: 3}},
		{"> <SEQ=110><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=105><ACK=300><CTL=ACK><DATA=10>", recent.Reading{Fresh: 5}},
		{"> <SEQ=110><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=30>", recent.Reading{Fresh: 20}},
		{"> <SEQ=110><ACK=300><CTL=ACK><DATA=10>", "> <SEQ=110><ACK=300><CTL=ACK><DATA=10>", recent.Reading{Old: true}},

		// It left before what was captured.
		{"", "> <SEQ=100><ACK=299><CTL=ACK>", recent.Reading{Stale: true}},
		{"", "> <SEQ=100><ACK=299><CTL=ACK><DATA=10>", recent.Reading{Fresh: 10}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=20>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=19>", recent.Reading{Old: true, Stale: true}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=20>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=20>", recent.Reading{Old: true, Stale: true}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=20>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=21>", recent.Reading{Old: true}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=2000>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=976>", recent.Reading{Old: true}}, // too far below: drawn at random
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=2000>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10><ID=977>", recent.Reading{Old: true, Stale: true}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10><TS=50,1><ID=20>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10><TS=49,1><ID=21>", recent.Reading{Old: true, Stale: true}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10><TS=50,1><ID=20>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10><TS=51,1><ID=19>", recent.Reading{Old: true}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10><TS=50,1><ID=20>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10><TS=50,1><ID=20>", recent.Reading{Old: true, Stale: true}},
		{"> <SEQ=100><ACK=300><CTL=ACK><DATA=10><TS=50,1><ID=20>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=10><TS=50,1><ID=21>", recent.Reading{Old: true}},
		{"> <SEQ=100><ACK=300><CTL=ACK><TS=50,1><ID=20>", "> <SEQ=100><ACK=300><CTL=ACK><TS=50,1><ID=20>", recent.Reading{}},

		// A SYN that was not the first has numbers of its own.
		{"", "> <SEQ=98><CTL=SYN>", recent.Reading{Old: true}},
		{"", "> <SEQ=97><CTL=SYN>", recent.Reading{Foreign: true}},
	} {
		segments := slices.Clone(underway)
		if test.before != "" {
			segments = append(segments, test.before)
		}
		c, s, from := played(t, append(segments, test.segment)...)
		if got := c.Read(s, from); got != test.want {
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
		if got := c.Contiguous(tcp.Client); got != test.contiguous {
			t.Errorf("after %v A's octets are there up to %d, want %d", test.segments, got, test.contiguous)
		}
		if got := c.Ends[tcp.Client].Una(&c.Ends[tcp.Server]); got != test.una {
			t.Errorf("after %v SND.UNA of A is %d, want %d", test.segments, got, test.una)
		}
	}
}
