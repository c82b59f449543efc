package conn

import (
	"slices"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/holes"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A gap is a trigger when it turns out to be something, not while its octets
// may still come.
func TestGapsAreTriggersOnce(t *testing.T) {
	ahead, late, behind := "< <SEQ=300><ACK=120><CTL=ACK>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=20>", "> <SEQ=120><ACK=300><CTL=ACK><DATA=10>"
	for _, test := range []struct {
		before  []string
		segment string
		after   time.Duration
		want    triggers.Set
	}{
		{[]string{behind}, "> <SEQ=130><ACK=300><CTL=ACK><DATA=10>", time.Second, 0}, // passed over, and not acknowledged
		{nil, ahead, 0, 0},
		{[]string{ahead}, ahead, time.Second, 0},
		{[]string{ahead}, behind, 0, 0},
		{[]string{ahead}, late, 0, triggers.OnGap},
		{[]string{ahead}, late, time.Second, 0}, // sent again: no gap any more
		{[]string{ahead}, behind, time.Second, triggers.OnGap},
		{[]string{ahead, behind}, "< <SEQ=300><ACK=130><CTL=ACK>", time.Second, triggers.OnGap},
	} {
		c, s, from := played(t, slices.Concat(underway, test.before, []string{test.segment})...)
		now := max(c.Ends[tcp.Client].SentAt, c.Ends[tcp.Server].SentAt).Add(test.after)
		if got := c.FollowGaps(s, from, c.Read(s, from), now); got != test.want {
			t.Errorf("after %v %s, %v later, is trigger %b, want %b", test.before, test.segment, test.after, got, test.want)
		}
	}
}

// The first ACK of an end tells of missing octets only where the capture had the
// first number of its peer, and all since.
func TestGapsBeforeTheFirstACK(t *testing.T) {
	for _, test := range []struct {
		why    string
		before []string
		ack    string
		want   holes.GapState
	}{
		{"both SYNs were captured", []string{"> <SEQ=100><CTL=SYN>", "< <SEQ=300><ACK=101><CTL=SYN,ACK>"}, "> <SEQ=101><ACK=331><CTL=ACK>", holes.GapOpen},
		{"the SYN+ACK may be a second copy, behind data that a Fast Open (RFC 7413) let B send before the capture", []string{"< <SEQ=300><ACK=101><CTL=SYN,ACK>"}, "> <SEQ=101><ACK=331><CTL=ACK>", holes.GapNone},
		{"a RST in the name of B does not tell its first number", []string{"> <SEQ=100><CTL=SYN>", "< <SEQ=0><ACK=50><CTL=RST,ACK>"}, "> <SEQ=101><ACK=301><CTL=ACK>", holes.GapNone},
	} {
		c, s, from := played(t, append(test.before, test.ack)...)
		c.FollowGaps(s, from, c.Read(s, from), c.Last())
		if got := c.RareState().Gaps[tcp.Server].Is; got != test.want {
			t.Errorf("after %v and %s the gap is %v, want %v: %s", test.before, test.ack, got, test.want, test.why)
		}
	}
}

// What a segment of the sender tells of octets 110 to 129, acknowledged a while
// ago and not captured by then.
func TestWhatTellsOfAGap(t *testing.T) {
	const octets, before = "> <SEQ=110><ACK=300><CTL=ACK><DATA=20>", "> <SEQ=100><ACK=300><CTL=ACK>"
	for _, test := range []struct {
		segment string
		old     bool // its octets were captured before
		skewed  bool // one direction of the capture is late
		after   time.Duration
		want    holes.GapState
	}{
		{octets, false, false, endpoint.CaptureSkew, holes.GapInverted},
		{octets, false, false, endpoint.CaptureSkew + 1, holes.GapNone},
		{octets, false, true, time.Second, holes.GapInverted},
		{octets, true, true, time.Second, holes.GapNone}, // sent again: it says nothing of their first copy
		{before, false, false, time.Second, holes.GapNone},
		{before, false, true, time.Second, holes.GapOpen}, // it was sent before the ACK
	} {
		c, s, from := played(t, append(slices.Clone(underway), test.segment)...)
		if test.skewed {
			c.Bits |= skewed
		}
		g := &c.RareState().Gaps[from]
		*g = holes.Gap{Is: holes.GapOpen, From: 110, To: 130, At: c.Last()}
		c.fillGap(s, from, recent.Reading{Old: test.old}, c.Last().Add(test.after))
		if g.Is != test.want {
			t.Errorf("%+v: the gap is %v", test, g.Is)
		}
	}
}

// One octet that is missing may be a FIN, which is taken into account once: what
// its sender showed since is not forgotten. The FIN of an end that has one is
// elsewhere.
func TestMissingOctetIsWeighedOnce(t *testing.T) {
	both := tcp.Established.Set() | tcp.FinWait1.Set() | tcp.FinWait2.Set()
	for _, test := range []struct {
		fin         bool
		first, then tcp.StateSet
	}{
		{false, both, tcp.Established.Set()},
		{true, tcp.Established.Set(), tcp.Established.Set()},
	} {
		c, _, from := played(t, append(slices.Clone(underway), "> <SEQ=101><ACK=300><CTL=ACK>")...)
		subject := &c.Ends[from]
		if test.fin {
			subject.Bits |= endpoint.HasFIN
		}
		g := &holes.Gap{Is: holes.GapOpen, From: 100, To: 101}
		c.mayBeFIN(from, g)
		if subject.Proved != test.first {
			t.Errorf("fin %v: the end is shown to be in %v, want %v", test.fin, subject.Proved, test.first)
		}
		subject.Show(tcp.Established.Set())
		c.mayBeFIN(from, g)
		if subject.Proved != test.then {
			t.Errorf("fin %v: weighed again, the end is shown to be in %v, want %v", test.fin, subject.Proved, test.then)
		}
	}
}

// One octet that stays missing may be the FIN of an end that has shown none, and
// has sent nothing behind it.
func TestMissingOctetMayHideAFIN(t *testing.T) {
	for _, test := range []struct {
		why   string
		alter func(c *Conn, g *holes.Gap)
		want  bool
	}{
		{"one octet, for long", func(*Conn, *holes.Gap) {}, true},
		{"it was told", func(_ *Conn, g *holes.Gap) { g.Is = holes.GapLost }, false},
		{"more follows", func(_ *Conn, g *holes.Gap) { g.Beyond = true }, false},
		{"two octets", func(_ *Conn, g *holes.Gap) { g.To++ }, false},
		{"its FIN is elsewhere", func(c *Conn, _ *holes.Gap) { c.Ends[tcp.Client].Bits |= endpoint.HasFIN }, false},
		{"it may still come", func(c *Conn, g *holes.Gap) { g.At = c.Last().Add(time.Minute) }, false},
	} {
		c, _, _ := played(t, append(slices.Clone(underway), "> <SEQ=100><ACK=300><CTL=ACK>")...)
		now := c.Last().Add(time.Minute)
		if c.HidesFIN(now) {
			t.Errorf("%s: hidden where nothing is missing", test.why)
		}
		g := &c.RareState().Gaps[tcp.Client]
		*g = holes.Gap{Is: holes.GapOpen, From: 100, To: 101, At: c.Last()}
		test.alter(c, g)
		if got := c.HidesFIN(now); got != test.want {
			t.Errorf("%s: a FIN may be hidden: %v, want %v", test.why, got, test.want)
		}
	}
}

// Who has its peer's FIN has received no other one.
func TestOneFINIsReceived(t *testing.T) {
	for fin, want := range map[bool]tcp.StateSet{false: tcp.Established.Set() | tcp.CloseWait.Set(), true: tcp.Established.Set()} {
		c, _, _ := played(t, append(slices.Clone(underway), "> <SEQ=100><ACK=300><CTL=ACK>")...)
		if fin {
			c.Ends[tcp.Client].Bits |= endpoint.HasFIN
		}
		c.maybeClosedTo(tcp.Server)
		if got := c.Ends[tcp.Server].Proved; got != want {
			t.Errorf("the client's FIN was captured: %v: the server is in %v, want %v", fin, got, want)
		}
	}
}

// Who acknowledges one number more than its peer was seen to send has taken a FIN
// that the peer denies, where there is one: the capture lacks nothing.
func TestACKOfADeniedFINOpensNoGap(t *testing.T) {
	for denied, want := range map[bool]holes.GapState{false: holes.GapOpen, true: holes.GapNone} {
		c, s, from := played(t, append(slices.Clone(underway), "< <SEQ=300><ACK=101><CTL=ACK>")...)
		o := c.RareState()
		if denied {
			o.denied = &[2]deniedFIN{tcp.Client: {packet: 6, by: 7, seq: 100}}
		}
		c.openGap(s, from, c.Last())
		if got := o.Gaps[tcp.Client].Is; got != want {
			t.Errorf("the FIN is denied: %v: the gap is %v, want %v", denied, got, want)
		}
	}
}
