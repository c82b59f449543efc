package ladder

import (
	"bufio"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A ladder in the notation of the tracker's tests. It holds every segment of
// its addresses and ports, whatever connection it is part of, with all that the
// tracker looks at, and the exact times; what is for people only is in
// comments. Played to a tracker it comes to the same states and anomalies.

// writeNotation writes the ladder as a test.
func (d *ladder) writeNotation(out *bufio.Writer, o *Options) error {
	d.settle(o)
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
	if d.count == 0 {
		return nil
	}
	text.WriteLine(out, "begin: "+string(text.AppendTime(nil, d.begin)))
	several, w := len(d.flow.clientAt) > 1, &d.widths
	err := d.drawn.each(func(row *drawnRow) {
		text.WriteLine(out, fmt.Sprintf("%*s %-*s %-*s %s %-*s %s %s", w.frame, row.frame, w.time, row.time,
			w.cells[0], cellText(row.cells[0]), row.arrows[0], w.texts[0], row.texts[0], row.arrows[1], cellText(row.cells[1])))
		for _, note := range row.notes {
			if several && note.conn != 0 {
				note.text = fmt.Sprintf("conn %d %s", note.conn, note.text)
			}
			text.WriteLine(out, "     # "+note.text)
		}
		row.odd = slices.DeleteFunc(row.odd, func(a drawnOdd) bool { return d.struck(row.packet, &a) })
		if len(row.odd) > 0 {
			var kinds []string
			for i := range row.odd {
				kinds = append(kinds, row.odd[i].kind)
			}
			text.WriteLine(out, "     ! "+strings.Join(kinds, " "))
		}
		for i := range row.odd {
			row.odd[i].comment(out)
		}
	})
	if len(d.atEnd) > 0 {
		text.WriteLine(out, "# at the end of the capture:")
		for _, a := range d.atEnd {
			odd := oddOf(&tracker.Event{Anomaly: a})
			odd.comment(out)
		}
	}
	return err
}

// notationRow returns what is drawn of a row as a test.
func (d *ladder) notationRow(r *rung) (out drawnRow) {
	if d.count == 0 {
		d.begin, d.before = r.at, r.at
	}
	out = drawnRow{packet: r.packet, frame: strconv.Itoa(r.packet) + ".", time: "+" + string(text.AppendSeconds(nil, r.at.Sub(d.before))),
		beside: true, cells: r.cells, arrows: r.arrows(r.side), notes: r.notes(0), odd: r.drawnOdd(0)}
	d.before = r.at
	if r.timer > 0 {
		out.frame += strconv.Itoa(r.timer) + "."
	}
	if out.texts[0] = r.timerText(); r.segment != nil {
		out.texts[0] = r.segment.String()
	}
	return out
}

// comment tells of an anomaly in a comment.
func (a *drawnOdd) comment(out *bufio.Writer) {
	text.WriteLine(out, fmt.Sprintf("     # %s, %v, %s: %s", a.kind, a.severity, a.rfc, text.WithNext(a.text, a.next)))
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
