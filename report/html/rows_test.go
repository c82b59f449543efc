package html

import (
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/report/internal/sample"
	"github.com/tcpwatch/tcpwatch/report/record"
)

// The script has what reads the rows.
func TestScriptReadsRows(t *testing.T) {
	if strings.Count(script, rowScript) != 1 {
		t.Errorf("script.js lacks %q", rowMark)
	}
}

// As many connections get a ladder as there is room for.
func TestLaddersAreBounded(t *testing.T) {
	h := New(nil, &record.Options{}, record.Order{}).(*page)
	r := sample.ClosedByClient()
	for i := range MostSegments {
		r.Conn = i + 1
		h.Connection(&r)
	}
	if n := uint64(len(h.wanted())) * (r.Ends[0].Packets + r.Ends[1].Packets); n > MostSegments || n < MostSegments/2 {
		t.Errorf("%d segments are to be drawn, want about %d", n, MostSegments)
	}
}
