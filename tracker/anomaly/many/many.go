// Package many has the anomalies that are in no connection but in many: what is
// printed of them, and the numbers that decide. Package crossflow finds them.
package many

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
)

const (
	// A scan tries so many ports within this time, and gets little out of it.
	ScanWindow  = 60 * time.Second
	ScanTargets = 15
	// One in so many attempts, or more, that goes on to carry data is no scan
	// but a busy client.
	ScanUseful = 5
	// A scan asks every target once or twice; a client that cannot connect, or
	// a health check, asks the same ones again and again.
	ScanRepeats = 3
	// Hosts that are all tried on the same few ports, and answer in more than
	// one of so many attempts, are checked for their health.
	ScanFailed = 2
	// Backscatter is so many answers within the same time.
	BackscatterTargets = 20
	// What counts is judged so long after there is enough of it.
	ScanPatience = 10 * time.Second
)

// A Probe says how a target was tried.
type Probe uint8

const (
	ProbeSYN Probe = iota
	ProbeConnect
	ProbeFIN
	ProbeNull
	ProbeXmas
	ProbeACK
	NumProbes
)

var ProbeNames = [NumProbes]string{"syn", "connect", "fin", "null", "xmas", "ack"}

var PortScan = anomaly.Kind{
	Name:     "port-scan",
	Severity: anomaly.Warning,
	Title:    "One source tries many ports or hosts",
	RFC:      "RFC 9293 §3.10.7.1, §3.10.7.2",
	Next:     "Find out whose host {host} is. If it is not your own scanner, block it and check the ports that answered as open.",
	Causes:   scansOf(ProbeNames[:]),
	Phrases: []anomaly.Phrase{
		{Name: "nothing", Text: " Nothing answered at all, so it may also be a host that has lost its network."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "ports tried, counted per host, at least", Value: ScanTargets},
		{Name: "time in which they are counted", Value: ScanWindow},
		{Name: "attempts for each one that leads to data, more than", Value: ScanUseful},
		{Name: "attempts on the same port, on average, at most", Value: ScanRepeats},
		{Name: "attempts for each one that fails, if there are fewer ports than that, at most", Value: ScanFailed},
		{Name: "time for the answers to come", Value: ScanPatience},
	},
	Many: true,
}

// scansOf are the causes of a scan by what it sends.
func scansOf(probes []string) (list []anomaly.Cause) {
	for _, name := range probes {
		list = append(list, anomaly.Cause{Name: name, Text: "{host} probed {ports ports} on {hosts hosts} (" + name + " scan): {open} open, {refused} refused, {silent} silent."})
	}
	return list
}

var Backscatter = anomaly.Kind{
	Name:     "backscatter",
	Severity: anomaly.Notice,
	Title:    "Answers to forged packets",
	RFC:      "RFC 9293 §3.10.7.1",
	Causes: []anomaly.Cause{
		{Text: "{host} sent {n} answers to SYNs that were not captured, and nothing follows them. Most likely a SYN flood hits {host}, with these source addresses forged. The hosts that received the answers need not do anything. If they did send SYNs, the capture has only one direction."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "answers to different addresses and ports, at least", Value: BackscatterTargets},
		{Name: "time in which they are counted", Value: ScanWindow},
		{Name: "answers for each one whose connection goes on, more than", Value: ScanUseful},
		{Name: "time for more to come", Value: ScanPatience},
	},
	Supersedes: []string{"unsolicited-syn-ack"},
	Many:       true,
}

const (
	// A flood is so many handshakes that are not completed, within this time,
	FloodWindow = 10
	FloodSYNs   = 200
	// so many times more than those that are,
	FloodRatio = 5
	// and at least one in so many of them from a source of its own.
	FloodSources = 2
	// It is judged when the answers had the time to come.
	FloodPatience = 3 * time.Second
)

var SynFlood = anomaly.Kind{
	Name:     "syn-flood",
	Severity: anomaly.Error,
	Title:    "Listener flooded with SYNs",
	RFC:      "RFC 4987 §2",
	Next:     "Keep the listener reachable with SYN cookies (net.ipv4.tcp_syncookies=1) and a larger backlog. If there are few sources, filter them.",
	Causes: []anomaly.Cause{
		{Text: "{n} SYNs in {span} to {listener}; {share} % of them never complete a handshake. This is a SYN flood, or the answers do not reach the clients."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "incomplete handshakes, at least", Value: FloodSYNs},
		{Name: "time in which they are counted", Value: FloodWindow * time.Second},
		{Name: "incomplete handshakes for each complete one, at least", Value: FloodRatio},
		{Name: "SYNs for each source address and port, at most", Value: FloodSources},
		{Name: "time for the answers to come", Value: FloodPatience},
	},
	Supersedes: []string{"syn-rcvd-stuck"},
	Many:       true,
}

const (
	// So many connections of a listener in TIME-WAIT at once are worth a word,
	WaitsMany = 50
	// if it is the listener that closes first: in so many times as many cases.
	WaitsRatio = 4
	// Many servers close first, and hold some of these all day. So many are
	// what a Linux host with 1 GB of memory keeps (net.ipv4.tcp_max_tw_buckets);
	// others keep more.
	WaitsHeavy = 4096
	// The count goes on this long before it is told.
	WaitsPatience = 10 * time.Second
)

var ServerTimeWaitAccumulation = anomaly.Kind{
	Name:     "server-time-wait-accumulation",
	Severity: anomaly.Notice,
	Title:    "Server closes first and collects TIME_WAIT",
	RFC:      "RFC 9293 §3.6.1",
	Next:     "Let the clients close first (a longer keepalive timeout at {listener} than at the clients), and set SO_REUSEADDR on {listener}.",
	Causes: []anomaly.Cause{
		{Text: "{n} connections of {listener} are in TIME_WAIT because the server closes first. The last of them ends 2 MSL (60 s on Linux) after {time}. Until then, the port cannot be bound again without SO_REUSEADDR."},
	},
	Phrases: []anomaly.Phrase{
		{Name: "heavy", Text: " A host keeps a limited number (on Linux net.ipv4.tcp_max_tw_buckets, 4096 with 1 GB of memory), and ends the others without TIME_WAIT."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "connections in TIME_WAIT at the listener at the same time, at least", Value: WaitsMany},
		{Name: "the same, for each one at a client, at least", Value: WaitsRatio},
		{Name: "connections in TIME_WAIT that are a heavy load, at least", Value: WaitsHeavy},
		{Name: "time for more to come", Value: WaitsPatience},
	},
	Moves: []anomaly.SeverityMove{{Name: "heavy", To: anomaly.Warning, When: "if there are thousands at the same time"}},
	Many:  true,
}

const (
	// Ports are running out when so many in a hundred are in use.
	PortsFull = 80
	// The count goes on this long before it is told.
	PortsPatience = 10 * time.Second
)

var EphemeralPortExhaustion = anomaly.Kind{
	Name:     "ephemeral-port-exhaustion",
	Severity: anomaly.Warning,
	Title:    "Client is running out of ports to one destination",
	RFC:      "RFC 6056 §2.1",
	Next:     "Keep connections open and reuse them (a pool, HTTP keep-alive), widen net.ipv4.ip_local_port_range, or use more addresses on either side.",
	Causes: []anomaly.Cause{
		{Text: "{client} uses {n} of about {size} ports toward {listener}, including those in TIME_WAIT. When none is left, new connections fail. With 60 s of TIME_WAIT (Linux), the limit is about {rate} new connections per second. If {client} is a NAT gateway, the hosts behind it share these ports."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "percent of ports in use, at least", Value: PortsFull},
		{Name: "time for more to come", Value: PortsPatience},
	},
	Many: true,
}
