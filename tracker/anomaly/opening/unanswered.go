package opening

import (
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/internal/conn"
	"github.com/tcpwatch/tcpwatch/tracker/internal/endpoint"
	"github.com/tcpwatch/tcpwatch/tracker/internal/recent"
	"github.com/tcpwatch/tcpwatch/tracker/internal/triggers"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Why SYNs get no answer. The SYNs alone do not tell, but what else happened on
// their ports does, and on the port that they were sent to.

const (
	// What lies between two hosts may hold a connection for so long after its
	// end: two minutes on Linux (nf_conntrack_tcp_timeout_time_wait), more where
	// somebody changed that.
	heldBetween = 5 * time.Minute

	// SYNs, or ACKs to SYNs, by which it is no accident that an old connection
	// stands in the way.
	synsOnOld, acksOfOld = 3, 2
)

// holds are the states of an end that keeps its connection for as long as its
// application wants.
var holds = tcp.Established.Set() | tcp.CloseWait.Set() | tcp.FinWait1.Set() | tcp.FinWait2.Set() | tcp.LastAck.Set() | tcp.Closing.Set()

// A formerUse is the connection that the ports of an attempt had before.
type formerUse struct {
	*conn.Conn
	server tcp.Endpoint // the end of it that is the server of the attempt
	state  tcp.State    // of that when the attempt began
	since  tcp.Time     // when it came into that state
	frame  int
}

// formerly returns the connection before the given attempt that had an answer, if
// there is one.
func formerly(h *anomaly.Case, attempt *conn.Conn) (f formerUse, found bool) {
	for old := h.M.FormerOf(attempt); old != nil; old = h.M.FormerOf(old) {
		f = formerUse{Conn: old, server: attempt.EndIn(old, tcp.Server)}
		if !old.Ends[f.server].Seen() {
			continue // it failed too
		}
		for _, st := range old.Steps() {
			if st.End() == f.server && st.At < attempt.Start {
				f.state, f.since, f.frame = st.State(), st.At, st.Packet()
			}
		}
		return f, true
	}
	return f, false
}

// served returns the frame of the newest answer that another SYN to the port got
// from the given time on; 0 if none did.
func served(h *anomaly.Case, since tcp.Time) int {
	for _, a := range h.M.Listeners.Answers(h.Addr(tcp.Server)) {
		if tcp.Time(a.At) >= since && a.Key != h.Key {
			return a.Packet
		}
	}
	return 0
}

// alive returns the newest segment that the server sent from the given time on in
// other connections of the port, as far as these are known; 0 if it sent none.
func alive(h *anomaly.Case, since tcp.Time) (frame int) {
	for _, a := range h.M.Listeners.Answers(h.Addr(tcp.Server)) {
		c := h.M.NewestOf(a.Key)
		if c == nil || a.Key == h.Key || c.Ends[tcp.Server].SentAt < since || c.Addr(tcp.Server) != h.Addr(tcp.Server) {
			continue
		}
		for g := range h.M.Recent.Back(c) {
			if g.From == tcp.Server {
				frame = max(frame, g.Packet)
				break
			}
		}
	}
	return frame
}

// newerStamp returns the frame of an answer, given meanwhile, to a SYN from the
// same address whose timestamp was newer than that of the attempt; 0 if there is
// none, or a SYN with an older timestamp than that had an answer too. Alone it means
// little: some stacks draw another clock for each connection.
func newerStamp(h *anomaly.Case, attempt *conn.Conn) (frame int) {
	mine, stamped := attempt.Ends[tcp.Client].TSVal, attempt.Ends[tcp.Client].Has(endpoint.HasTS)
	for _, a := range h.M.Listeners.Answers(h.Addr(tcp.Server)) {
		if !stamped || a.Client != h.Addr(tcp.Client).Addr() || a.Key == h.Key || tcp.Time(a.At) < attempt.Start {
			continue
		}
		if a.TSVal == 0 || int32(a.TSVal-mine) <= 1 {
			return 0
		}
		frame = a.Packet
	}
	return frame
}

// silent counts the connections that were answered last, are open, and in which
// the server has said nothing, if that is all of them; else 0. One that was not
// accepted yet is such a one.
func silent(h *anomaly.Case) (n int) {
	for _, a := range h.M.Listeners.Answers(h.Addr(tcp.Server)) {
		c := h.M.NewestOf(a.Key)
		if c == nil || c.Addr(tcp.Server) != h.Addr(tcp.Server) || c.Ends[tcp.Server].Bytes > 0 || !conn.Synchronized(c.Ends[tcp.Server].Assumed) {
			return 0
		}
		n++
	}
	return n
}

// rank names the cause that the capture speaks for most, with the frames that do.
// What it refutes is none.
func rank(h *anomaly.Case, f *anomaly.Finding, attempt *conn.Conn) {
	since := attempt.Start
	other := served(h, since)
	seen := alive(h, since)
	former, used := formerly(h, attempt)
	f.Values["held"], f.Values["ended"] = since.Sub(former.since), time.Duration(0)
	if used {
		f.Values["state"], f.Values["ended"] = former.state, since.Sub(former.Last())
	}
	switch stamp := newerStamp(h, attempt); {
	case used && holds.Has(former.state):
		f.Cause = "old-connection"
		f.Evidence = append(f.Evidence, former.frame)
		if served(h, former.since) == 0 {
			f.Say("or-gone")
		}
	case used && former.state == tcp.TimeWait:
		f.Cause = "time-wait"
		f.Evidence = append(f.Evidence, former.frame)
	case stamp != 0:
		f.Cause = "older-timestamp"
		f.Values["frame"] = stamp
		f.Evidence = append(f.Evidence, stamp)
	case used && other != 0 && since.Sub(former.Last()) < heldBetween:
		f.Cause = "ports-reused"
		f.Values["frame"] = other
		f.Evidence = append(f.Evidence, other)
	case other != 0:
		f.Cause = "others-served"
		f.Values["frame"] = other
		f.Evidence = append(f.Evidence, other)
	case seen != 0:
		f.Cause = "queue-full"
		f.Values["frame"] = seen
		f.Evidence = append(f.Evidence, seen)
		f.Say("goes-on")
	case silent(h) > 0:
		f.Cause = "queue-full"
		f.Values["k"] = silent(h)
		for _, a := range h.M.Listeners.Answers(h.Addr(tcp.Server)) {
			f.Evidence = append(f.Evidence, a.Packet)
		}
		f.Say("says-nothing")
	case h.M.Listens(h.Conn, tcp.Server):
		f.Cause = "went-silent"
		f.Values["frame"] = h.M.Listeners.Answers(h.Addr(tcp.Server))[0].Packet
		f.Evidence = append(f.Evidence, h.M.Listeners.Answers(h.Addr(tcp.Server))[0].Packet)
	}
}

// What the sentences of SynIgnoredByOldConnection begin with.
const (
	stillHeldText  = "{Y} still has the previous connection on these ports: in {state}, for {held} when the first SYN came. "
	challengesText = "It answers the SYNs of {X} ({n} in {span}) with an ACK of that connection (#{frame}). "
)

var SynIgnoredByOldConnection = anomaly.Kind{
	Name:     "syn-ignored-by-old-connection",
	Severity: anomaly.Warning,
	Title:    "SYN hit a connection that still exists",
	RFC:      "RFC 5961 §4, RFC 9293 §3.10.7.4",
	Causes: []anomaly.Cause{
		{Name: "silent", Text: stillHeldText + "{Y}, or a device on the path that holds that connection, drops the SYNs of {X}: {n} in {span}. {Y} has answered others since then (#{frame}).",
			Next: "Find where the application on {Y} leaves that socket open (`ss -tanp state {ss} dport = :{X.port}` there), and close it. Until then, connect from another port."},
		{Name: "challenged", Text: stillHeldText + challengesText + "No RST of {X} to this ACK was captured; a RST would clear the connection.",
			Next: "Look for a firewall that drops the ACK on its way to {X.ip}, or the RST from {X.ip}, as packets of an unknown connection. Let these pass, or close the old socket on {Y}."},
		{Name: "reset-ignored", Text: stillHeldText + challengesText + "The RSTs of {X} do not end it: a device drops them, or {Y} ignores them.",
			Next: "Look for a firewall on the path that drops the RSTs of {X.ip} as packets of an unknown connection. Let these pass, or close the old socket on {Y}."},
	},
	Thresholds: []anomaly.Threshold{
		{Name: "SYNs, at least", Value: synsOnOld},
		{Name: "ACKs of the old connection since then, if {Y} answers, at least", Value: acksOfOld},
	},
	Supersedes: []string{"syn-timeout", "syn-retransmitted"},
	On:         triggers.OnSYN | triggers.OnTimer | triggers.OnEnd,
	Only:       triggers.IfWasSynSent,
	Check: func(h *anomaly.Case) *anomaly.Finding {
		client := &h.Ends[tcp.Client]
		if h.From != tcp.Client || h.Before.States[tcp.Client] != tcp.SynSent.Set() || client.Copies < synsOnOld || h.Y().Seen() {
			return nil
		}
		old, ok := formerly(h, h.Conn)
		if !ok || !holds.Has(old.state) || old.Ends[old.server].Has(endpoint.Lossy) {
			return nil
		}
		f := &anomaly.Finding{
			End:      tcp.Client,
			More:     h.Flagged("syn-ignored-by-old-connection", tcp.Client) != nil,
			Certain:  anomaly.ConfidenceAssumed,
			Evidence: append(h.FramesOf(tcp.Client, tcp.SYN), old.frame),
			Values:   anomaly.Values{"state": old.state, "ss": ssName(old.state), "held": h.Start.Sub(old.since), "n": client.Copies, "span": client.SentAt.Sub(h.Start)},
		}
		acks, rsts := 0, 0
		for g := range h.M.Recent.Back(old.Conn) {
			switch {
			case g.At < h.Start:
			case g.From == old.server && g.Pure():
				acks++
				f.Evidence, f.Values["frame"] = append(f.Evidence, g.Packet), g.Packet
			case g.From != old.server && g.Flags&tcp.RST != 0:
				if acks == 0 {
					return nil // it may have ended the connection
				}
				rsts++
				f.Evidence = append(f.Evidence, g.Packet)
			}
		}
		other := served(h, old.since)
		switch {
		case acks >= acksOfOld && rsts > 0:
			f.Cause = "reset-ignored"
		case acks >= acksOfOld:
			f.Cause = "challenged"
		case acks == 0 && other != 0:
			f.Cause, f.Certain, f.Values["frame"] = "silent", anomaly.ConfidenceAmbiguous, other
			f.Evidence = append(f.Evidence, other)
		default:
			return nil // a host that is gone drops SYNs too
		}
		return f
	},
}

// ssName is the name of the state as ss and its filters have it.
func ssName(s tcp.State) string {
	switch s {
	case tcp.CloseWait:
		return "close-wait"
	case tcp.FinWait1:
		return "fin-wait-1"
	case tcp.FinWait2:
		return "fin-wait-2"
	case tcp.LastAck:
		return "last-ack"
	case tcp.Closing:
		return "closing"
	}
	return "established"
}

// servedBefore reports whether a repeated SYN may have been dropped by something
// that still held the connection before on its ports, and how long ago that ended.
func servedBefore(h *anomaly.Case) (ended time.Duration, last *recent.Segment) {
	old, ok := formerly(h, h.Conn)
	if !ok || holds.Has(old.state) || h.Start.Sub(old.Last()) > heldBetween {
		return 0, nil
	}
	for g := range h.M.Recent.Back(old.Conn) {
		if g.At < h.Start {
			return h.Start.Sub(g.At), g
		}
	}
	return 0, nil
}
