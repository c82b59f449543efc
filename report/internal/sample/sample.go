// Package sample has the connections that tests print.
package sample

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Begin is when the captures of these tests begin.
const Begin = tcp.Time(1_767_322_800_000_000_000) // 2026-01-02T03:00:00Z

// At returns the instant so many milliseconds after begin.
func At(ms int) tcp.Time { return Begin.Add(time.Duration(ms) * time.Millisecond) }

// setOf returns the set of the given states.
func setOf(states ...tcp.State) tcp.StateSet {
	var set tcp.StateSet
	for _, s := range states {
		set |= 1 << s
	}
	return set
}

// Records is a capture with a connection of every sort, in the order in which
// they end: what was closed, what was refused, and what was open at the end.
func Records() []tracker.Record {
	return []tracker.Record{ClosedByClient(), Refused(), Sending(), Midstream()}
}

// ClosedByClient is a connection whose whole life was captured, and whose
// server answered the last ACK with a RST.
func ClosedByClient() tracker.Record {
	return tracker.Record{
		Conn: 1, Incarnation: 1, Origin: tcp.FromSYN, ClosedBy: tcp.ByClient, ResetBy: tcp.ResetByServer,
		HandshakeRTT: 10_200 * time.Microsecond, Start: At(0), End: At(620),
		Ends: [2]tracker.EndRecord{{
			Addr:  netip.MustParseAddrPort("10.9.0.1:37520"),
			State: tcp.TimeWait, Certainty: tcp.Proved, Proved: tcp.TimeWait, Since: At(600), TimeInState: 1800 * time.Millisecond,
			Packets: 6, Bytes: 3, Retransmits: 1, RetransmittedBytes: 3,
			ISN: 3533801517, HasISN: true, MSS: 1460, WindowScale: 10, SACK: true, Timestamps: true,
			Stack: tcp.StackLinux, StackCertainty: tcp.StackKnown,
			Timer: tracker.Timer{Kind: "2msl", Remaining: 58_200 * time.Millisecond},
			History: []tracker.Step{
				{Time: At(0), Packet: 1, State: tcp.SynSent, Inputs: tcp.SndSYN.Set(), Basis: tcp.BySending},
				{Time: At(10), Packet: 2, State: tcp.Established, Inputs: tcp.InputsOf(tcp.RcvSYN, tcp.RcvAckOfSYN), Basis: tcp.ByProof},
				{Time: At(500), Packet: 7, State: tcp.FinWait1, Inputs: tcp.SndFIN.Set(), Basis: tcp.BySending},
				{Time: At(600), Packet: 8, State: tcp.TimeWait, Inputs: tcp.InputsOf(tcp.RcvAckOfFIN, tcp.RcvFIN), Basis: tcp.ByProof},
			},
		}, {
			Addr:  netip.MustParseAddrPort("10.9.0.2:80"),
			State: tcp.Closed, Certainty: tcp.Assumed, Proved: tcp.LastAck, Since: At(610),
			Packets: 5, ISN: 7, HasISN: true, MSS: 1460, WindowScale: -1, Listener: true,
			Stack: tcp.StackLwIP, StackCertainty: tcp.StackGuessed,
			History: []tracker.Step{
				{Time: At(10), Packet: 2, State: tcp.SynReceived, Inputs: tcp.SndSYNACK.Set(), Basis: tcp.BySending},
				{Time: At(20), Packet: 3, State: tcp.Established, Inputs: tcp.RcvAckOfSYN.Set(), Basis: tcp.ByProof},
				{Time: At(600), Packet: 8, State: tcp.LastAck, Inputs: tcp.SndFIN.Set(), Basis: tcp.ByCorrection},
				{Time: At(610), State: tcp.Closed, Inputs: tcp.Timeout2MSL.Set(), Basis: tcp.ByTimer},
			},
		}},
		Anomalies: []anomaly.Anomaly{{
			Conn: 1, Kind: "rst-instead-of-ack", Severity: anomaly.Error, Cause: "not-established", Time: At(620), Packet: 11,
			End: tcp.Server, Evidence: []int{8, 10, 11}, RFC: "RFC 9293 §3.6.1", Count: 1,
			Text:       "10.9.0.2:80 answered the last ACK with a RST | \x1b[31m<b>bold</b>\nand so on, in a sentence that is longer than a line of most terminals is wide.",
			Supersedes: []string{"rst-unmatched"},
		}},
	}
}

// Refused is an attempt that a closed port answered.
func Refused() tracker.Record {
	return tracker.Record{
		Conn: 3, Incarnation: 2, Origin: tcp.FromSYN, ClosedBy: tcp.ByRefusal, ResetBy: tcp.ResetByServer, Start: At(1000), End: At(1000).Add(85 * time.Microsecond),
		Ends: [2]tracker.EndRecord{{
			Addr:  netip.MustParseAddrPort("10.9.0.1:37522"),
			State: tcp.Closed, Certainty: tcp.Settled, Proved: tcp.SynSent,
			Packets: 1, ISN: 1, HasISN: true, WindowScale: 0,
		}, {
			Addr:  netip.MustParseAddrPort("10.9.0.2:81"),
			State: tcp.Closed, Certainty: tcp.Settled, Proved: tcp.Closed,
			Packets: 1, WindowScale: -1,
		}},
		Anomalies: []anomaly.Anomaly{{
			Conn: 3, Kind: "connection-refused", Severity: anomaly.Notice, Time: At(1000), Packet: 13, Confidence: anomaly.ConfidenceAssumed,
			RFC: "RFC 9293 §3.5.2", Count: 3, Until: At(1400), Text: "10.9.0.2:81 has nothing listening.",
		}},
	}
}

// Sending is a connection with unacknowledged data.
func Sending() tracker.Record {
	return tracker.Record{
		Conn: 4, Incarnation: 1, Origin: tcp.FromSYN, HandshakeRTT: 1500 * time.Microsecond, Start: At(2000), End: At(125_000),
		Ends: [2]tracker.EndRecord{{
			Addr:  netip.MustParseAddrPort("10.9.0.1:37524"),
			State: tcp.Established, Certainty: tcp.Proved, Proved: tcp.Established,
			Packets: 900, Bytes: 1_234_567, WindowScale: 7, ISN: 2, HasISN: true, SACK: true, MSS: 1440, Unacked: 512,
		}, {
			Addr:  netip.MustParseAddrPort("10.9.0.2:80"),
			State: tcp.CloseWait, Certainty: tcp.Assumed, Proved: tcp.Established, Since: At(60_000), TimeInState: 65 * time.Second,
			Packets: 450, Bytes: 99, WindowScale: 7, ISN: 3, HasISN: true, Listener: true,
			Timer:   tracker.Timer{Kind: "fin", Remaining: 1200 * time.Millisecond},
			History: []tracker.Step{{Time: At(2001), Packet: 20, State: tcp.Established, Inputs: tcp.RcvAckOfSYN.Set(), Basis: tcp.ByProof}},
		}},
	}
}

// Midstream is a connection over IPv6 that was open when the capture began,
// and of whose end several readings remain.
func Midstream() tracker.Record {
	return tracker.Record{
		Conn: 2, Incarnation: 1, Origin: tcp.FromMidstream, ClosedBy: tcp.ByServerReset, ResetBy: tcp.ResetByServer, Start: At(5), End: At(7_505_000),
		Ends: [2]tracker.EndRecord{{
			Addr:     netip.MustParseAddrPort("[2001:db8::1]:443"),
			State:    tcp.Unknown,
			Possible: setOf(tcp.FinWait2, tcp.Closed),
			Packets:  10, Bytes: 1, WindowScale: -1,
		}, {
			Addr:  netip.MustParseAddrPort("[2001:db8:ffff:ffff:ffff:ffff:ffff:2]:50000"),
			State: tcp.Established, Proved: tcp.Established, Possible: setOf(tcp.Established, tcp.CloseWait),
			Packets: 12, Bytes: 2, WindowScale: -1, Timestamps: true,
		}},
	}
}

// Flood is an anomaly over many connections.
func Flood() anomaly.Anomaly {
	return anomaly.Anomaly{
		Kind: "syn-flood", Severity: anomaly.Warning, Time: At(3000), Packet: 30, Evidence: []int{30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40},
		Confidence: anomaly.ConfidenceAmbiguous, RFC: "RFC 4987", Count: 250,
		Addr: netip.MustParseAddr("10.9.0.2"), Port: 80, Samples: []int{3, 4, 7}, Text: "250 SYNs/s to 10.9.0.2:80, 99 % never complete.",
	}
}

// Events are those of the sample, in capture order, among them the flood and all
// Records.
func Events() []tracker.Event {
	records := Records()
	flooded := Flood()
	moved := func(conn, packet int, ms int, end tcp.Endpoint, from, to tcp.State, on tcp.InputSet) tracker.Event {
		return tracker.Event{Kind: tracker.EventTransition, Time: At(ms), Packet: packet, Conn: conn, End: end, From: from, To: to, Inputs: on}
	}
	list := []tracker.Event{
		moved(1, 1, 0, tcp.Client, tcp.Closed, tcp.SynSent, tcp.SndSYN.Set()),
		moved(2, 1, 5, tcp.Client, tcp.Unknown, tcp.Established, 0),
		moved(1, 0, 610, tcp.Server, tcp.LastAck, tcp.Closed, tcp.Timeout2MSL.Set()),
		{Kind: tracker.EventAnomaly, Time: At(620), Packet: 11, Conn: 1, Anomaly: &records[0].Anomalies[0]},
	}
	for i := range records {
		list = append(list, tracker.Event{Kind: tracker.EventConnection, Conn: records[i].Conn, Record: &records[i]})
		if i == 0 {
			list = append(list, tracker.Event{Kind: tracker.EventAnomaly, Time: flooded.Time, Packet: flooded.Packet, Anomaly: &flooded})
		}
	}
	return list
}

// Segments are those of the ladders drawn in tests, in the tracker's notation,
// from the client (>) or the server (<), after so many milliseconds. They carry
// a long transfer with a retransmission and a second record of one packet, a
// close whose last ACK meets nobody, and a second connection in its place.
func Segments() []string {
	list := []string{
		"0 > <SEQ=1000><CTL=SYN><WND=64240><MSS=1460><WS=7><SACKOK><TS=1,0><ID=1>",
		"10 < <SEQ=5000><ACK=1001><CTL=SYN,ACK><WND=65160><MSS=1460><WS=7><SACKOK><TS=9,1>",
		"0 > <SEQ=1001><ACK=5001><CTL=ACK><WND=502><ID=2>",
		"0 > <SEQ=1001><ACK=5001><CTL=PSH,ACK><DATA=100><WND=502><ID=3>",
		"10 < <SEQ=5001><ACK=1101><CTL=ACK><WND=509><ID=1>",
	}
	for i := range 40 {
		seq := tcp.Seq(5001 + 1000*i)
		s := tcp.Segment{Seq: seq, Ack: 1101, Flags: tcp.ACK, Data: 1000, Wnd: 509, TTL: 64, ID: uint16(i + 2)}
		list = append(list, "1 < "+s.String())
		if i == 20 {
			list = append(list, "0 < "+s.String()) // the capture has it twice
			s.ID = 1000
			list = append(list, "300 < "+s.String()) // and it was sent twice
		}
		a := tcp.Segment{Seq: 1101, Ack: seq + 1000, Flags: tcp.ACK, Wnd: 502, TTL: 64, ID: uint16(i + 4)}
		list = append(list, "1 > "+a.String())
	}
	return append(list,
		"5 > <SEQ=1101><ACK=45001><CTL=FIN,ACK><WND=502><ID=60>",
		"10 < <SEQ=45001><ACK=1102><CTL=FIN,ACK><WND=509><ID=1060>",
		"0 > <SEQ=1102><ACK=45002><CTL=ACK><WND=502><ID=61>",
		"40000 < <SEQ=900><CTL=RST><SUM=bad>",
		"30000 > <SEQ=90000><CTL=SYN><WND=64240><MSS=1460><ID=62>",
		"10 < <SEQ=0><ACK=90001><CTL=RST,ACK><WND=0>",
	)
}

// Observe plays segments, written as Segments writes them, to a tracker. take,
// unless nil, is given each of them before.
func Observe(t testing.TB, lines []string, take func(*tcp.Segment), emit func(*tracker.Event)) {
	tk, err := tracker.New(tracker.Config{Segments: take != nil, TwoMSL: 30 * time.Second}, emit)
	if err != nil {
		t.Fatal(err)
	}
	client, server := netip.MustParseAddrPort("10.9.0.1:37520"), netip.MustParseAddrPort("10.9.0.2:80")
	now := Begin
	for i, line := range lines {
		pause, rest, _ := strings.Cut(line, " ")
		from, text, _ := strings.Cut(rest, " ")
		s, err := tcp.ParseSegment(text)
		if err != nil {
			t.Fatal(err)
		}
		d, err := time.ParseDuration(pause + "ms")
		if err != nil {
			t.Fatal(err)
		}
		now = now.Add(d)
		s.Time, s.Packet, s.Src, s.Dst = now, i+1, client, server
		if from == "<" {
			s.Src, s.Dst = server, client
		}
		if take != nil {
			take(&s)
		}
		tk.Observe(&s)
	}
	tk.Close()
}
