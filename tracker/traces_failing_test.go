package tracker_test

import (
	"fmt"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/judge"
)

// failing lists, by story and check, where the tracker is known to be wrong: a
// test logs these misses, and fails when there are none any more.
var failing = []struct{ story, check, reason string }{
	{"md5-forged-fin", "states", "a FIN without the signature that all else carries is believed (RFC 2385 §2)"},
	{"md5-forged-fin", "anomalies", "a FIN without the signature that all else carries is believed (RFC 2385 §2)"},
	{"x-forged-fin-old-ts", "states", "a FIN that PAWS refuses is believed (RFC 7323 §5.3)"},
	{"x-forged-fin-old-ts", "anomalies", "a FIN that PAWS refuses is believed (RFC 7323 §5.3)"},
	{"x-forged-fin-accepted", "states", "an ACK of a FIN that the tap missed is not taken for one, and a forged FIN is taken for the client's"},
	{"x-forged-fin-accepted", "histories", "an ACK of a FIN that the tap missed is not taken for one, and a forged FIN is taken for the client's"},
	{"x-forged-fin-accepted", "anomalies", "a RST that answers data beyond a FIN is taken for one of a host without the connection"},
	{"lab-md5-forged-rst", "states", "a RST without the signature that all else carries is believed (RFC 2385 §2)"},
	{"lab-refused-fin-future-ack", "states", "a FIN whose ACK the receiver refuses is believed (RFC 5961 §5)"},
	{"lab-forged-fin-beyond-window", "states", "a FIN beyond the window is believed, and its sender taken to have closed"},
	{"lab-forged-fin-beyond-window", "histories", "a FIN beyond the window is believed, and its sender taken to have closed"},
	{"lab-forged-fin-beyond-window", "anomalies", "a FIN beyond the window is believed, and its sender taken to have closed"},
	{"lab-conntrack-forgets-reset", "states", "a RST is believed although its alleged sender goes on to send data"},
	{"lab-conntrack-forgets-reset", "histories", "a RST is believed although its alleged sender goes on to send data"},

	{"lab-accept-queue-full-at-ack", "states", "ACKs are believed although the SYN+ACK is repeated after them"},
	{"lab-syn-cookies-ack-lost-silence", "states", "SYN cookies are not told by a SYN+ACK that is never repeated"},
	{"lab-syn-cookies-ack-lost-silence", "histories", "SYN cookies are not told by a SYN+ACK that is never repeated"},
	{"md5-client-without", "states", "a listener that sends no SYN+ACK is taken to be in SYN_RCVD"},
	{"md5-client-without", "histories", "a listener that sends no SYN+ACK is taken to be in SYN_RCVD"},
	{"x-syn-unanswered-listening", "states", "a listener that sends no SYN+ACK is taken to be in SYN_RCVD"},
	{"x-syn-unanswered-listening", "histories", "a listener that sends no SYN+ACK is taken to be in SYN_RCVD"},
	{"gv-backlog-full", "states", "a listener that sends no SYN+ACK is taken to be in SYN_RCVD"},
	{"seed-42420441", "states", "a listener that sends no SYN+ACK is taken to be in SYN_RCVD"},
	{"seed-990017096", "states", "a listener that sends no SYN+ACK is taken to be in SYN_RCVD"},
	{"seed-990017096", "histories", "a listener that sends no SYN+ACK is taken to be in SYN_RCVD"},
	{"lx-simultaneous-open", "states", "SYNs that cross, and that lwIP leaves without SYN+ACK, are taken to make SYN_RCVD"},

	{"gv-tw-fin-dup", "states", "a RST in TIME_WAIT is believed, which gVisor ignores (RFC 1337 §3)"},
	{"gvr-0267", "states", "a RST in TIME_WAIT is believed, which gVisor ignores (RFC 1337 §3)"},
	{"gv-lw-tw-rst", "states", "a RST in TIME_WAIT is believed, which gVisor ignores (RFC 1337 §3)"},
	{"gv-lw-tw-rst", "histories", "a RST in TIME_WAIT is believed, which gVisor ignores (RFC 1337 §3)"},
	{"lw-gv-tw-rst", "states", "a RST in TIME_WAIT is believed, which lwIP ignores (RFC 1337 §3)"},
	{"lw-gv-tw-rst", "histories", "a RST in TIME_WAIT is believed, which lwIP ignores (RFC 1337 §3)"},
	{"lx-tw-fin-dup", "states", "a RST in TIME_WAIT is believed, which lwIP ignores (RFC 1337 §3)"},
	{"lx-tw-fin-dup", "histories", "a RST in TIME_WAIT is believed, which lwIP ignores (RFC 1337 §3)"},
	{"lx-close-client", "states", "TIME_WAIT ends after the 60 s of Linux, where lwIP holds it for 120 s"},
	{"lx-final-ack-lost", "states", "TIME_WAIT ends after the 60 s of Linux, where lwIP holds it for 120 s"},

	{"gv-simultaneous-close-stuck", "states", "an ACK of the FIN is believed although the FIN is sent again and again"},
	{"gvr-0064", "states", "TIME_WAIT after crossing FINs, where the ACK of one was lost and its end waits in CLOSING"},
	{"gvr-0064", "histories", "TIME_WAIT after crossing FINs, where the ACK of one was lost and its end waits in CLOSING"},
	{"gvr-0103", "states", "an ACK of the FIN is believed although the ACKs of its end show that it never came"},

	{"lxr-0037", "states", "a FIN beyond a hole is believed, and RSTs that acknowledge it are not"},
	{"lxr-0037", "histories", "a FIN beyond a hole is believed, and RSTs that acknowledge it are not"},
	{"lxr-0182", "anomalies", "RSTs of a host without the connection, which bear ACK on lwIP, are called forged"},
	{"lw-gv-abort-rst-lost", "anomalies", "a RST is called forged because one delayed ACK took longer"},
}

// expected returns why a story is known to fail a check, "" if it is not.
func expected(story, check string) (reason string) {
	for _, f := range failing {
		if f.story == story && f.check == check {
			return f.reason
		}
	}
	return ""
}

// complain reports a miss of a story: to the log if it is expected.
func complain(t *testing.T, story, check string, miss any) {
	t.Helper()
	if reason := expected(story, check); reason != "" {
		t.Logf("known: %s\n%v", reason, miss)
		return
	}
	t.Error(miss)
}

// TestFailingIsNotStale finds what stands in failing and fails no more.
func TestFailingIsNotStale(t *testing.T) {
	missed := map[string]int{}
	stories(t, func(t *testing.T, c *judge.Case) {
		for check, compare := range map[string]func() (int, []judge.Miss){
			"states": c.States, "proved": c.Proved, "histories": c.Histories,
		} {
			if expected(c.Name, check) != "" {
				_, misses := compare()
				missed[c.Name+" "+check] = len(misses)
			}
		}
		missed[c.Name+" anomalies"] = len(c.Anomalies())
	})
	seen := map[string]bool{}
	for _, f := range failing {
		key := fmt.Sprint(f.story, " ", f.check)
		if missed[key] == 0 || seen[key] {
			t.Errorf("%s: the entry is stale, or there twice: %s", key, f.reason)
		}
		seen[key] = true
	}
}
