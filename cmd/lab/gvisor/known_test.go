package gvisor

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/cmd/lab/trial"
	"github.com/tcpwatch/tcpwatch/tracker/judge"
)

// cannotBePlayed has the stories that the stack cannot play, and why. The
// words are those of the refusal.
var cannotBePlayed = map[string]string{
	"fast-open":                "net.ipv4.tcp_fastopen",       // there is no TCP Fast Open
	"last-ack-timeout":         "net.ipv4.tcp_orphan_retries", // a FIN is repeated as often as data
	"seq-wrap":                 "iss",                         // it is a hash of the addresses and the time
	"seq-wrap-close":           "iss",                         // the same
	"syn-rcvd-stuck":           "net.ipv4.tcp_synack_retries", // SYN_RCVD ends after 127 s
	"syn-timeout":              "net.ipv4.tcp_syn_retries",    // the stack has the option, and does not heed it
	"time-wait-reuse-rejected": "net.ipv4.tcp_timestamps",     // they are always offered
}

// A deviation is a quiet moment of a story at which the hosts are not in the
// states that Linux is in.
type deviation struct {
	story  string
	moment int
	states string
	why    string
}

var deviations = []deviation{
	{"fin-before-data", 3, "FIN_WAIT_1 ESTABLISHED", "a FIN without data that came before its turn is forgotten when the gap fills"},
	{"fin-before-data", 4, "CLOSED CLOSED", "so the server closes first, and resets what the client then repeats"},
	{"final-ack-delayed", 3, "TIME_WAIT CLOSED", "a RST does not end TIME_WAIT"},
	{"final-ack-lost-tw-killed", 3, "TIME_WAIT CLOSED", "the first repetition of a FIN is a probe of the tail; the next one comes 200 ms later, not 400"},
	{"keepalive-timeout", 1, "ESTABLISHED ESTABLISHED", "keepalive that is set in SYN_SENT begins only with a segment after the handshake"},
	{"passive-fin-duplicated", 3, "TIME_WAIT CLOSED", "a RST does not end TIME_WAIT"},
	{"time-wait-assassination", 4, "TIME_WAIT CLOSED", "a RST does not end TIME_WAIT"},
}

// A known difference is one between the tracker, which has Linux's rules where
// stacks differ, and this stack. Each has the seed of a conversation that shows it.
type known struct {
	trial.Difference
	seed uint64
}

var knownDifferences = []*known{
	newKnown(65, 0.02, "a RST does not end TIME_WAIT (RFC 1337)",
		[]string{"CLOSED by recv RST, TIME_WAIT"}),
	newKnown(113, 0.01, "the ACK of a FIN counts only in a segment that is next in order, and not in one that is answered by RST",
		[]string{"FIN_WAIT_2 by recv ACK of FIN, FIN_WAIT_1", "TIME_WAIT by recv FIN, CLOSING", "TIME_WAIT by recv FIN, FIN_WAIT_1",
			"TIME_WAIT by recv ACK of FIN, CLOSING"},
		"FIN_WAIT_1 FIN_WAIT_2 CLOSED", "FIN_WAIT_1 CLOSED", "FIN_WAIT_1 FIN_WAIT_2]", "FIN_WAIT_1]",
		"FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT]", "FIN_WAIT_1 CLOSING]"),
	newKnown(166, 0.001, "a FIN without data that came before its turn is forgotten when the gap fills",
		[]string{"TIME_WAIT by recv FIN, FIN_WAIT_2", "CLOSE_WAIT by recv FIN, ESTABLISHED"}),
	newKnown(11996, 0.001, "a RST counts only at RCV.NXT; Linux takes it at the end of what it had of later octets, too, and right before a FIN",
		[]string{"CLOSED by recv RST, ESTABLISHED", "CLOSED by recv RST, CLOSE_WAIT"}, "ESTABLISHED CLOSED]", "ESTABLISHED]"),
}

// newKnown makes a known difference. The states are what the tracker has, and by
// which event, and what the stack has; histories are the same when the first of
// each pair of phrases is replaced by the second.
func newKnown(seed uint64, share float64, why string, states []string, histories ...string) *known {
	same := strings.NewReplacer(histories...)
	return &known{seed: seed, Difference: trial.Difference{Why: why, Share: share, Is: func(m *judge.Miss) bool {
		if m.At != 0 {
			got, _, _ := strings.Cut(m.Got, ",")
			return slices.Contains(states, fmt.Sprintf("%s by %s, %s", got, event(m), strings.FieldsFunc(m.Want, func(r rune) bool { return r == ',' || r == ':' || r == ' ' })[0]))
		}
		return same.Replace(names(m.Got)) == same.Replace(names(m.Want))
	}}}
}

// event is what last moved the end.
func event(m *judge.Miss) string {
	newest := m.Records[len(m.Records)-1]
	for _, end := range newest.Ends {
		if n := len(end.History); end.Addr == m.Addr && n > 0 {
			return end.History[n-1].Inputs.String()
		}
	}
	return ""
}

var times = regexp.MustCompile(` at [\d.]+`)

// names leaves the states of a history alone, without the end of TIME_WAIT.
func names(history string) string {
	return strings.ReplaceAll(times.ReplaceAllString(history, ""), "TIME_WAIT CLOSED", "TIME_WAIT")
}

// newTally begins to count, with what is known.
func newTally(t *testing.T) *trial.Tally {
	total := trial.NewTally(t)
	for _, k := range knownDifferences {
		d := k.Difference
		total.Differences = append(total.Differences, &d)
	}
	return total
}
