package cmd

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/cmd/run"
	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// Questions of practitioners, and captures that show what they saw: the first screen
// names the end at fault, the cause and the remedy, as experts answered.
func TestAnswers(t *testing.T) {
	files, err := filepath.Glob("testdata/answers/*.pcap")
	if err != nil {
		t.Fatal(err)
	}
	questions := []struct {
		capture, asked     string
		end, cause, remedy string
	}{
		{"accept-queue-full", "SYNs reach the server, no SYN+ACK; older connections are open.",
			"10.190.0.2:8080 answered no other SYN", "its backlog is full", "its application does not accept, or the backlog (net.core.somaxconn) is too small"},
		{"balancer-drops-first-syn", "Connections to a service take one second more now and then.",
			"A device on the path", "may have dropped the SYN", "check how long the NAT, load balancer or firewall on the path keeps closed connections"},
		{"balancer-idle-900s-rst", "After 900 s without traffic the first write is answered by RST, which the server never sent.",
			"a RST with source 10.0.0.2:7000", "A NAT, firewall or load balancer has forgotten the flow", "Send keepalives on 10.0.0.12:51334 more often than the idle limit"},
		{"busy-peer-vanishes", "The peer vanishes while data is in flight.",
			"The last packet from 10.11.0.1:80 came 13m30s before", "16 times in 13m29s without an ACK and gave up", "Check whether 10.11.0.1 is up"},
		{"challenge-ack-rst-dropped", "A SYN inside an old connection is challenged again and again; no RST follows.",
			"10.0.0.2:80 still has the previous connection", "No RST of 10.0.0.1:40000 to this ACK was captured", "Look for a firewall that drops the ACK on its way to 10.0.0.1, or the RST"},
		{"close-wait-challenges-syn", "connect() takes one second: the SYN gets a plain ACK, the client sends RST, the next SYN works.",
			"10.101.0.2:5000 acknowledged the FIN", "left its side open for 6m40s", "Find why the application on 10.101.0.2:5000 does not close"},
		{"close-wait-ignores-syn", "connect() to a daemon that listens and answers others times out: seven SYNs, no answer.",
			"10.7.0.2:5000 still has the previous connection", "in CLOSE_WAIT, for 5m2s", "Find where the application on 10.7.0.2:5000 does not close a socket"},
		{"firewall-drops-idle-silently", "After ten minutes of silence the next write hangs.",
			"A NAT or firewall has forgotten the flow", "After 12m5s idle, nothing passes any more", "Send keepalives on 10.44.0.5:41000"},
		{"hairpin-answer-from-inside", "A SYN to a public address is answered from an inside address, and the client sends RST.",
			"10.0.0.80:80 (connection 2) answered the SYN", "did not go back through the NAT", "masquerading, hairpin NAT"},
		{"handshake-ack-dropped-at-server", "A client believes it is connected and waits for the greeting for ever.",
			"10.186.60.69:3306 never was", "its backlog is full", "have the application accept faster, or raise its backlog"},
		{"keepalive-gives-up", "Keepalives of an idle connection get no answer.",
			"10.11.0.1:80 did not answer 3 keepalives", "host 10.11.0.1 is down, or the path to it is broken", "Check whether 10.11.0.1 is up"},
		{"keepalive-race-server-view", "A server closes an idle connection, a request arrives and it answers RST. Whose fault?",
			"Neither end is at fault", "its next request, crossed the FIN", "Have 10.0.1.17:23495 close idle connections some seconds sooner than 10.0.2.30:3000"},
		{"late-fin-meets-nothing", "A server closes 75 s after the client and gets RST.",
			"10.92.0.1:48001 no longer knew the connection", "FIN_WAIT_2 of a closed socket lasts 60.0 s", "Have 10.92.0.2:8080 close sooner"},
		{"nat-gateway-2h", "After two hours a keepalive is answered by RST.",
			"a RST with source 192.0.2.41:5432", "and TTL 255", "Send keepalives on 10.96.0.1:48004 more often"},
		{"pmtu-icmp-ignored", "A TLS handshake hangs: the first full segment is sent again and again.",
			"10.240.77.7:8443 still retransmitted the same 1448 bytes", "The reports do not reach 10.240.77.7:8443, or it ignores them", `Let ICMP "too big" pass to 10.240.77.7`},
		{"pool-ignores-fin", "Requests on a kept-alive connection fail with a reset now and then.",
			"10.1.0.5:36238 had acknowledged its FIN, but still sent 321 bytes", "10.1.0.6:18123 had closed both directions 4.9 s earlier", "A pool must check for that before it reuses a connection"},
		{"syn-cookie-expired", "The handshake is complete in the capture; the first request, 70 s later, gets RST.",
			"10.110.0.2:8080 never was", "the cookie had expired", "raise the backlog of port 8080"},
		{"syn-then-dup-syn-rst", "A SYN is answered by SYN+ACK, the SYN sent again by RST.",
			"10.0.0.2:80 withdrew its answer", "because its backlog is full", "whether the backlog of port 80 is full"},
		{"syns-behind-nat-ignored", "Of two hosts behind one NAT, one connects and the other's SYNs get no answer.",
			"10.0.0.80:80 answered SYNs from 192.0.2.77 with newer timestamps", "A server that compares timestamps by address drops such SYNs", "If 10.0.0.80 has net.ipv4.tcp_tw_recycle, set it to 0"},
		{"time-wait-survives-rst", "A client that always uses one port needs 144 s to connect again.",
			"10.48.19.7:31234 still held TIME_WAIT", "10.16.3.22 reused its port 50964 4.1 s after the close", "Let 10.16.3.22 connect from ports that were not used for a while"},
		{"two-hosts-one-tuple", "Busy connections are reset at random: a SYN arrives inside one.",
			"Two hosts send as 10.120.0.9:40000", "They differ in TTL (62 and 60)", "Find the two hosts behind 10.120.0.9"},
		{"zero-window-then-abort", "Nine seconds after the window closed the sender resets.",
			"10.9.1.1:45001 dropped the connection with a RST", "10.9.1.2:9900 had offered a zero window", "Find why the application on 10.9.1.2:9900 does not read its socket"},
	}
	if len(files) != len(questions) {
		t.Errorf("%d captures, %d questions", len(files), len(questions))
	}
	for _, q := range questions {
		t.Run(q.capture, func(t *testing.T) {
			var out bytes.Buffer
			p, err := report.New("table", &out, record.Options{Width: 100, Height: 24, Whole: true})
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", "answers", q.capture+".pcap")
			r := run.Replay{Printer: p, Reading: run.Reading{Files: []string{path}, Tracker: tracker.Config{Stack: "auto"}, Stderr: io.Discard}}
			if err := r.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			screen, plain := first(out.String(), 100, 24)
			for what, want := range map[string]string{"end at fault": q.end, "cause": q.cause, "remedy": q.remedy} {
				if !strings.Contains(plain, want) {
					t.Errorf("%s\nthe %s (%q) is not on\n%s", q.asked, what, want, screen)
				}
			}
		})
	}
}
