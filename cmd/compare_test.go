package cmd

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/cmd/run"
	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Two hosts with a path between them that takes 5 ms, and a capture on each.
type twoPlaces struct {
	t     *testing.T
	now   tcp.Time
	ends  [2]netip.AddrPort
	taken [2][]tcp.Segment // by capture: on the client, on the server
	ahead time.Duration    // of the server's clock
}

// What becomes of a segment.
type onTheWay uint8

const (
	passes  onTheWay = iota
	isLost           // after it left
	injects          // it never left: something between forged it
	missed           // it passed, and the capture next to its receiver lacks it
)

func newTwoPlaces(t *testing.T) *twoPlaces {
	return &twoPlaces{t: t, now: 1_767_322_800_000_000_000, ends: [2]netip.AddrPort{netip.MustParseAddrPort("10.9.0.1:40000"), netip.MustParseAddrPort("10.9.0.2:443")}}
}

// send has an end send a segment, after a while.
func (p *twoPlaces) send(after time.Duration, from tcp.Endpoint, what onTheWay, s tcp.Segment) {
	p.now = p.now.Add(after)
	s.Src, s.Dst, s.TTL = p.ends[from], p.ends[from.Peer()], 64
	if s.Wnd == 0 && s.Urg == 0 {
		s.Wnd = 60000
	}
	s.Urg = 0
	if what != injects {
		s.Time = p.now
		p.taken[from] = append(p.taken[from], s)
	} else {
		s.TTL = 57
	}
	if what == passes || what == injects {
		s.Time = p.now.Add(5 * time.Millisecond)
		p.taken[from.Peer()] = append(p.taken[from.Peer()], s)
	}
}

// opens has the connection opened, and a request of 200 bytes answered.
func (p *twoPlaces) opens() {
	mss := tcp.Options{MSS: 1460, SACKOK: true}
	p.send(0, tcp.Client, passes, tcp.Segment{Flags: tcp.SYN, Seq: 99, Options: mss})
	p.send(6*time.Millisecond, tcp.Server, passes, tcp.Segment{Flags: tcp.SYN | tcp.ACK, Seq: 299, Ack: 100, Options: mss})
	p.send(6*time.Millisecond, tcp.Client, passes, tcp.Segment{Flags: tcp.ACK, Seq: 100, Ack: 300})
	p.send(time.Millisecond, tcp.Client, passes, tcp.Segment{Flags: tcp.ACK | tcp.PSH, Seq: 100, Ack: 300, Data: 200})
	p.send(6*time.Millisecond, tcp.Server, passes, tcp.Segment{Flags: tcp.ACK, Seq: 300, Ack: 300})
}

// shut is a window of 0 for send.
const shut = 1

// write writes the captures, and returns their paths.
func (p *twoPlaces) write() (paths [2]string) {
	dir := p.t.TempDir()
	for i, name := range []string{"client.pcap", "server.pcap"} {
		paths[i] = filepath.Join(dir, name)
		file, err := os.Create(paths[i])
		if err != nil {
			p.t.Fatal(err)
		}
		defer file.Close()
		w, err := pktgen.NewPcap(file, pcap.LinkEthernet, 1<<16)
		if err != nil {
			p.t.Fatal(err)
		}
		slices.SortStableFunc(p.taken[i], func(a, b tcp.Segment) int { return int(a.Time - b.Time) })
		for _, s := range p.taken[i] {
			if i == 1 {
				s.Time = s.Time.Add(p.ahead)
			}
			if err := w.WriteSegment(&s, 0); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	return paths
}

// compared returns what compare prints on a terminal of that width; 0: into a pipe.
func compared(t *testing.T, format string, paths [2]string, width int) string {
	t.Helper()
	var out, stderr bytes.Buffer
	p, err := report.NewCompare(format, &out, record.Options{Width: width})
	if err != nil {
		t.Fatal(err)
	}
	c := run.Compare{Printer: p, Reading: run.Reading{
		Taps:    []taps.Tap{{Name: "client", Files: paths[:1]}, {Name: "server", Files: paths[1:]}},
		Tracker: tracker.Config{Stack: "auto"}, Stderr: &stderr,
	}}
	if err := c.Run(t.Context()); err != nil || stderr.Len() > 0 {
		t.Fatalf("%v; standard error has %q", err, stderr.String())
	}
	return out.String()
}

// blackHole is an upload over a path that drops full-size segments.
func blackHole(p *twoPlaces) {
	p.opens()
	p.send(time.Millisecond, tcp.Client, isLost, tcp.Segment{Flags: tcp.ACK, Seq: 300, Ack: 300, Data: 1460})
	p.send(time.Millisecond, tcp.Client, passes, tcp.Segment{Flags: tcp.ACK | tcp.PSH, Seq: 1760, Ack: 300, Data: 400})
	sack := tcp.Options{NumSACK: 1}
	sack.SACK[0] = tcp.Block{Left: 1760, Right: 2160}
	p.send(6*time.Millisecond, tcp.Server, passes, tcp.Segment{Flags: tcp.ACK, Seq: 300, Ack: 300, Options: sack})
	for wait := 200 * time.Millisecond; wait < 8*time.Second; wait *= 2 {
		p.send(wait, tcp.Client, isLost, tcp.Segment{Flags: tcp.ACK, Seq: 300, Ack: 300, Data: 1460})
	}
}

// stalls is an upload to a server that does not read.
func stalls(p *twoPlaces) {
	p.opens()
	p.send(time.Millisecond, tcp.Client, passes, tcp.Segment{Flags: tcp.ACK | tcp.PSH, Seq: 300, Ack: 300, Data: 1000})
	p.send(6*time.Millisecond, tcp.Server, passes, tcp.Segment{Flags: tcp.ACK, Seq: 300, Ack: 1300, Urg: shut})
	for wait := 300 * time.Millisecond; wait < 20*time.Second; wait *= 2 {
		p.send(wait, tcp.Client, passes, tcp.Segment{Flags: tcp.ACK, Seq: 1299, Ack: 300})
		p.send(6*time.Millisecond, tcp.Server, passes, tcp.Segment{Flags: tcp.ACK, Seq: 300, Ack: 1300, Urg: shut})
	}
}

// isReset is an upload that a firewall resets, to both hosts.
func isReset(p *twoPlaces) {
	p.opens()
	p.send(time.Millisecond, tcp.Client, isLost, tcp.Segment{Flags: tcp.ACK | tcp.PSH, Seq: 300, Ack: 300, Data: 1000})
	p.send(3*time.Millisecond, tcp.Server, injects, tcp.Segment{Flags: tcp.RST | tcp.ACK, Seq: 300, Ack: 1300})
	p.send(time.Microsecond, tcp.Client, injects, tcp.Segment{Flags: tcp.RST, Seq: 300})
	p.now = p.now.Add(5 * time.Second)
}

// Of a hanging upload the first screen says which packets were lost, where, and who is at
// fault.
func TestCompareFirstScreen(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(*twoPlaces)
		want []string
	}{
		{"a path drops full-size segments", blackHole, []string{
			"7 of 11 segments (63.6 %) from client to server were lost between client.pcap and server.pcap; none the other way.",
			"Lost from client to server: 7 with 1,460 bytes of data; frames 5,9,10,11,12,13,14 of client.pcap",
			"no segment of more than 400 bytes arrived", "pmtu-black-hole", "10.9.0.1:40000 sent the same 1460 bytes 7 times", "Packets larger than the path MTU are dropped",
		}},
		{"a receiver does not read", stalls, []string{
			"No segment was lost between client.pcap and server.pcap, of 11 from client to server and 10 from server to client.",
			"zero-window-stall", "The application on 10.9.0.2:443 does not read the data that arrives.", "Check the application on 10.9.0.2:443, not the network.",
		}},
		{"a firewall resets", isReset, []string{
			"1 of 4 segments (25 %) from client to server was lost between client.pcap and server.pcap; none the other way.",
			"1 segment came to server.pcap without having passed client.pcap: forged between the two",
			"1 segment came to client.pcap without having passed server.pcap: forged between the two",
			"Forged from client to server: 1 RST; frame 6 of server.pcap", "Forged from server to client: 1 RST; frame 7 of client.pcap",
			"forged-between", "something between the captures sent it", "is cut off",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newTwoPlaces(t)
			c.play(p)
			paths := p.write()
			for _, width := range []int{80, 0} {
				screen, plain := first(compared(t, "text", paths, width), width, 24)
				for _, want := range c.want {
					if !strings.Contains(plain, want) {
						t.Errorf("%d columns: no %q in\n%s", width, want, screen)
					}
				}
			}
		})
	}
}

// What is only missed by a capture is not lost.
func TestCompareTellsMissedFromLost(t *testing.T) {
	p := newTwoPlaces(t)
	p.opens()
	seq := tcp.Seq(300)
	for i := range 20 {
		what := passes
		if i%5 == 2 {
			what = missed
		}
		p.send(time.Millisecond, tcp.Client, what, tcp.Segment{Flags: tcp.ACK | tcp.PSH, Seq: seq, Ack: 300, Data: 100})
		seq = seq.Add(100)
		p.send(6*time.Millisecond, tcp.Server, passes, tcp.Segment{Flags: tcp.ACK, Seq: 300, Ack: seq})
	}
	var doc struct {
		Summary struct {
			Taps []struct {
				Forward struct{ Sent, Arrived, Lost, Missed_To int }
			}
		}
	}
	out := compared(t, "json", p.write(), 0)
	if err := json.Unmarshal([]byte(out), &doc); err != nil || len(doc.Summary.Taps) != 2 {
		t.Fatalf("%v: %s", err, out)
	}
	if w := doc.Summary.Taps[1].Forward; w.Lost != 0 || w.Missed_To != 4 || w.Sent != 23 || w.Arrived != 23 {
		t.Errorf("got %+v, want 4 missed of 23", w)
	}
}

// How far the clocks are apart is printed as exactly as it is known, and is true.
func TestCompareClocks(t *testing.T) {
	for ahead, want := range map[time.Duration]string{
		3201300 * time.Microsecond:  "server.pcap is 3.201 s ahead, within 5",
		-3201300 * time.Microsecond: "server.pcap is 3.201 s behind, within 5",
	} {
		p := newTwoPlaces(t)
		p.ahead = ahead
		stalls(p)
		paths := p.write()
		if out := compared(t, "text", paths, 0); !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
		out, _ := replayed(t, "replay", "--tap", "client="+paths[0], "--tap", "server="+paths[1])
		for _, want := range []string{want, "client to server: 11 sent, 0 lost; one-way delay 5ms, ", "server to client: 10 sent, 0 lost; one-way delay 5ms, "} {
			if !strings.Contains(string(out), want) {
				t.Errorf("replay: no %q in\n%s", want, out)
			}
		}
	}
}

// Every packet of either capture has one line, with its frames, and times by one clock.
func TestPackets(t *testing.T) {
	p := newTwoPlaces(t)
	p.ahead = time.Hour
	isReset(p)
	paths := p.write()
	out, _ := replayed(t, "replay", "-o", "packets", "--tap", "client="+paths[0], "--tap", "fire,wall="+paths[1])
	rows, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(rows[0], " "), "packet conn from frame.client frame.fire,wall sent arrived delay_seconds within_seconds fate flags seq ack len changes"; got != want {
		t.Errorf("the header is %q, want %q", got, want)
	}
	frames := [2]map[string]bool{{}, {}}
	fates := map[string]int{}
	for i, row := range rows[1:] {
		if row[0] != fmt.Sprint(i+1) {
			t.Errorf("row %d is of packet %s", i+1, row[0])
		}
		for tap := range frames {
			if f := row[3+tap]; f != "" && frames[tap][f] {
				t.Errorf("frame %s of capture %d is in two rows", f, tap)
			} else if f != "" {
				frames[tap][f] = true
			}
		}
		fates[row[9]]++
		sent, err1 := time.Parse(time.RFC3339Nano, row[5])
		arrived, err2 := time.Parse(time.RFC3339Nano, row[6])
		switch row[9] {
		case "passed":
			delay, err := time.ParseDuration(row[7] + "s")
			within, err3 := time.ParseDuration(row[8] + "s")
			if err != nil || err1 != nil || err2 != nil || err3 != nil || arrived.Sub(sent) != delay || delay > 5*time.Millisecond+within || delay < 5*time.Millisecond-within {
				t.Errorf("%v: the delay is not 5 ms", row)
			}
		case "lost":
			if err1 != nil || row[6] != "" || row[2] != "client" || row[13] != "1000" {
				t.Errorf("%v: it was lost after the client sent it", row)
			}
		case "forged":
			if row[5] != "" || err2 != nil || !strings.HasPrefix(row[10], "RST") {
				t.Errorf("%v: it was forged", row)
			}
		}
	}
	for tap := range frames {
		if len(frames[tap]) != len(p.taken[tap]) {
			t.Errorf("%d frames of capture %d have a row, want %d", len(frames[tap]), tap, len(p.taken[tap]))
		}
	}
	if fates["passed"] != 5 || fates["lost"] != 1 || fates["forged"] != 2 {
		t.Errorf("fates are %v:\n%s", fates, out)
	}
}
