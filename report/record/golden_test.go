package record_test

import (
	"testing"

	"github.com/tcpwatch/tcpwatch/report/internal/printtest"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func TestGoldens(t *testing.T) {
	printtest.Goldens(t, []printtest.Golden{
		{Name: "json", Format: "json"},
		{Name: "compare-json", Format: "compare-json", Play: printtest.PlayTaps},
		{Name: "compare-json-nothing", Format: "compare-json", Play: func(p record.Printer) error { return p.Close(record.Summary{}) }},
		{Name: "json-events", Format: "json", Options: record.Options{Events: true, Sort: "-duration"}},
		{Name: "json-empty", Format: "json", Options: record.Options{Events: true}, Play: func(p record.Printer) error { return p.Close(record.Summary{}) }},
		{Name: "jsonl", Format: "jsonl"},
		{Name: "jsonl-events", Format: "jsonl", Options: record.Options{Events: true}},
		{Name: "jsonl-events-selected", Format: "jsonl", Options: record.Options{Events: true, Filter: record.Selection{States: []tcp.State{tcp.TimeWait}}}},
		{Name: "csv", Format: "csv"},
		{Name: "csv-by-state", Format: "csv", Options: record.Options{Sort: "client.state", NoHeader: true}},
	})
}
