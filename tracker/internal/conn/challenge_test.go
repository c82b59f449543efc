package conn

import (
	"slices"
	"testing"

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
