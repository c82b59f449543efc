package tampering

import (
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Every signature of connection-tampering by RST has its own name.
func TestTamperingSignatures(t *testing.T) {
	syn, open, psh, later := Opening{}, Opening{acked: true}, Opening{acked: true, data: 1}, Opening{acked: true, data: 2}
	for _, row := range []struct {
		stage  Opening
		resets []tcp.Seq
		bare   int
		want   string
	}{
		{syn, []tcp.Seq{0}, 1, "post-syn-rst"},
		{syn, []tcp.Seq{5}, 0, "post-syn-rst-ack"},
		{syn, []tcp.Seq{0, 5}, 1, "post-syn-rst-and-rst-ack"},
		{open, []tcp.Seq{0}, 1, "post-ack-rst"},
		{open, []tcp.Seq{0, 0}, 2, "post-ack-rst-twice"},
		{open, []tcp.Seq{5}, 0, "post-ack-rst-ack"},
		{open, []tcp.Seq{5, 5}, 0, "post-ack-rst-ack-twice"},
		{psh, []tcp.Seq{0}, 1, "post-psh-rst"},
		{psh, []tcp.Seq{5}, 0, "post-psh-rst-ack"},
		{psh, []tcp.Seq{5, 0}, 1, "post-psh-rst-and-rst-ack"},
		{psh, []tcp.Seq{5, 5}, 0, "post-psh-rst-ack-twice"},
		{psh, []tcp.Seq{5, 5}, 2, "post-psh-rst-same-ack"},
		{psh, []tcp.Seq{5, 6}, 2, "post-psh-rst-other-ack"},
		{psh, []tcp.Seq{5, 0}, 2, "post-psh-rst-ack-0"},
		{later, []tcp.Seq{0}, 1, "later-data-rst"},
		{later, []tcp.Seq{5}, 0, "later-data-rst-ack"},
	} {
		o := row.stage
		o.Resets, o.bare = row.resets, row.bare
		if got := o.Signature(); got != row.want {
			t.Errorf("signature of %v, %d of them bare, is %s, want %s", row.resets, row.bare, got, row.want)
		}
	}
}
