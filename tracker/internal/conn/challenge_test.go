package conn

import (
	"slices"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// RFC 5961 §3.2 has a RST with the next number end the connection, and has one
// with another number of the window doubted.
func TestInWindow(t *testing.T) {
	c, _, _ := played(t, append(underway, "> <SEQ=100><ACK=300><CTL=ACK>")...)
	for seq, want := range map[tcp.Seq]bool{299: false, 300: false, 301: true, 1299: true, 1300: false} {
		if got := c.InWindow(seq, tcp.Client); got != want {
			t.Errorf("%d lies in the window 300 to 1299 behind the next number: %v, want %v", seq, got, want)
		}
	}
}

// A RST that its receiver may have taken leaves it in doubt until it sends
// something. Nobody is told of one that a stranger could not have guessed.
func TestRSTThatMayBeTaken(t *testing.T) {
	for name, test := range map[string]struct {
		segments []string
		answer   string
		told     bool
	}{
		"in the window": {[]string{"< <SEQ=310><CTL=RST>"}, "> <SEQ=100><ACK=300><CTL=ACK>", true},
		"below the FIN": {[]string{"< <SEQ=300><ACK=100><CTL=FIN,ACK>", "> <SEQ=100><ACK=301><CTL=ACK>", "< <SEQ=300><CTL=RST>"},
			"> <SEQ=100><ACK=301><CTL=ACK>", false},
	} {
		c, answer, from := playedOn(t, tcp.StackAuto, slices.Concat(underway, test.segments, []string{test.answer})...)
		if !c.mayBeReset(tcp.Client) || c.mayBeReset(tcp.Server) {
			t.Errorf("%s: the client may be reset: %v, want true; the server: %v, want false", name, c.mayBeReset(tcp.Client), c.mayBeReset(tcp.Server))
		}
		if told := c.Pending() != nil; told != test.told {
			t.Errorf("%s: the outcome is waited for: %v, want %v", name, told, test.told)
		}
		var before Before
		for e := range tcp.Endpoint(2) {
			before.Nxt[e], before.Acked[e], before.Wnd[e] = c.Ends[e].Nxt, c.Ends[e].Acked, c.Ends[e].Wnd
		}
		rst := c.Rare.challenge.Packet
		if !c.asksAbout(rst, answer, from, &before, answer.Time) || c.asksAbout(rst+1, answer, from, &before, answer.Time) {
			t.Errorf("%s: the ACK asks about the RST: %v, want true; about another one: %v, want false", name,
				c.asksAbout(rst, answer, from, &before, answer.Time), c.asksAbout(rst+1, answer, from, &before, answer.Time))
		}
	}
}

// What came at once and says nothing new may ask about the RST; data does not.
func TestDataAsksAboutNoRST(t *testing.T) {
	c, data, from := playedOn(t, tcp.StackAuto, append(slices.Clone(underway), "< <SEQ=310><CTL=RST>", "> <SEQ=100><ACK=300><CTL=ACK><DATA=5>")...)
	before := Before{Nxt: [2]tcp.Seq{100, 300}, Acked: [2]tcp.Seq{300, 100}, Wnd: [2]uint16{c.Ends[tcp.Client].Wnd, c.Ends[tcp.Server].Wnd}}
	if c.asksAbout(c.Rare.challenge.Packet, data, from, &before, data.Time) {
		t.Error("data is taken for a challenge ACK")
	}
}

// A RST that is taken is no guess at its number.
func TestGuesses(t *testing.T) {
	for rst, want := range map[string]uint8{
		"< <SEQ=300><ACK=100><CTL=RST,ACK>": 0,
		"< <SEQ=310><ACK=100><CTL=RST,ACK>": 1,
	} {
		c, _, _ := played(t, append(slices.Clone(underway), rst, "> <SEQ=100><ACK=300><CTL=ACK>")...)
		if got := c.RareState().challenge.Guesses; got != want {
			t.Errorf("%s: %d guesses, want %d", rst, got, want)
		}
	}
}

// An end in SYN-SENT does not challenge an ACK of what it never sent: it answers
// with a RST (RFC 9293 §3.10.7.3).
func TestAckInSynSentIsNotChallenged(t *testing.T) {
	c, _, _ := played(t, "> <SEQ=98><CTL=SYN>", "< <SEQ=298><ACK=500><CTL=ACK>", "< <SEQ=298><ACK=510><CTL=ACK>", "> <SEQ=98><CTL=SYN>")
	if d := c.Pending(); d != nil {
		t.Errorf("pending: %+v", d)
	}
}

// A RST that the end may have taken is not forgotten for one that it has not.
func TestDoubtOutlastsOtherRSTs(t *testing.T) {
	c, _, _ := playedOn(t, tcp.StackAuto, append(slices.Clone(underway), "< <SEQ=310><CTL=RST>", "< <SEQ=90000><CTL=RST>", "> <SEQ=100><ACK=300><CTL=ACK>")...)
	if !c.mayBeReset(tcp.Client) {
		t.Error("the client may not be reset any more")
	}
}

// A SYN+ACK that acknowledges what was never sent is refused for its SYN.
func TestSYNACKIsNoChallengedAck(t *testing.T) {
	c, _, _ := played(t, append(slices.Clone(underway), "< <SEQ=299><ACK=500><CTL=SYN,ACK>", "> <SEQ=100><ACK=300><CTL=ACK>")...)
	if d := c.Pending(); d != nil && d.What == ChallengedAck {
		t.Errorf("the SYN+ACK is challenged as an ACK: %+v", d)
	}
}

// Linux takes a RST for an orphan in FIN_WAIT_2 without asking (RFC 5961 §3.2 would
// have it ask): an end that asked about one it may have taken is no orphan, which
// says nothing of one that no end would take, or that is open.
func TestWhoAsksAboutARSTIsNoOrphan(t *testing.T) {
	const rst, ack = "< <SEQ=310><CTL=RST>", "> <SEQ=100><ACK=300><CTL=ACK>"
	closed := []string{"> <SEQ=100><ACK=300><CTL=FIN,ACK>", "< <SEQ=300><ACK=101><CTL=ACK>", rst, "> <SEQ=101><ACK=300><CTL=ACK>"}
	for _, test := range []struct {
		why      string
		segments []string
		is       tcp.State // the end that asks
		may      bool
		want     bool
	}{
		{"it may have been taken", closed, tcp.FinWait2, true, true},
		{"nobody would take it", closed, tcp.FinWait2, false, false},
		{"the end is open", []string{rst, ack}, tcp.Established, true, false},
	} {
		c, answer, from := playedOn(t, tcp.StackAuto, slices.Concat(underway, test.segments)...)
		d := c.Pending()
		if d == nil {
			t.Fatalf("%s: nothing is challenged", test.why)
		}
		d.may, c.Ends[from].Assumed = test.may, test.is.Set()
		var before Before
		for e := range tcp.Endpoint(2) {
			before.Nxt[e], before.Acked[e], before.Wnd[e] = c.Ends[e].Nxt, c.Ends[e].Acked, c.Ends[e].Wnd
		}
		c.heardOfChallenge(answer, from, &before, answer.Time)
		if got := c.Ends[from].Has(endpoint.StillReads); got != test.want || d.Answer != answer.Packet {
			t.Errorf("%s: the end still reads: %v, want %v; answered in frame %d", test.why, got, test.want, d.Answer)
		}
	}
}
