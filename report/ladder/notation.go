package ladder

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A ladder in the notation of the tracker's tests. It holds every segment of
// its addresses and ports, whatever connection it is part of, with all that the
// tracker looks at, and the exact times; what is for people only is in
// comments. Played to a tracker it comes to the same states and anomalies.

// writeNotation writes the ladder as a test.
func (d *ladder) writeNotation(out *bufio.Writer, o *Options) {
	for _, r := range d.records {
		text.WriteLine(out, "# "+heading(r))
	}
	if o.Stack != "" {
		text.WriteLine(out, "stack: "+o.Stack)
	}
	if o.TwoMSL != 0 {
		text.WriteLine(out, "2msl: "+o.TwoMSL.String())
	}
	if o.LeakAfter != 0 && o.LeakAfter != tracker.DefaultLeakAfter {
		text.WriteLine(out, "leak-after: "+o.LeakAfter.String())
	}
	text.WriteLine(out, fmt.Sprintf("peers: %v %v", d.flow.peers[0], d.flow.peers[1]))
	if len(d.rows) == 0 {
		return
	}
	text.WriteLine(out, "begin: "+string(text.AppendTime(nil, d.rows[0].at)))
	several := len(d.flow.clientAt) > 1

	rungs := make([][4]string, len(d.rows)) // number, pause, segment, left cell
	var widths [4]int
	before := d.rows[0].at
	for i := range d.rows {
		r := d.rows[i].rung
		number := strconv.Itoa(r.packet) + "."
		if r.timer > 0 {
			number += strconv.Itoa(r.timer) + "."
		}
		what := r.timerText()
		if r.segment != nil {
			what = r.segment.String()
		}
		rungs[i] = [4]string{number, "+" + string(text.AppendSeconds(nil, r.at.Sub(before))), what, cellText(r.cells[0])}
		before = r.at
		for k, cell := range rungs[i] {
			widths[k] = max(widths[k], len(cell))
		}
	}
	for i, rung := range rungs {
		r := d.rows[i].rung
		arrows := r.arrows(r.side)
		text.WriteLine(out, fmt.Sprintf("%*s %-*s %-*s %s %-*s %s %s", widths[0], rung[0], widths[1], rung[1],
			widths[3], rung[3], arrows[0], widths[2], rung[2], arrows[1], cellText(r.cells[1])))
		for _, note := range r.notes(0, several) {
			text.WriteLine(out, "     # "+note)
		}
		if odd := r.odd(0); len(odd) > 0 {
			var kinds []string
			for _, a := range odd {
				kinds = append(kinds, a.Kind)
			}
			text.WriteLine(out, "     ! "+strings.Join(kinds, " "))
			writeComments(out, odd)
		}
	}
	if len(d.atEnd) > 0 {
		text.WriteLine(out, "# at the end of the capture:")
		writeComments(out, d.atEnd)
	}
}

// writeComments tells of anomalies in comments.
func writeComments(out *bufio.Writer, odd []*anomaly.Anomaly) {
	for _, a := range odd {
		text.WriteLine(out, fmt.Sprintf("     # %s, %v, %s: %s", text.Escape(a.Kind), a.Severity, text.Escape(a.RFC), text.Escape(text.WithNext(a.Text, a.Next))))
	}
}

// arrows returns what stands left and right of the segment of a rung, which goes from
// that side. As in the figures of RFC 9293 "..." stands where it is under way, and "XXX"
// where it was lost; "???" is where nobody sent it, "+++" where it is a copy.
func (r *rung) arrows(from int) (two [2]string) {
	if r.segment == nil {
		return [2]string{"   ", "   "}
	}
	arrow := [...]string{"-->", "<--"}[from]
	two = [2]string{arrow, arrow}
	fate := tcp.FateUnknown
	if r.segment.Twin != nil {
		fate = r.segment.Twin.Fate
	}
	switch {
	case r.segment.Leg == tcp.Left && fate == tcp.FateLost:
		two[1-from] = "XXX"
	case r.segment.Leg == tcp.Left:
		two[1-from] = "..."
	case r.segment.Leg == tcp.Neared && fate == tcp.FateForged:
		two[from] = "???"
	case r.segment.Leg == tcp.Neared && fate == tcp.FateCopied:
		two[from] = "+++"
	case r.segment.Leg == tcp.Neared:
		two[from] = "..."
	}
	return two
}
