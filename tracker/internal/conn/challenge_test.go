package conn

import (
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
