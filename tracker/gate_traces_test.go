package tracker_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What the gate refuses the receiver must not have taken. A capture made on the
// receiver's own host shows that: it has every segment that came there, in the
// order in which it came, and the answer to it before the next. A receiver that
// acknowledges, or reports by SACK, octets that only a refused segment had
// brought by then has taken it.
func TestRefusedSegmentsWereNotTaken(t *testing.T) {
	files, err := filepath.Glob("testdata/traces/*/*.pcap")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d captures: %v", len(files), err)
	}
	refused, segments := 0, 0
	for _, file := range files {
		host := tcp.Server
		if filepath.Base(file) == "client.pcap" {
			host = tcp.Client
		}
		source, err := capture.Open([]string{file}, capture.Options{})
		if err != nil {
			t.Fatal(err)
		}
		last := map[int]tcp.Segment{} // by connection: the newest segment to the host, if it was refused
		why := map[int]tcp.Skip{}
		before := map[int]tcp.Segment{} // the newest segment of the host
		var now tcp.Segment
		tk, err := tracker.New(tracker.Config{Segments: true}, func(e *tracker.Event) {
			if e.Kind != tracker.EventSegment || e.Packet == 0 {
				return
			}
			s, was := last[e.Conn]
			switch {
			case e.End == host && was:
				if had := before[e.Conn]; had.Packet != 0 && now.Time.Sub(s.Time) < 300*time.Millisecond && has(&now, &s) && !has(&had, &s) {
					t.Errorf("%s: #%d was refused (%v), but #%d takes it", file, s.Packet, why[e.Conn], now.Packet)
				}
				delete(last, e.Conn)
				before[e.Conn] = now
			case e.End == host:
				before[e.Conn] = now
			default:
				segments++
				delete(last, e.Conn)
				if e.Skipped.Refused() && now.Len() > 0 {
					refused++
					last[e.Conn], why[e.Conn] = now, e.Skipped
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for s, err := range source.Segments() {
			if err != nil {
				t.Fatal(err)
			}
			now = *s
			tk.Observe(s)
		}
		if err := source.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d segments were refused", refused, segments)
	if refused < 10 {
		t.Errorf("only %d segments were refused, too few to tell", refused)
	}
}

// has reports whether the answer says that its sender has all of s.
func has(answer, s *tcp.Segment) bool {
	if answer.Flags&tcp.ACK != 0 && s.End().AtMost(answer.Ack) {
		return true
	}
	for _, b := range answer.Options.SACK[:answer.Options.NumSACK] {
		if b.Left.AtMost(s.Seq) && s.End().AtMost(b.Right) {
			return true
		}
	}
	return false
}
