package tracker_test

import (
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What an end would show by repeating its SYN,ACK is settled only once it would
// have: after twice the pause that came before (RFC 6298 §5.5).
func TestSettledHeedsBackOff(t *testing.T) {
	l, err := parseLadder(` 1. --> <SEQ=100><CTL=SYN> -->
 2. <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <--
 3. +1 <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <--
 4. +4 <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <--
 5. --> <SEQ=101><ACK=301><CTL=ACK> -->
`)
	if err != nil {
		t.Fatal(err)
	}
	var tk *tracker.Tracker
	l.run(t, func(*tracker.Event) {}, func(last *tracker.Tracker, _, _ int) { tk = last })
	handshake := tk.Now()
	for _, row := range []struct {
		after time.Duration
		want  tcp.Certainty
	}{
		{3500 * time.Millisecond, tcp.Assumed}, // enough where nothing is repeated
		{8 * time.Second, tcp.Assumed},
		{10 * time.Second, tcp.Settled},
	} {
		tk.Advance(handshake.Add(row.after))
		told := 0
		tk.Each(func(r *tracker.Record) {
			told++
			if server := &r.Ends[tcp.Server]; server.State != tcp.Established || server.Certainty != row.want {
				t.Errorf("after %v the server is %v, %v, want %v", row.after, server.State, server.Certainty, row.want)
			}
		})
		if told != 1 {
			t.Errorf("after %v there are %d connections, want 1", row.after, told)
		}
	}
}
