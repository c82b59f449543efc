package ladder

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A ladder for people:
//
//	conn 1  10.9.0.1:40034 CLOSED?  10.9.0.2:7034 CLOSED?  closed by client  16 segments in 381ms
//
//	     Time  #  Client                  Segment                         Server
//	 0.000000  1  SYN-SENT                --> <SEQ=0><CTL=SYN>        --> LISTEN..SYN-RECEIVED
//	              client SYN_SENT: it opens with #1
//
// A cell is PROVED..ASSUMED, or one state where the two views agree. Of a
// segment are told the numbers, the control bits, the octets of data, the
// window unless it is 1,000, the options of a SYN, and what is unusual. A
// terminal that is too narrow loses the options of SYNs first, then the
// windows, the time, the arrows on the right, and the proved states (a "?" then
// marks where they differ); never a number, a control bit or an assumed state.
// Where that is too wide still, the server's states stand below the segments.

// The ranks at which a narrow terminal loses what.
const (
	dropOptions = 1 + iota
	dropWindow
	dropTime
	dropArrow
	dropProved
	dropBeside
	dropNoMore
)

// draw draws the ladder for people.
func (d *ladder) draw(out *bufio.Writer, o *Options) error {
	d.settle(o)
	record := d.records[0]
	text.WriteLine(out, text.Bold.PaintIf(o.Color, heading(record)))
	text.WriteLine(out, "")
	widths, rank := d.widths.fit(o.Width)
	titles := [...]string{"", "#", "Client", "Segment", "Server"}
	if rank < dropTime {
		titles[0] = "Time"
	}
	text.WriteLine(out, text.Bold.PaintIf(o.Color, widths.line(titles, [2]string{}, true, false, rank)))
	indent := strings.Repeat(" ", widths.margin(rank))
	err := d.drawn.each(func(row *drawnRow) {
		cells := row.cellTexts(rank)
		columns := [...]string{row.time, row.frame, cells[0], row.text(rank), cells[1]}
		if rank >= dropTime {
			columns[0] = ""
		}
		text.WriteLine(out, widths.line(columns, row.arrows, row.beside, o.Color, rank))
		if server := cells[1]; rank >= dropBeside && row.beside {
			below := strings.Repeat(" ", widths.cells[0]+len(" --> "))
			text.WriteLine(out, indent+below+"server "+cellColor(server).PaintIf(o.Color, server))
		}
		for _, note := range row.notes {
			text.WriteWrapped(out, indent, note.text, o.Width, text.Plain)
		}
		for i := range row.odd {
			if a := &row.odd[i]; !d.struck(row.packet, a) {
				a.write(out, indent, o)
			}
		}
	})
	if len(d.atEnd) > 0 {
		text.WriteLine(out, "at the end")
		for _, a := range d.atEnd {
			odd := oddOf(&tracker.Event{Anomaly: a})
			odd.write(out, indent, o)
		}
	}
	return err
}

// oddFacts returns what is known of an anomaly besides its kind: its cause, the
// frames that show it, and how certain it is.
func oddFacts(a *anomaly.Anomaly) (facts []string) {
	if a.Cause != "" {
		facts = append(facts, text.Escape(a.Cause))
	}
	if len(a.Places) > 0 {
		facts = append(facts, "frames "+text.Places(a.Places))
	} else if len(a.Evidence) > 0 {
		facts = append(facts, "frames "+text.Frames(a.Evidence))
	}
	if a.Confidence != anomaly.ConfidenceProved {
		facts = append(facts, a.Confidence.String())
	}
	return facts
}

// write writes an anomaly under its segment.
func (a *drawnOdd) write(out *bufio.Writer, indent string, o *Options) {
	head := []string{"! " + a.kind, a.severity.String()}
	if a.rfc != "" {
		head = append(head, a.rfc)
	}
	if a.facts != "" {
		head = append(head, a.facts)
	}
	text.WriteWrapped(out, indent, strings.Join(head, text.Gap), o.Width, text.SeverityColor(a.severity).When(o.Color))
	text.WriteWrapped(out, indent+"  ", a.text, o.Width, text.Plain)
	if a.next != "" {
		text.WriteWrapped(out, indent+"  ", text.Next+a.next, o.Width, text.Plain)
	}
}

// columns are the widths of a ladder's columns.
type columns struct {
	time, frame, text int
	cells             [2]int
}

// drawnWidths are how wide the rows of a ladder are, whatever is left out of them.
type drawnWidths struct {
	time, frame  int
	texts        [dropWindow + 1]int
	cells, short [2]int // with both views, and with one
}

// add takes a row.
func (w *drawnWidths) add(row *drawnRow) {
	w.time, w.frame = max(w.time, len(row.time)), max(w.frame, len(row.frame))
	if !row.beside {
		return
	}
	for rank := range w.texts {
		w.texts[rank] = max(w.texts[rank], utf8.RuneCountInString(row.text(rank)))
	}
	for side, v := range row.cells {
		w.cells[side], w.short[side] = max(w.cells[side], len(cellText(v))), max(w.short[side], len(shortCell(v)))
	}
}

// fit returns the widths of the columns, and the rank of what has to be left out to
// fit the terminal.
func (w *drawnWidths) fit(width int) (c columns, rank int) {
	for rank = 0; ; rank++ {
		cells := w.cells
		if rank >= dropProved {
			cells = w.short
		}
		c = columns{frame: max(w.frame, 1), text: max(w.texts[min(rank, dropWindow)], len("Segment")),
			cells: [2]int{max(cells[0], len("Client")), max(cells[1], len("Server"))}}
		if rank < dropTime {
			c.time = max(w.time, len("Time"))
		}
		if width == 0 || c.total(rank) <= width || rank+1 == dropNoMore {
			return c, rank
		}
	}
}

// margin is the width of what stands left of the client's cells.
func (w columns) margin(rank int) int {
	if rank >= dropTime {
		return w.frame + len(text.Gap)
	}
	return w.time + len(text.Gap) + w.frame + len(text.Gap)
}

// total is the width of a line.
func (w columns) total(rank int) int {
	n := w.margin(rank) + w.cells[0] + 1 + len("--> ") + w.text
	if rank < dropBeside {
		n += 1 + w.cells[1]
	}
	if rank < dropArrow {
		n += len(" -->")
	}
	return n
}

// line lays one row out: its time, frame, the client's cell, the segment, and the
// server's cell, which stands beside them or is none.
func (w columns) line(row [5]string, arrows [2]string, beside, colors bool, rank int) string {
	var b strings.Builder
	if rank < dropTime {
		fmt.Fprintf(&b, "%*s  ", w.time, row[0])
	}
	fmt.Fprintf(&b, "%*s  ", w.frame, row[1])
	cell := func(text string) string {
		if !colors {
			return text
		}
		return cellColor(text).Paint(text)
	}
	pad := func(n int) { b.WriteString(strings.Repeat(" ", max(n, 0))) }
	b.WriteString(cell(row[2]))
	pad(w.cells[0] - len(row[2]))
	fmt.Fprintf(&b, " %-3s %s", arrows[0], row[3])
	if beside && rank < dropBeside {
		pad(w.text - utf8.RuneCountInString(row[3]))
		if rank < dropArrow {
			fmt.Fprintf(&b, " %-3s", arrows[1])
		}
		b.WriteString(" " + cell(row[4]))
	}
	return strings.TrimRight(b.String(), " ")
}

// cellColor is the color of a cell: that of its assumed state.
func cellColor(cell string) text.Color {
	if _, assumed, both := strings.Cut(cell, ".."); both {
		cell = assumed
	}
	return text.StateColor(cell)
}

// drawnRow returns what is drawn of a row for people.
func (d *ladder) drawnRow(w *ladderRow, o *Options) (out drawnRow) {
	if w.rung == nil {
		out.texts[0] = w.fold.String()
		return out
	}
	r, record := w.rung, d.records[0]
	out.packet, out.beside = r.packet, true
	out.time = strconv.FormatFloat(r.at.Sub(record.Start).Seconds(), 'f', 6, 64)
	client := d.sideOf(tcp.Client) // which is on the left, whoever is the client of other connections on these ports
	for side, views := range r.cells {
		out.cells[side^client] = views
	}
	out.notes = r.notes(record.Conn)
	out.odd = r.drawnOdd(record.Conn)
	if r.segment == nil {
		out.texts[0] = r.timerText()
		return out
	}
	out.frame = strconv.Itoa(r.packet)
	if frames := r.segment.Frames; frames != nil {
		out.frame += " (" + framesAt(*frames) + ")"
	}
	from := r.side ^ client
	if r.segment.ICMP.Type != 0 {
		from = 1 - from // it went to the sender of the segment that it quotes
	}
	out.arrows = r.arrows(from)
	for rank := range out.texts {
		if rank == 0 || o.Width > 0 {
			out.texts[rank] = d.segmentText(r, rank)
		}
	}
	return out
}

// cellTexts writes the states of both ends.
func (row *drawnRow) cellTexts(rank int) (cells [2]string) {
	for side, v := range row.cells {
		switch {
		case !row.beside:
		case rank >= dropProved:
			cells[side] = shortCell(v)
		default:
			cells[side] = cellText(v)
		}
	}
	return cells
}

// shortCell writes the assumed state of an end alone.
func shortCell(v tcp.Views) string {
	if v.Proved != v.State {
		return v.State.RFC() + text.AssumedMark
	}
	return v.State.RFC()
}

// cellText writes the state of an end in both views.
func cellText(v tcp.Views) string {
	if v.Proved == v.State {
		return v.State.RFC()
	}
	return v.Proved.RFC() + ".." + v.State.RFC()
}

// timerText names the timer that fired, as the RFC's figures do.
func (r *rung) timerText() string {
	for i := range r.events {
		switch e := &r.events[i]; {
		case e.Refuted:
			return "(no answer)"
		case e.Inputs == tcp.Timeout2MSL.Set():
			return "(2 MSL)"
		}
	}
	return "(timeout)"
}

// segmentText writes a segment in the notation of RFC 9293 §3.5, with what
// people look at.
func (d *ladder) segmentText(r *rung, rank int) string {
	s := d.relative(r)
	// What the notation leaves out where it is as usual.
	s.TTL, s.ID, s.Checksum, s.NoDF, s.Label = 64, 0, 0, false, false
	s.Options.HasTS, s.Options.Order = false, 0
	if s.Cut == tcp.CutPayload {
		s.Cut = tcp.CutNone
	}
	if s.Sum != tcp.SumBad {
		s.Sum = tcp.SumUnchecked
	}
	if s.ICMP.Type != 0 || s.Flags&tcp.RST != 0 || rank >= dropWindow && s.Wnd != 0 {
		s.Wnd = 1000
	}
	if rank >= dropOptions {
		s.Options.MSS, s.Options.HasShift, s.Options.SACKOK, s.Options.NumSACK = 0, false, false, 0
	}
	return s.String()
}

// relative returns the segment of a rung with the numbers that are drawn.
func (d *ladder) relative(r *rung) tcp.Segment {
	s := *r.segment
	s.Seq -= d.base[r.side]
	if s.Ack -= d.base[1-r.side]; s.Flags&tcp.ACK == 0 {
		s.Ack = 0
	}
	for i := range s.Options.SACK[:s.Options.NumSACK] {
		b := &s.Options.SACK[i]
		b.Left, b.Right = b.Left-d.base[1-r.side], b.Right-d.base[1-r.side]
	}
	return s
}

// framesAt writes the numbers of a packet in each of several captures.
func framesAt(frames []int) string {
	var list []string
	for _, frame := range frames {
		if frame == 0 {
			list = append(list, "-")
			continue
		}
		list = append(list, strconv.Itoa(frame))
	}
	return strings.Join(list, "/")
}
