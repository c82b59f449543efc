package cmd

import (
	"bufio"
	"bytes"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/cmd/run"
	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Of connections that end alike the first screen says what is wrong, with which
// service, how often, and at which end.
func TestFirstScreen(t *testing.T) {
	const connect, request = "c SYN 0, s SYN+ACK 0, c ACK 0, ", "c ACK+PSH 100, s ACK 0, "
	for _, c := range []struct {
		name  string
		n     int
		story string // of each connection: who sends which flags, and how much data
		want  []string
	}{
		{"leak", 2000, connect + request + "c FIN+ACK 0, s ACK 0", []string{"close-wait-leak", "10.9.0.2:80", "1,991 connections", "from 10.9.1.9, 10.9.1.0, 10.9.1.1 and 7 more", "has not closed its side"}},
		{"small leak", 20, connect + request + "c FIN+ACK 0, s ACK 0", []string{"close-wait-leak", "10.9.0.2:80", "11 connections", "has not closed its side"}},
		{"leak below its table", 9, connect + request + "c FIN+ACK 0, s ACK 0", []string{"close-wait-leak", "10.9.0.2:80", "9 connections", "has not closed its side"}},
		{"refused", 2000, "c SYN 0, s RST+ACK 0", []string{"connection-refused", "10.9.0.2:80", "2,000 connections", "no listener on port 80"}},
		{"no answer", 2000, "c SYN 0", []string{"syn-timeout", "10.9.0.2:80", "2,000 connections", "Nothing answered"}},
		{"reset", 2000, connect + request + "s RST+ACK 0", []string{"10.9.0.2:80", "2,000 connections", "server 2000"}},
		{"well", 2000, connect + request + "c FIN+ACK 0, s FIN+ACK 0, c ACK 0", []string{"Server Address Conns Open CLOSE_WAIT Oldest", "10.9.0.2:80 2000 0 - -"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.pcap")
			alike(t, path, c.n, c.story)
			for _, width := range []int{80, 0} {
				var out bytes.Buffer
				p, err := report.New("table", &out, record.Options{Width: width, Height: 24, Whole: true})
				if err != nil {
					t.Fatal(err)
				}
				r := run.Replay{Printer: p, Reading: run.Reading{Files: []string{path}, Tracker: tracker.Config{Stack: "auto"}, Stderr: io.Discard}}
				if err := r.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				screen, plain := first(out.String(), width, 24)
				for _, want := range c.want {
					if !strings.Contains(plain, want) {
						t.Errorf("%d columns: no %q in\n%s", width, want, screen)
					}
				}
			}
		})
	}
}

// Each of these anomalies is listed when that is asked for.
func TestAllAnomalies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pcap")
	alike(t, path, 50, "c SYN 0, s RST+ACK 0")
	for flag, want := range map[string]int{"--all-anomalies": 50, "--no-header": 1} {
		out, _ := replayed(t, "replay", "-q", flag, path)
		if n := strings.Count(string(out), "has no listener"); n != want {
			t.Errorf("with %s there are %d sentences, want %d", flag, n, want)
		}
	}
}

// first returns as much of what was printed as a terminal shows of it, and the same
// with one blank for what divides words. A width of 0 breaks no line.
func first(printed string, width, height int) (screen, plain string) {
	var shown []string
	for line := range strings.Lines(printed) {
		lines := 1
		if n := utf8.RuneCountInString(line) - 1; width > 0 && n > width {
			lines = (n + width - 1) / width
		}
		if height -= lines; height < 0 {
			break
		}
		shown = append(shown, strings.TrimSuffix(line, "\n"))
	}
	screen = strings.Join(shown, "\n")
	return screen, strings.Join(strings.Fields(screen), " ")
}

// alike writes a capture of n connections from ten hosts to one service, a
// connection every 10 ms, and a last SYN a while after them.
func alike(t *testing.T, path string, n int, story string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	buffered := bufio.NewWriter(file)
	w, err := pktgen.NewPcap(buffered, pcap.LinkEthernet, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	const begin = tcp.Time(1_767_322_800_000_000_000)
	write := func(s *tcp.Segment) {
		if err := w.WriteSegment(s, 0); err != nil {
			t.Fatal(err)
		}
	}
	server := netip.MustParseAddrPort("10.9.0.2:80")
	for i := range n {
		ends := [2]netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 1, byte(i % 10)}), uint16(20000+i)), server}
		next := [2]tcp.Seq{tcp.Seq(1000 * i), tcp.Seq(5_000_000 + 1000*i)}
		at := begin.Add(time.Duration(i) * 10 * time.Millisecond)
		for _, step := range strings.Split(story, ", ") {
			at = at.Add(time.Millisecond)
			words := strings.Fields(step)
			from, to := 0, 1
			if words[0] == "s" {
				from, to = 1, 0
			}
			s := &tcp.Segment{Time: at, Src: ends[from], Dst: ends[to], Seq: next[from], Wnd: 65535}
			for _, name := range strings.Split(words[1], "+") {
				s.Flags |= map[string]tcp.Flags{"SYN": tcp.SYN, "ACK": tcp.ACK, "FIN": tcp.FIN, "RST": tcp.RST, "PSH": tcp.PSH}[name]
			}
			if s.Flags&tcp.ACK != 0 {
				s.Ack = next[to]
			}
			if words[2] != "0" {
				s.Data = 100
			}
			next[from] = next[from].Add(s.Data)
			if s.Flags&(tcp.SYN|tcp.FIN) != 0 {
				next[from] = next[from].Add(1)
			}
			write(s)
		}
	}
	write(&tcp.Segment{Time: begin.Add(400 * time.Second), Src: netip.MustParseAddrPort("10.9.9.9:9"), Dst: netip.MustParseAddrPort("10.9.9.8:9"), Flags: tcp.SYN, Wnd: 1})
	if err := buffered.Flush(); err != nil {
		t.Fatal(err)
	}
}
