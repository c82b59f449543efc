package anomaly

import "time"

// What is in no connection but in many: what is printed of it, and the numbers
// that decide. Who finds it stands behind the tracker and watches its events.

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

var PortScan = Kind{
	Name:     "port-scan",
	Severity: Warning,
	Title:    "One source tries many ports or hosts",
	RFC:      "RFC 9293 §3.10.7.1, §3.10.7.2",
	Causes:   scansOf(ProbeNames[:]),
	Phrases: []Phrase{
		{"nothing", "", " Nothing answered at all, so that it may also be a host that has lost its network."},
	},
	Thresholds: []Threshold{
		{"ports tried, those of each host counted, at least", ScanTargets, ""},
		{"time in which they are counted", ScanWindow, ""},
		{"tries for each one that leads to data, more than", ScanUseful, ""},
		{"tries of the same port, on average, at most", ScanRepeats, ""},
		{"tries for each one that fails, if there are fewer ports than that, at most", ScanFailed, ""},
		{"time for the answers to come", ScanPatience, ""},
	},
	Many: true,
}

// scansOf are the causes of a scan by what it sends.
func scansOf(probes []string) (list []Cause) {
	for _, name := range probes {
		list = append(list, Cause{name, "{host} probed {ports ports} on {hosts hosts} (" + name + " scan): {open} open, {refused} refused, {silent} silent."})
	}
	return list
}

var Backscatter = Kind{
	Name:     "backscatter",
	Severity: Notice,
	Title:    "Answers to packets that somebody forged",
	RFC:      "RFC 9293 §3.10.7.1",
	Causes: []Cause{
		{"", "{host} sent {n} answers to SYNs that were not captured, and nothing follows them: most likely it is being flooded by somebody who forges these source addresses. The hosts that received them need do nothing. If they did send SYNs, the capture has one direction only."},
	},
	Thresholds: []Threshold{
		{"answers to different addresses and ports, at least", BackscatterTargets, ""},
		{"time in which they are counted", ScanWindow, ""},
		{"answers for each one whose connection goes on, more than", ScanUseful, ""},
		{"time for more to come", ScanPatience, ""},
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

var SynFlood = Kind{
	Name:     "syn-flood",
	Severity: Error,
	Title:    "Listener flooded with SYNs",
	RFC:      "RFC 4987 §2",
	Causes: []Cause{
		{"", "{n} SYNs in {span} to {listener}, {share} % of which never complete a handshake: a SYN flood, or clients that are cut off from the answers. SYN cookies keep the listener reachable."},
	},
	Thresholds: []Threshold{
		{"handshakes that are not completed, at least", FloodSYNs, ""},
		{"time in which they are counted", FloodWindow * time.Second, ""},
		{"handshakes that are not completed for each one that is, at least", FloodRatio, ""},
		{"SYNs for each address and port that they are from, at most", FloodSources, ""},
		{"time for the answers to come", FloodPatience, ""},
	},
	Supersedes: []string{"syn-rcvd-stuck"},
	Many:       true,
}

const (
	// So many connections of a listener in TIME-WAIT at once are worth a word,
	WaitsMany = 50
	// if it is the listener that closes first: in so many times as many cases.
	WaitsRatio = 4
	// The count goes on this long before it is told.
	WaitsPatience = 10 * time.Second
)

var ServerTimeWaitAccumulation = Kind{
	Name:     "server-time-wait-accumulation",
	Severity: Warning,
	Title:    "Server closes first and collects TIME_WAIT",
	RFC:      "RFC 9293 §3.6.1",
	Causes: []Cause{
		{"", "{n} connections of {listener} are in TIME_WAIT because the server closes first. Until the last of them ends, 2 MSL (60 s on Linux) after {time}, the port cannot be bound again without SO_REUSEADDR. Let the clients close first."},
	},
	Thresholds: []Threshold{
		{"connections in TIME_WAIT at the listener at once, at least", WaitsMany, ""},
		{"those for each one at a client, at least", WaitsRatio, ""},
		{"time for more to come", WaitsPatience, ""},
	},
	Many: true,
}

const (
	// Ports are running out when so many in a hundred are in use.
	PortsFull = 80
	// The count goes on this long before it is told.
	PortsPatience = 10 * time.Second
)

var EphemeralPortExhaustion = Kind{
	Name:     "ephemeral-port-exhaustion",
	Severity: Warning,
	Title:    "Client is running out of ports to one destination",
	RFC:      "RFC 6056 §2.1",
	Causes: []Cause{
		{"", "{client} uses {n} of about {size} ports toward {listener}, those in TIME_WAIT included; when none is left, connecting fails. With 60 s of TIME_WAIT (Linux) about {rate} new connections a second are the limit: keep connections open, or use more addresses. If {client} is a NAT gateway, the hosts behind it share these ports."},
	},
	Thresholds: []Threshold{
		{"ports in use of a hundred, at least", PortsFull, ""},
		{"time for more to come", PortsPatience, ""},
	},
	Many: true,
}
