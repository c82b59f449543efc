package report

import (
	"net/netip"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// begin is when the captures of these tests begin.
const begin = tcp.Time(1_767_322_800_000_000_000) // 2026-01-02T03:00:00Z

// at returns the instant so many milliseconds after begin.
func at(ms int) tcp.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }

// setOf returns the set of the given states.
func setOf(states ...tcp.State) tcp.StateSet {
	var set tcp.StateSet
	for _, s := range states {
		set |= 1 << s
	}
	return set
}

// sample is a capture with a connection of every sort, in the order in which
// they end: what was closed, what was refused, and what was open at the end.
func sample() []tracker.Record {
	return []tracker.Record{closedByClient(), refused(), sending(), midstream()}
}

// closedByClient is a connection whose whole life was captured, and whose
// server answered the last ACK with a RST.
func closedByClient() tracker.Record {
	return tracker.Record{
		Conn: 1, Incarnation: 1, Origin: tcp.FromSYN, ClosedBy: tcp.ByClient,
		HandshakeRTT: 10_200 * time.Microsecond, Start: at(0), End: at(620),
		Ends: [2]tracker.EndRecord{{
			Addr:  netip.MustParseAddrPort("10.9.0.1:37520"),
			State: tcp.TimeWait, Certainty: tcp.Proved, Proved: tcp.TimeWait,
			Packets: 6, Bytes: 3, Retransmits: 1, RetransmittedBytes: 3,
			ISN: 3533801517, HasISN: true, MSS: 1460, WindowScale: 10, SACK: true, Timestamps: true,
			Timer: tracker.Timer{Kind: "2msl", Remaining: 58_200 * time.Millisecond},
			History: []tracker.Step{
				{Time: at(0), Packet: 1, State: tcp.SynSent, Inputs: tcp.SndSYN.Set(), Basis: tcp.BySending},
				{Time: at(10), Packet: 2, State: tcp.Established, Inputs: tcp.InputsOf(tcp.RcvSYN, tcp.RcvAckOfSYN), Basis: tcp.ByProof},
				{Time: at(500), Packet: 7, State: tcp.FinWait1, Inputs: tcp.SndFIN.Set(), Basis: tcp.BySending},
				{Time: at(600), Packet: 8, State: tcp.TimeWait, Inputs: tcp.InputsOf(tcp.RcvAckOfFIN, tcp.RcvFIN), Basis: tcp.ByProof},
			},
		}, {
			Addr:  netip.MustParseAddrPort("10.9.0.2:80"),
			State: tcp.Closed, Certainty: tcp.Assumed, Proved: tcp.LastAck,
			Packets: 5, ISN: 7, HasISN: true, MSS: 1460, WindowScale: -1, Listener: true,
			History: []tracker.Step{
				{Time: at(10), Packet: 2, State: tcp.SynReceived, Inputs: tcp.SndSYNACK.Set(), Basis: tcp.BySending},
				{Time: at(20), Packet: 3, State: tcp.Established, Inputs: tcp.RcvAckOfSYN.Set(), Basis: tcp.ByProof},
				{Time: at(600), Packet: 8, State: tcp.LastAck, Inputs: tcp.SndFIN.Set(), Basis: tcp.ByCorrection},
				{Time: at(610), State: tcp.Closed, Inputs: tcp.Timeout2MSL.Set(), Basis: tcp.ByTimer},
			},
		}},
		Anomalies: []anomaly.Anomaly{{
			Conn: 1, Kind: "rst-instead-of-ack", Severity: anomaly.Error, Cause: "not-established", Time: at(620), Packet: 11,
			End: tcp.Server, Evidence: []int{8, 10, 11}, RFC: "RFC 9293 §3.6.1", Count: 1,
			Text:       "10.9.0.2:80 answered the last ACK with a RST | \x1b[31m<b>bold</b>\nand so on, in a sentence that is longer than a line of most terminals is wide.",
			Supersedes: []string{"rst-unmatched"},
		}},
	}
}

// refused is an attempt that a closed port answered.
func refused() tracker.Record {
	return tracker.Record{
		Conn: 3, Incarnation: 2, Origin: tcp.FromSYN, ClosedBy: tcp.ByRefusal, Start: at(1000), End: at(1000).Add(85 * time.Microsecond),
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
			Conn: 3, Kind: "connection-refused", Severity: anomaly.Notice, Time: at(1000), Packet: 13, Confidence: anomaly.ConfidenceAssumed,
			RFC: "RFC 9293 §3.5.2", Count: 3, Until: at(1400), Text: "10.9.0.2:81 has nothing listening.",
		}},
	}
}

// sending is a connection with unacknowledged data.
func sending() tracker.Record {
	return tracker.Record{
		Conn: 4, Incarnation: 1, Origin: tcp.FromSYN, HandshakeRTT: 1500 * time.Microsecond, Start: at(2000), End: at(125_000),
		Ends: [2]tracker.EndRecord{{
			Addr:  netip.MustParseAddrPort("10.9.0.1:37524"),
			State: tcp.Established, Certainty: tcp.Proved, Proved: tcp.Established,
			Packets: 900, Bytes: 1_234_567, WindowScale: 7, ISN: 2, HasISN: true, SACK: true, MSS: 1440, Unacked: 512,
		}, {
			Addr:  netip.MustParseAddrPort("10.9.0.2:80"),
			State: tcp.CloseWait, Certainty: tcp.Assumed, Proved: tcp.Established,
			Packets: 450, Bytes: 99, WindowScale: 7, ISN: 3, HasISN: true, Listener: true,
			Timer:   tracker.Timer{Kind: "fin", Remaining: 1200 * time.Millisecond},
			History: []tracker.Step{{Time: at(2001), Packet: 20, State: tcp.Established, Inputs: tcp.RcvAckOfSYN.Set(), Basis: tcp.ByProof}},
		}},
	}
}

// midstream is a connection over IPv6 that was open when the capture began,
// and of whose end several readings remain.
func midstream() tracker.Record {
	return tracker.Record{
		Conn: 2, Incarnation: 1, Origin: tcp.FromMidstream, ClosedBy: tcp.ByServerReset, Start: at(5), End: at(7_505_000),
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

// flood is an anomaly over many connections.
func flood() anomaly.Anomaly {
	return anomaly.Anomaly{
		Kind: "syn-flood", Severity: anomaly.Warning, Time: at(3000), Packet: 30, Evidence: []int{30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40},
		Confidence: anomaly.ConfidenceAmbiguous, RFC: "RFC 4987", Count: 250,
		Addr: netip.MustParseAddr("10.9.0.2"), Port: 80, Samples: []int{3, 4, 7}, Text: "250 SYNs/s to 10.9.0.2:80, 99 % never complete.",
	}
}

// whole is the summary of sample.
func whole() Summary {
	return Summary{
		Packets: 1500, TCPPackets: 1400, Bytes: 1_400_000, First: at(0), Last: at(7_505_000),
		Truncated: true, Dropped: 5, Undecodable: 1, Evicted: 2,
	}
}

// play gives p the sample with its events, in capture order.
func play(p Printer) error {
	records := sample()
	flooded := flood()
	moved := func(conn, packet int, ms int, end tcp.Endpoint, from, to tcp.State, on tcp.InputSet) tracker.Event {
		return tracker.Event{Kind: tracker.EventTransition, Time: at(ms), Packet: packet, Conn: conn, End: end, From: from, To: to, Inputs: on}
	}
	for _, e := range []tracker.Event{
		moved(1, 1, 0, tcp.Client, tcp.Closed, tcp.SynSent, tcp.SndSYN.Set()),
		moved(2, 1, 5, tcp.Client, tcp.Unknown, tcp.Established, 0),
		moved(1, 0, 610, tcp.Server, tcp.LastAck, tcp.Closed, tcp.Timeout2MSL.Set()),
		{Kind: tracker.EventAnomaly, Time: at(620), Packet: 11, Conn: 1, Anomaly: &records[0].Anomalies[0]},
	} {
		if err := p.Event(&e); err != nil {
			return err
		}
	}
	for i := range records {
		if err := p.Event(&tracker.Event{Kind: tracker.EventConnection, Conn: records[i].Conn, Record: &records[i]}); err != nil {
			return err
		}
		if i == 0 {
			if err := p.Event(&tracker.Event{Kind: tracker.EventAnomaly, Time: flooded.Time, Packet: flooded.Packet, Anomaly: &flooded}); err != nil {
				return err
			}
		}
	}
	return p.Close(whole())
}
