package record_test

import (
	"testing"

	"github.com/tcpwatch/tcpwatch/report/internal/golden"
	"github.com/tcpwatch/tcpwatch/report/internal/printtest"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// goldens are outputs, each compared with testdata/<name>.golden.
var goldens = []struct {
	name   string
	format string
	opts   record.Options
	play   func(record.Printer) error // nil: the sample
}{
	{name: "json", format: "json"},
	{name: "json-events", format: "json", opts: record.Options{Events: true, Sort: "-duration"}},
	{name: "json-empty", format: "json", opts: record.Options{Events: true}, play: func(p record.Printer) error { return p.Close(record.Summary{}) }},
	{name: "jsonl", format: "jsonl"},
	{name: "jsonl-events", format: "jsonl", opts: record.Options{Events: true}},
	{name: "jsonl-events-selected", format: "jsonl", opts: record.Options{Events: true, Filter: record.Selection{States: []tcp.State{tcp.TimeWait}}}},
	{name: "csv", format: "csv"},
	{name: "csv-by-state", format: "csv", opts: record.Options{Sort: "client.state", NoHeader: true}},
}

func TestGoldens(t *testing.T) {
	var outputs []golden.Output
	for _, test := range goldens {
		if test.play == nil {
			test.play = printtest.Play
		}
		outputs = append(outputs, golden.Output{Name: test.name, Text: func(t testing.TB) []byte {
			return printtest.Print(t, test.format, test.opts, test.play)
		}})
	}
	golden.Test(t, outputs)
}
