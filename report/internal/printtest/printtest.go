// Package printtest prints the sample in tests.
package printtest

import (
	"bytes"
	"testing"

	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/internal/golden"
	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/report/record"
)

// Whole is the summary of the sample.
func Whole() record.Summary {
	return record.Summary{
		Packets: 1500, TCPPackets: 1400, Bytes: 1_400_000, First: sample.At(0), Last: sample.At(7_505_000),
		Truncated: true, Dropped: 5, Passed: []record.Passed{{Header: "GTP-U", Why: "not opened", Packets: 9}, {Header: "802.11", Why: "encrypted", Packets: 4}},
		Undecodable: 1, Misdated: 3, Sorted: 4, Evicted: 2,
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

// Print returns what a format prints.
func Print(t testing.TB, format string, o record.Options, play func(record.Printer) error) []byte {
	t.Helper()
	var out bytes.Buffer
	p, err := report.New(format, &out, o)
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
