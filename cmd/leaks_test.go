package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A leakyService answers connections that its clients close; what it does then is
// the case.
type leakyService struct {
	t    *testing.T
	pcap *pktgen.Pcap
	now  tcp.Time
}

var leakyServer = netip.MustParseAddrPort("192.0.2.80:8080")

func leakyClient(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("192.0.2.10"), uint16(40_000+i))
}

func (s *leakyService) put(i int, up bool, flags tcp.Flags, seq, ack tcp.Seq, data tcp.Size) {
	s.now = s.now.Add(time.Millisecond)
	g := tcp.Segment{Time: s.now, Src: leakyClient(i), Dst: leakyServer, Flags: flags, Seq: seq, Ack: ack, Data: data, Wnd: 64240, TTL: 64}
	if !up {
		g.Src, g.Dst = g.Dst, g.Src
	}
	if err := s.pcap.WriteSegment(&g, 0); err != nil {
		s.t.Fatal(err)
	}
}

// closedByClient writes a connection up to the ACK of the client's FIN.
func (s *leakyService) closedByClient(i int) {
	s.put(i, true, tcp.SYN, 100, 0, 0)
	s.put(i, false, tcp.SYN|tcp.ACK, 500, 101, 0)
	s.put(i, true, tcp.ACK, 101, 501, 0)
	s.put(i, true, tcp.PSH|tcp.ACK, 101, 501, 20)
	s.put(i, false, tcp.PSH|tcp.ACK, 501, 121, 30)
	s.put(i, true, tcp.FIN|tcp.ACK, 121, 531, 0)
	s.put(i, false, tcp.ACK, 531, 122, 0)
}

// closes writes that the server closes too.
func (s *leakyService) closes(i int) {
	s.put(i, false, tcp.FIN|tcp.ACK, 531, 122, 0)
	s.put(i, true, tcp.ACK, 122, 532, 0)
}

// idles writes a packet of another service after some time.
func (s *leakyService) idles(d time.Duration) {
	s.now = s.now.Add(d)
	s.put(9999, true, tcp.SYN, 100, 0, 0)
	s.put(9999, false, tcp.RST|tcp.ACK, 0, 101, 0)
}

// What is told of a service that leaks says which part of its connections it leaks,
// and says the same as the row of the service; it comforts nobody about one that
// closes none.
func TestLeaksOfServices(t *testing.T) {
	for _, test := range []struct {
		name  string
		play  func(s *leakyService)
		args  []string
		kind  string // "": nothing above a notice, and no reason to worry
		cause string
		of    [2]int // so many of so many connections
	}{
		{"leaks-all", func(s *leakyService) {
			for i := range 6 {
				s.closedByClient(i)
				s.now = s.now.Add(10 * time.Second)
			}
			s.idles(61 * time.Second)
		}, nil, "close-wait-leak", "closes-none", [2]int{6, 6}},
		{"leaks-one-in-three", func(s *leakyService) {
			for i := range 9 {
				s.closedByClient(i)
				if i%3 > 0 {
					s.closes(i)
				}
			}
			s.idles(61 * time.Second)
		}, nil, "close-wait-leak", "closes-some", [2]int{3, 9}},
		{"leaks-one-of-many", func(s *leakyService) {
			for i := range 100 {
				s.closedByClient(i)
				if i != 50 {
					s.closes(i)
				}
			}
			s.idles(61 * time.Second)
		}, nil, "close-wait-leak", "closes-others", [2]int{1, 100}},
		{"leaks-all-too-early-to-tell", func(s *leakyService) {
			for i := range 6 {
				s.closedByClient(i)
			}
			s.idles(20 * time.Second)
		}, nil, "half-close-lingering", "closes-none", [2]int{6, 6}},
		{"leaks-all-where-twenty-seconds-are-long", func(s *leakyService) {
			for i := range 6 {
				s.closedByClient(i)
			}
			s.idles(20 * time.Second)
		}, []string{"--leak-after", "15s"}, "close-wait-leak", "closes-none", [2]int{6, 6}},
		{"closes-all", func(s *leakyService) {
			for i := range 6 {
				s.closedByClient(i)
				s.closes(i)
			}
			s.idles(61 * time.Second)
		}, nil, "", "", [2]int{0, 6}},
		{"half-closes-that-are-used", func(s *leakyService) {
			for i := range 3 {
				s.closedByClient(i)
			}
			for n := range tcp.Seq(4) {
				s.now = s.now.Add(20 * time.Second)
				for i := range 3 {
					s.put(i, false, tcp.PSH|tcp.ACK, 531+100*n, 122, 100)
					s.put(i, true, tcp.ACK, 122, 631+100*n, 0)
				}
			}
		}, nil, "", "", [2]int{3, 3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), test.name+".pcap")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			w, err := pktgen.NewPcap(f, pcap.LinkEthernet, 1<<16)
			if err != nil {
				t.Fatal(err)
			}
			test.play(&leakyService{t, w, tcp.Time(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())})
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if status := execute(t.Context(), append([]string{"replay", "-q", "-o", "jsonl", path}, test.args...), &out, io.Discard); status != exitDone {
				t.Fatalf("exit status %d", status)
			}
			told, comfort, oldest := 0, 0, []string{}
			lines := json.NewDecoder(&out)
			for lines.More() {
				var line struct {
					Anomalies json.RawMessage
					Services  []struct {
						Port      int
						CloseWait struct {
							Server int
							Oldest float64
						} `json:"close_wait"`
						PeerClosed struct{ Server int } `json:"peer_closed"`
					}
				}
				if err := lines.Decode(&line); err != nil {
					t.Fatal(err)
				}
				for _, s := range line.Services {
					if got := [2]int{s.CloseWait.Server, s.PeerClosed.Server}; s.Port == int(leakyServer.Port()) && got != ([2]int{test.of[0], test.of[1]}) {
						t.Errorf("the row of the service has %v in CLOSE_WAIT, want %v", got, test.of)
					}
					for _, age := range oldest {
						if want := fmt.Sprintf("%.1f s", s.CloseWait.Oldest); s.CloseWait.Oldest < 100 && age != want {
							t.Errorf("the oldest has waited for %s, and for %s in the row of the service", age, want)
						}
					}
				}
				var odd []struct{ Kind, Cause, Severity, Text string }
				if json.Unmarshal(line.Anomalies, &odd) != nil {
					continue // those of the summary are counts
				}
				for _, a := range odd {
					if strings.Contains(a.Text, "often intended") {
						comfort++
					}
					if a.Kind == test.kind {
						told++
						if a.Cause != test.cause {
							t.Errorf("%s is %q, want %q", a.Kind, a.Cause, test.cause)
						}
						of := map[string]string{
							"closes-none":   fmt.Sprintf(" has closed none of %d connections that peers closed, ", test.of[1]),
							"closes-some":   fmt.Sprintf(" has not closed %d of %d connections that peers closed, ", test.of[0], test.of[1]),
							"closes-others": fmt.Sprintf(" has closed all but this one of %d connections that peers closed", test.of[1]),
						}
						if _, after, ok := strings.Cut(a.Text, "the oldest has waited for "); ok {
							age, _, _ := strings.Cut(after, ". ")
							oldest = append(oldest, age)
						}
						if !strings.Contains(a.Text, of[test.cause]) {
							t.Errorf("%s says %q, want %q", a.Kind, a.Text, of[test.cause])
						}
					}
					if test.kind == "" && slices.Contains([]string{"warning", "error"}, a.Severity) && a.Kind != "connection-refused" {
						t.Errorf("%s is found, a %s: %s", a.Kind, a.Severity, a.Text)
					}
				}
			}
			if want := test.of[0]; test.kind != "" && told != want {
				t.Errorf("%s is told of %d connections, want %d", test.kind, told, want)
			}
			if test.kind != "" && comfort > 0 {
				t.Errorf("%d findings say that this is often intended", comfort)
			}
		})
	}
}
