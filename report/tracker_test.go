package report

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// TestOnTheTrackersEvents: every format prints what a real tracker says of a
// connection that opens and closes.
func TestOnTheTrackersEvents(t *testing.T) {
	for _, format := range Formats() {
		out := print(t, format, Options{Events: strings.HasPrefix(format, "json")}, track)
		want := "10.9.0.1"
		if format == "summary" {
			want = "TIME_WAIT"
		}
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("%s: no %s in\n%s", format, want, out)
		}
	}
}

// track runs a tracker over the segments of one connection.
func track(p Printer) error {
	var failed error
	tr, err := tracker.New(tracker.Config{}, func(e *tracker.Event) {
		if err := p.Event(e); err != nil {
			failed = err
		}
	})
	if err != nil {
		return err
	}
	client, server := netip.MustParseAddrPort("10.9.0.1:37520"), netip.MustParseAddrPort("10.9.0.2:80")
	for i, s := range []tcp.Segment{
		{Src: client, Seq: 100, Flags: tcp.SYN, Options: tcp.Options{MSS: 1460}},
		{Src: server, Seq: 300, Ack: 101, Flags: tcp.SYN | tcp.ACK, Options: tcp.Options{MSS: 1460}},
		{Src: client, Seq: 101, Ack: 301, Flags: tcp.ACK},
		{Src: client, Seq: 101, Ack: 301, Flags: tcp.ACK | tcp.PSH, Data: 3},
		{Src: server, Seq: 301, Ack: 104, Flags: tcp.ACK},
		{Src: client, Seq: 104, Ack: 301, Flags: tcp.FIN | tcp.ACK},
		{Src: server, Seq: 301, Ack: 105, Flags: tcp.FIN | tcp.ACK},
		{Src: client, Seq: 105, Ack: 302, Flags: tcp.ACK},
	} {
		s.Time, s.Packet, s.Wnd, s.Dst = at(10*i), i+1, 1000, server
		if s.Src == server {
			s.Dst = client
		}
		tr.Observe(&s)
	}
	tr.Close()
	if failed != nil {
		return failed
	}
	return p.Close(Summary{Packets: 8, TCPPackets: 8, First: at(0), Last: at(70)})
}
