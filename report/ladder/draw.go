package ladder

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tcpwatch/tcpwatch/report/text"
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

// A drawn row is what its columns hold.
type drawnRow struct {
	time, frame string
	cells       [2]string
	arrows      [2]string
	text        string
}

// draw draws the ladder for people.
func (d *ladder) draw(out *bufio.Writer, o *Options) {
	record := d.records[0]
	text.WriteLine(out, text.Bold.PaintIf(o.Color, heading(record)))
	text.WriteLine(out, "")
	rows, widths, rank := d.layout(o)
	titles := drawnRow{frame: "#", cells: [2]string{"Client", "Server"}, text: "Segment"}
	if rank < dropTime {
		titles.time = "Time"
	}
	text.WriteLine(out, text.Bold.PaintIf(o.Color, widths.line(titles, false, rank)))
	indent := strings.Repeat(" ", widths.margin(rank))
	for i, row := range rows {
		text.WriteLine(out, widths.line(row, o.Color, rank))
		if server := row.cells[1]; rank >= dropBeside && server != "" {
			below := strings.Repeat(" ", widths.cells[0]+len(" --> "))
			text.WriteLine(out, indent+below+"server "+cellColor(server).PaintIf(o.Color, server))
		}
		r := d.rows[i].rung
		if r == nil {
			continue
		}
		for _, note := range r.notes(record.Conn, false) {
			text.WriteWrapped(out, indent, note, o.Width, text.Plain)
		}
		for _, a := range r.odd(record.Conn) {
			writeOdd(out, indent, a, o)
		}
	}
	if len(d.atEnd) > 0 {
		text.WriteLine(out, "at the end")
		for _, a := range d.atEnd {
			writeOdd(out, indent, a, o)
		}
	}
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

// writeOdd writes an anomaly under its segment.
func writeOdd(out *bufio.Writer, indent string, a *anomaly.Anomaly, o *Options) {
	head := []string{"! " + text.Escape(a.Kind), a.Severity.String()}
	if a.RFC != "" {
		head = append(head, text.Escape(a.RFC))
	}
	text.WriteWrapped(out, indent, strings.Join(append(head, oddFacts(a)...), text.Gap), o.Width, text.SeverityColor(a.Severity).When(o.Color))
	text.WriteWrapped(out, indent+"  ", text.Escape(a.Text), o.Width, text.Plain)
	if a.Next != "" {
		text.WriteWrapped(out, indent+"  ", text.Next+text.Escape(a.Next), o.Width, text.Plain)
	}
}

// columns are the widths of a ladder's columns.
type columns struct {
	time, frame, text int
	cells             [2]int
}

// layout returns what the columns hold, their widths, and the rank of what had
// to be left out to fit the terminal.
func (d *ladder) layout(o *Options) (rows []drawnRow, w columns, rank int) {
	for rank = 0; ; rank++ {
		rows = rows[:0]
		w = columns{frame: 1, text: len("Segment"), cells: [2]int{len("Client"), len("Server")}}
		if rank < dropTime {
			w.time = len("Time")
		}
		for i := range d.rows {
			row := d.drawn(&d.rows[i], rank)
			w.time, w.frame = max(w.time, len(row.time)), max(w.frame, len(row.frame))
			if row.cells[1] != "" {
				w.text = max(w.text, utf8.RuneCountInString(row.text))
			}
			for side, cell := range row.cells {
				w.cells[side] = max(w.cells[side], len(cell))
			}
			rows = append(rows, row)
		}
		if o.Width == 0 || w.total(rank) <= o.Width || rank+1 == dropNoMore {
			return rows, w, rank
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

// line lays one row out.
func (w columns) line(row drawnRow, colors bool, rank int) string {
	var b strings.Builder
	if rank < dropTime {
		fmt.Fprintf(&b, "%*s  ", w.time, row.time)
	}
	fmt.Fprintf(&b, "%*s  ", w.frame, row.frame)
	cell := func(side int) string {
		return cellColor(row.cells[side]).PaintIf(colors, row.cells[side])
	}
	pad := func(n int) { b.WriteString(strings.Repeat(" ", max(n, 0))) }
	b.WriteString(cell(0))
	pad(w.cells[0] - len(row.cells[0]))
	fmt.Fprintf(&b, " %-3s %s", row.arrows[0], row.text)
	if row.cells[1] != "" && rank < dropBeside {
		pad(w.text - utf8.RuneCountInString(row.text))
		if rank < dropArrow {
			fmt.Fprintf(&b, " %-3s", row.arrows[1])
		}
		b.WriteString(" " + cell(1))
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

// drawn returns what the columns hold of a row.
func (d *ladder) drawn(w *ladderRow, rank int) (out drawnRow) {
	if w.rung == nil {
		out.text = w.fold.String()
		return out
	}
	r, record := w.rung, d.records[0]
	if rank < dropTime {
		out.time = strconv.FormatFloat(r.at.Sub(record.Start).Seconds(), 'f', 6, 64)
	}
	client := d.sideOf(tcp.Client) // which is on the left, whoever is the client of other connections on these ports
	for side, views := range r.cells {
		cell := &out.cells[side^client]
		*cell = cellText(views)
		if rank >= dropProved {
			if *cell = views.State.RFC(); views.Proved != views.State {
				*cell += text.AssumedMark
			}
		}
	}
	if r.segment == nil {
		out.text = r.timerText()
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
	out.text = d.segmentText(r, rank)
	return out
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
