package tracker_test

import (
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Whose RST ended a connection is told whoever closed it first: it is who sent the
// first that is left, and something between the ends where an anomaly says that it
// was sent in the name of one.
func TestResetBy(t *testing.T) {
	for _, test := range []struct {
		ladder string
		want   tcp.ResetBy
	}{
		{"views/rst-not-taken-as-later-data-is-acknowledged", tcp.NotReset},
		{"views/rst-in-name-of-one-that-lives", tcp.ResetByMiddlebox},
		{"views/rst-by-a-device", tcp.ResetByMiddlebox},
		{"views/rst-not-by-a-device", tcp.ResetByServer},
		{"views/rst-then-older-ack", tcp.ResetByClient},
		{"anomaly/connection-refused", tcp.ResetByServer},
		{"anomaly/forged-rst-other-way", tcp.ResetByMiddlebox},
		{"anomaly/time-wait-reuse-safe", tcp.NotReset}, // a new connection shows that the ports are free
		{"anomaly/last-ack-timeout", tcp.NotReset},
		{"anomaly/old-duplicate-syn-overtaken", tcp.NotReset}, // what was reset was an answer to another SYN
		{"anomaly/time-wait-hazard-h3-alone", tcp.ResetByServer},
		{"anomaly/rst-instead-of-ack", tcp.ResetByClient}, // who closed first
	} {
		if got := recordsOf(t, ladderOf(t, "../"+test.ladder))[0]; got.ResetBy != test.want {
			t.Errorf("%s: reset by %q, want %q (closed by %q)", test.ladder, got.ResetBy, test.want, got.ClosedBy)
		}
	}
}

// A SYN that shows that the connection before it is gone is no RST.
func TestNewConnectionResetsNone(t *testing.T) {
	list := recordsOf(t, `
  1.         CLOSED                                      LISTEN
  2.         CLOSED --> <SEQ=100><CTL=SYN>           --> CLOSED
  3.         CLOSED <-- <SEQ=300><ACK=101><CTL=SYN,ACK> <-- CLOSED
  4.         CLOSED --> <SEQ=101><ACK=301><CTL=ACK>  --> CLOSED
  5.         CLOSED --> <SEQ=101><ACK=301><CTL=FIN,ACK>  --> CLOSED
  6.         CLOSED <-- <SEQ=301><ACK=102><CTL=ACK>  <-- CLOSED
  7. +50     CLOSED --> <SEQ=900000><CTL=SYN>        --> CLOSED
  8.         CLOSED <-- <SEQ=800000><ACK=900001><CTL=SYN,ACK> <-- CLOSED
`)
	if r := list[0]; r.Ends[tcp.Client].State != tcp.Closed || r.ClosedBy != tcp.ByClient || r.ResetBy != tcp.NotReset {
		t.Errorf("the client is %v, closed by %q, reset by %q, want CLOSED, client, and no reset", r.Ends[tcp.Client].State, r.ClosedBy, r.ResetBy)
	}
}

// An end is in its state since the newest step of its history, to the moment at
// which the record is taken.
func TestSince(t *testing.T) {
	r := recordsOf(t, ladderOf(t, "close-wait-leak"))[0]
	server, client := r.Ends[tcp.Server], r.Ends[tcp.Client]
	last := server.History[len(server.History)-1]
	if server.State != tcp.CloseWait || server.Since != last.Time || server.TimeInState < time.Minute {
		t.Errorf("server is in %v since %v, for %v, want CLOSE_WAIT since %v for a minute", server.State, server.Since, server.TimeInState, last.Time)
	}
	if client.State == tcp.Closed && (client.Since == 0 || client.TimeInState != 0) {
		t.Errorf("client is CLOSED since %v, for %v, want a moment and no time", client.Since, client.TimeInState)
	}
	r = recordsOf(t, ladderOf(t, "midstream-pickup"))[0]
	for e, x := range r.Ends {
		if x.State == tcp.Unknown && (x.Since != 0 || x.TimeInState != 0) {
			t.Errorf("%v is UNKNOWN since %v, for %v, want nothing", tcp.Endpoint(e), x.Since, x.TimeInState)
		}
	}
}
