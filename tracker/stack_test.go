package tracker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// SYNs by which a stack is known, is guessed, and is not.
const (
	linuxSYN   = "<WND=64240><MSS=1460><SACKOK><TS=1,0><NOP><WS=7>"
	guessedSYN = "<WND=64241><MSS=1460><SACKOK><TS=1,0><NOP><WS=7>"
	macSYN     = "<WND=32768><MSS=1460><NOP><WS=6><NOP><NOP><TS=1,0><SACKOK>" // guessed
	unknownSYN = "<WND=60000><MSS=1460>"
)

// closedByClient is a connection whose client comes to TIME-WAIT.
const closedByClient = ` 1. --> <SEQ=100><CTL=SYN>{SYN} -->
 2. <-- <SEQ=300><ACK=101><CTL=SYN,ACK>{SYN} <--
 3. --> <SEQ=101><ACK=301><CTL=ACK> -->
 4. --> <SEQ=101><ACK=301><CTL=FIN,ACK> -->
 5. <-- <SEQ=301><ACK=102><CTL=FIN,ACK> <--
 6. --> <SEQ=102><ACK=302><CTL=ACK> -->
`

// playStacks plays a ladder with the stacks told by auto, and returns the end
// of the client some time later.
func playStacks(t *testing.T, head, ladder, syn string, later time.Duration) (client tracker.EndRecord) {
	l, err := parseLadder(head + strings.ReplaceAll(ladder, "{SYN}", syn))
	if err != nil {
		t.Fatal(err)
	}
	l.run(t, func(*tracker.Event) {}, func(tk *tracker.Tracker, _, i int) {
		if i == len(l.rungs)-1 {
			tk.Advance(tk.Now().Add(later))
			tk.Each(func(r *tracker.Record) { client = r.Clone().Ends[tcp.Client] })
		}
	})
	return client
}

// What a timer says is settled only where the timer is known to be the end's.
func TestTimersSettleWhatIsKnown(t *testing.T) {
	undecided := tcp.TimeWait.Set() | tcp.Closed.Set()
	for _, c := range []struct {
		name, head, syn string
		want            tcp.Certainty
		possible        tcp.StateSet
		sure            tcp.StackCertainty
	}{
		{"known", "stack: auto\n", linuxSYN, tcp.Settled, 0, tcp.StackKnown},
		{"guessed", "stack: auto\n", guessedSYN, tcp.Assumed, undecided, tcp.StackGuessed},
		{"not known", "stack: auto\n", unknownSYN, tcp.Assumed, undecided, tcp.StackUnknown},
		{"named", "stack: linux\n", unknownSYN, tcp.Settled, 0, tcp.StackNamed},
		{"not known, but 2 MSL is", "stack: auto\n2msl: 40s\n", unknownSYN, tcp.Settled, 0, tcp.StackUnknown},
	} {
		got := playStacks(t, c.head, closedByClient, c.syn, 61*time.Second)
		if got.State != tcp.Closed || got.Certainty != c.want || got.Possible != c.possible || got.StackCertainty != c.sure {
			t.Errorf("%s: got %v, %v, of %v, stack %v; want CLOSED, %v, of %v, stack %v",
				c.name, got.State, got.Certainty, got.Possible, got.StackCertainty, c.want, c.possible, c.sure)
		}
	}
}

// A SYN that is repeated with the timestamp of the first is of gVisor, unless the
// network copied it, or its packets are numbered.
func TestStackThatKeepsItsTimestamp(t *testing.T) {
	for _, c := range []struct {
		name, first, again string
		want               tcp.StackID
		sure               tcp.StackCertainty
	}{
		{"kept", guessedSYN, "+1 --> <SEQ=100><CTL=SYN>" + guessedSYN + " -->", tcp.StackGVisor, tcp.StackKnown},
		{"another", guessedSYN, "+1 --> <SEQ=100><CTL=SYN>" + strings.Replace(guessedSYN, "TS=1", "TS=1001", 1) + " -->", tcp.StackLinux, tcp.StackGuessed},
		{"copied", guessedSYN, "+0.02 --> <SEQ=100><CTL=SYN>" + guessedSYN + " -->", tcp.StackLinux, tcp.StackGuessed},
		{"numbered", guessedSYN + "<ID=7>", "+1 --> <SEQ=100><CTL=SYN>" + guessedSYN + "<ID=8> -->", tcp.StackLinux, tcp.StackGuessed},
		{"guessed before", macSYN, "+1 --> <SEQ=100><CTL=SYN><WND=64240><MSS=1460> -->", tcp.StackMacOS, tcp.StackGuessed},
		{"known before", linuxSYN, "+1 --> <SEQ=100><CTL=SYN>" + linuxSYN + " -->", tcp.StackLinux, tcp.StackKnown},
	} {
		got := playStacks(t, "stack: auto\n", " 1. --> <SEQ=100><CTL=SYN>{SYN} -->\n 2. "+c.again+"\n", c.first, 0)
		if got.Stack != c.want || got.StackCertainty != c.sure {
			t.Errorf("%s: got %s, %v, want %s, %v", c.name, got.Stack.Stack().Name, got.StackCertainty, c.want.Stack().Name, c.sure)
		}
	}
}

// A SYN,ACK that somebody forges does not change the stack of who opened.
func TestStackOfForgedSYNACK(t *testing.T) {
	got := playStacks(t, "stack: auto\n", closedByClient+" 7. --> <SEQ=102><ACK=302><CTL=SYN,ACK>"+strings.Replace(linuxSYN, "64240", "65160", 1)+" -->\n", guessedSYN, 0)
	if got.Stack != tcp.StackLinux || got.StackCertainty != tcp.StackGuessed {
		t.Errorf("got %s, %v", got.Stack.Stack().Name, got.StackCertainty)
	}
}

// gVisor takes the ACK of its FIN only where it is next in order, and does not send
// the FIN again: that nothing follows settles nothing where it may have come before
// what the end lacked.
func TestAckOutOfOrderSettlesNothing(t *testing.T) {
	opened := strings.Join(strings.SplitAfter(closedByClient, "\n")[:4], "")
	open := tcp.FinWait1.Set() | tcp.Closing.Set() | tcp.TimeWait.Set()
	crossed := opened + " 5. <-- <SEQ=301><ACK=101><CTL=FIN,ACK> <--\n"
	for _, c := range []struct {
		name, stack, ladder string
		later               time.Duration
		state               tcp.State
		want                tcp.Certainty
		possible            tcp.StateSet
	}{
		{"maybe out of order", "gvisor", crossed + " 6. <-- <SEQ=302><ACK=102><CTL=ACK> <--\n", 10 * time.Second,
			tcp.TimeWait, tcp.Assumed, open},
		{"and after 2 MSL", "gvisor", crossed + " 6. <-- <SEQ=302><ACK=102><CTL=ACK> <--\n", 61 * time.Second,
			tcp.Closed, tcp.Assumed, open | tcp.Closed.Set()},
		{"in order", "gvisor", crossed + " 6. --> <SEQ=102><ACK=302><CTL=ACK> -->\n 7. <-- <SEQ=302><ACK=102><CTL=ACK> <--\n", 10 * time.Second,
			tcp.TimeWait, tcp.Settled, 0},
		{"of Linux", "linux", crossed + " 6. <-- <SEQ=302><ACK=102><CTL=ACK> <--\n", 10 * time.Second,
			tcp.TimeWait, tcp.Settled, 0},
	} {
		got := playStacks(t, "stack: "+c.stack+"\n", c.ladder, "", c.later)
		if got.State != c.state || got.Certainty != c.want || got.Possible != c.possible {
			t.Errorf("%s: got %v, %v, of %v; want %v, %v, of %v", c.name, got.State, got.Certainty, got.Possible, c.state, c.want, c.possible)
		}
	}
}
