package conn

import (
	"slices"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func TestAckOfSYNHeard(t *testing.T) {
	handshake := []string{"> <SEQ=98><CTL=SYN>", "< <SEQ=298><ACK=99><CTL=SYN,ACK>"}
	withData := []string{"> <SEQ=98><CTL=SYN><DATA=10>", "< <SEQ=298><ACK=109><CTL=SYN,ACK>"}
	one, oneMore := []string{"> <SEQ=99><ACK=299><CTL=ACK><DATA=1>"}, []string{"> <SEQ=109><ACK=299><CTL=ACK><DATA=1>"}
	for _, test := range []struct {
		before  []string
		segment string
		want    bool
	}{
		{handshake, "< <SEQ=299><ACK=99><CTL=ACK>", false}, // the SYN has the number 98 alone
		{slices.Concat(handshake, one), "< <SEQ=299><ACK=99><CTL=ACK>", false},
		{slices.Concat(handshake, one), "< <SEQ=299><ACK=100><CTL=ACK>", true},
		{slices.Concat(handshake, one), "< <SEQ=299><ACK=101><CTL=ACK>", false}, // of what was not sent
		{handshake, "< <SEQ=299><ACK=99><CTL=ACK><DATA=1>", true},
		{handshake, "< <SEQ=298><ACK=99><CTL=ACK><DATA=1>", false}, // no new data

		// TCP Fast Open: the octets of the SYN prove nothing, nor do the answers.
		{withData, "< <SEQ=299><ACK=109><CTL=ACK>", false},
		{withData, "< <SEQ=299><ACK=109><CTL=ACK><DATA=1>", false},
		{slices.Concat(withData, oneMore), "< <SEQ=299><ACK=109><CTL=ACK>", false},
		{slices.Concat(withData, oneMore), "< <SEQ=299><ACK=110><CTL=ACK>", true},
	} {
		c, s, from := played(t, append(slices.Clone(test.before), test.segment)...)
		if got := c.AckOfSYNHeard(s, from); got != test.want {
			t.Errorf("after %v %s shows that its sender's SYN was acknowledged: %v, want %v", test.before, test.segment, got, test.want)
		}
	}
}

func TestAckOfFINHeard(t *testing.T) {
	const fin = "> <SEQ=100><ACK=300><CTL=FIN,ACK>"
	crossing, acking := "< <SEQ=300><ACK=100><CTL=ACK><DATA=10>", "< <SEQ=310><ACK=101><CTL=ACK><DATA=10>"
	old, now := "< <SEQ=300><ACK=100><CTL=ACK><TS=50,1>", "< <SEQ=300><ACK=101><CTL=ACK><TS=60,1>"
	for _, test := range []struct {
		before  []string
		segment string
		want    bool
	}{
		{[]string{fin, crossing}, "> <SEQ=101><ACK=310><CTL=ACK>", false},
		{[]string{fin, crossing, acking}, "> <SEQ=101><ACK=310><CTL=ACK>", false}, // those octets did not bring the ACK
		{[]string{fin, crossing, acking}, "> <SEQ=101><ACK=311><CTL=ACK>", true},
		{[]string{fin, crossing, acking}, "> <SEQ=101><ACK=320><CTL=ACK>", true},
		{[]string{fin, crossing, acking}, "> <SEQ=101><ACK=321><CTL=ACK>", false},
		{[]string{fin, old, now}, "> <SEQ=101><ACK=300><CTL=ACK><TS=2,50>", false},
		{[]string{fin, old, now}, "> <SEQ=101><ACK=300><CTL=ACK><TS=2,51>", true},
		{[]string{fin, old, now}, "> <SEQ=101><ACK=300><CTL=ACK><TS=2,60>", true},
		{[]string{fin, old, now}, "> <SEQ=101><ACK=300><CTL=ACK><TS=2,61>", false}, // B has sent no such timestamp
		{[]string{fin, old, now}, "> <SEQ=101><ACK=300><CTL=ACK>", false},
	} {
		c, s, from := played(t, slices.Concat(underway, test.before, []string{test.segment})...)
		if got := c.AckOfFINHeard(s, from); got != test.want {
			t.Errorf("after %v %s shows that its sender's FIN was acknowledged: %v, want %v", test.before, test.segment, got, test.want)
		}
	}
}

func TestHidden(t *testing.T) {
	for _, test := range []struct {
		segments []string
		want     bool
	}{
		{underway, false},
		{slices.Concat(underway, []string{"< <SEQ=300><ACK=101><CTL=ACK>"}), true},
		{slices.Concat(underway, []string{"> <SEQ=110><ACK=300><CTL=ACK>"}), true},           // it says that it has sent them
		{slices.Concat(underway, []string{"> <SEQ=110><ACK=300><CTL=ACK><DATA=10>"}), false}, // the newest are there
		{slices.Concat(underway, []string{"> <SEQ=100><ACK=300><CTL=FIN,ACK>", "< <SEQ=300><ACK=102><CTL=ACK>"}), false},
		{underway[:1], false}, // no ACK tells
		{[]string{"< <SEQ=298><ACK=99><CTL=SYN,ACK>"}, false},
		{[]string{"< <SEQ=298><ACK=99><CTL=SYN,ACK>", "< <SEQ=299><ACK=100><CTL=ACK>"}, true},
	} {
		c, _, _ := played(t, append(slices.Clone(test.segments), underway[0])...)
		if got := c.Hidden(tcp.Client); got != test.want {
			t.Errorf("after %v the newest octets of A are not captured: %v, want %v", test.segments, got, test.want)
		}
	}
}

func TestSkipped(t *testing.T) {
	for _, test := range []struct {
		before, id uint16
		want       bool
	}{
		{20, 20, false}, {20, 21, false}, {20, 22, true}, {20, 275, true}, {20, 276, false}, {20, 19, false},
		{65535, 0, false}, {65535, 1, true}, {0, 2, false}, // 0 is no number
	} {
		x := endpoint.End{ID: test.before}
		if got := x.Skipped(&tcp.Segment{ID: test.id}); got != test.want {
			t.Errorf("from %d to %d segments were not captured: %v, want %v", test.before, test.id, got, test.want)
		}
	}
}
