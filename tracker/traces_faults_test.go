package tracker_test

// faults are the misses that are known to be the tracker's, by what is
// compared, and then by story and number: an entry that is not met as it stands
// is stale, and fails the test.
var faults = map[string]map[string]string{
	"states": {
		"gv-backlog-full: 2":                  noSYNACK,
		"gv-simultaneous-close-stuck: 2":      "an ACK of the FIN is believed although the FIN is sent again and again",
		"gvr-0064: 5":                         ackLost,
		"gvr-0103: 1":                         "an ACK of the FIN is believed although the ACKs of its end show that it never came",
		"lab-accept-queue-full-at-ack: 2":     "the ACK that a server takes after it has ignored some is not believed until it sends something",
		"lab-conntrack-forgets-reset: 2":      aliveAfterRST,
		"lab-syn-cookies-ack-lost-silence: 1": cookies,
		"lxr-0037: 1":                         finBeyondHole,
		"seed-42420441: 2":                    noSYNACK,
	},
	"firm states": {
		"lab-conntrack-forgets-reset: 2": aliveAfterRST,
	},
	"histories": {
		"lab-conntrack-forgets-reset: 2":      aliveAfterRST,
		"lab-syn-cookies-ack-lost-silence: 1": cookies,
		"lxr-0037: 1":                         finBeyondHole,
	},
	"anomalies": {
		"lxr-0182: 2": "RSTs of a host without the connection, which bear ACK on lwIP, are called forged",
	},
}

// What is wrong in more than one of them.
const (
	noSYNACK      = "a listener that sends no SYN+ACK is taken to be in SYN_RCVD for a second"
	ackLost       = "TIME_WAIT after crossing FINs, where the ACK of one was lost and its end waits in CLOSING"
	aliveAfterRST = "a RST is believed although its alleged sender goes on to send data"
	cookies       = "SYN cookies are not told by a SYN+ACK that is never repeated"
	finBeyondHole = "a FIN beyond a hole is believed, and RSTs that acknowledge it are not"
)
