// Package printtest prints the sample in tests.
package printtest

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/between"
	"github.com/tcpwatch/tcpwatch/report/internal/golden"
	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
)

// Whole is the summary of the sample.
func Whole() record.Summary {
	return record.Summary{
		Packets: 1500, TCPPackets: 1400, Bytes: 1_400_000, First: sample.At(0), Last: sample.At(7_505_000),
		Truncated: true, Dropped: 5, Passed: []record.Passed{{Header: "GTP-U", Why: "not opened", Packets: 9}, {Header: "802.11", Why: "encrypted", Packets: 4}},
		Undecodable: 1, Misdated: 3, Sorted: 4, Evicted: 2,
		Limits: []record.Limit{{Name: "--max-memory", Cut: 2, Text: "2 connections evicted"}, {Name: "hosts", Cut: 9, Text: "9 hosts no longer watched"}},
	}
}

// Play gives p the sample with its events, in capture order.
func Play(p record.Printer) error {
	for _, e := range sample.Events() {
		if err := p.Event(&e); err != nil {
			return err
		}
	}
	return p.Close(Whole())
}

// PlayTaps is Play of captures of several places.
func PlayTaps(p record.Printer) error {
	for _, e := range sample.Events() {
		if err := p.Event(&e); err != nil {
			return err
		}
	}
	for i, kind := range []string{"lost-between", "forged-between"} {
		r := sample.Refused()
		a := &r.Anomalies[0]
		r.Conn, a.Conn = 10+i, 10+i
		a.Kind, a.Text, a.Severity, a.Evidence = kind, "#13 (SYN, 0 bytes) left and #14 did not come.", anomaly.Notice+anomaly.Severity(2*i), []int{13, 14}
		if err := p.Record(&r); err != nil {
			return err
		}
	}
	s := Whole()
	s.Between = Between()
	return p.Close(s)
}

// Print returns what a format prints: one of report.New, or "compare-" and one of
// report.NewCompare.
func Print(t testing.TB, format string, o record.Options, play func(record.Printer) error) []byte {
	t.Helper()
	var out bytes.Buffer
	create := report.New
	if of, is := strings.CutPrefix(format, "compare-"); is {
		format, create = of, report.NewCompare
	}
	p, err := create(format, &out, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := play(p); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A Golden is what a format prints, compared with testdata/<Name>.golden.
type Golden struct {
	Name, Format string
	Options      record.Options
	Play         func(record.Printer) error // nil: Play
}

// Goldens compares what formats print with the goldens of a package.
func Goldens(t *testing.T, list []Golden) {
	var outputs []golden.Output
	for _, g := range list {
		if g.Play == nil {
			g.Play = Play
		}
		outputs = append(outputs, golden.Output{Name: g.Name, Text: func(t testing.TB) []byte {
			return Print(t, g.Format, g.Options, g.Play)
		}})
	}
	golden.Test(t, outputs)
}

// Between is what happened between three captures: a client, a firewall that translates
// addresses and drops packets, and a server, whose clock was set.
func Between() *between.Report {
	addr := netip.MustParseAddrPort
	client, outside, server := addr("10.9.0.1:37520"), addr("192.0.2.1:1024"), addr("10.9.0.2:80")
	delays := func(least time.Duration) between.Delays {
		return between.Delays{N: 3388, Min: least, Median: least + 100*time.Microsecond, P90: 2 * least, P99: 3 * least, Max: 40 * time.Millisecond, Within: 400 * time.Microsecond}
	}
	return &between.Report{
		Taps: []between.Tap{{Name: "client", Files: []string{"/tmp/client.pcap"}}, {Name: "fire\x1b[2Jwall", Files: []string{"b.pcap", "c.pcap"}}, {Name: "server", Files: []string{"server.pcapng.gz"}}},
		Pairs: []between.Pair{{
			Near: 0, Far: 1, Connections: 3, Rewritten: 1,
			Clock: between.Clock{Pieces: []between.Piece{{Offset: 3_201_300 * time.Microsecond, Drift: 80e-6, Within: 400 * time.Microsecond}}},
			Ways: [2]between.Way{{
				Sent: 3400, Arrived: 3390, Lost: 12, Copied: 1, Forged: 1, Reordered: 4, MissedSent: 3, Missed: 2, Unknown: 5, Changed: 3, Hops: 1,
				Changes: []between.Change{{What: "mss", Packets: 3}, {What: "window_scale", Packets: 1}}, Delays: delays(5 * time.Millisecond),
				WhichLost:   between.Which{N: 12, Frames: []int{9, 10, 12, 14, 15, 16, 17, 18, 40}, First: sample.At(20), Last: sample.At(620), Data: 11, Least: 1448, Most: 1448, SYN: 1, LargestArrived: 536},
				WhichForged: between.Which{N: 1, Frames: []int{7}, Tap: 1, First: sample.At(30), Last: sample.At(30), RST: 1, LargestArrived: -1},
			}, {Sent: 2800, Arrived: 2800, Delays: delays(6 * time.Millisecond)}},
			Worst:      []between.Connection{{Client: client, Server: server, Ways: [2]between.Way{{Sent: 3000, Arrived: 2988, Lost: 12, Delays: delays(5 * time.Millisecond)}, {Sent: 2700, Arrived: 2700}}}},
			Rewritings: []between.Rewriting{{Near: [2]netip.AddrPort{client, server}, Far: [2]netip.AddrPort{outside, server}}},
		}, {
			Near: 1, Far: 2, Connections: 3,
			Clock: between.Clock{Pieces: []between.Piece{
				{Offset: -2 * time.Millisecond, Drift: -1.25e-6, Within: 12 * time.Microsecond},
				{From: sample.At(1000), Offset: 998 * time.Millisecond, Within: between.Unbounded, Step: time.Second},
				{From: sample.At(2000), Offset: 998 * time.Millisecond, Drift: 300e-6, Within: 12 * time.Microsecond},
			}},
			Ways: [2]between.Way{{Sent: 3391, Arrived: 3391, Delays: between.Delays{N: 1, Min: 1, Median: 1, P90: 1, P99: 1, Max: 1, Within: between.Unbounded}}, {}},
		}},
		Frames: func(packet int) []int { return []int{packet, 0, packet + 1} },
	}
}
