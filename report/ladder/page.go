package ladder

import (
	"fmt"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A Page is the ladder of one connection, as the script of the page draws it.
type Page struct {
	Left tcp.Endpoint  `json:"left"` // the end on the left
	Rows []pageRung    `json:"rows"`
	Odd  []pageAnomaly `json:"odd,omitempty"`  // by the numbers that rungs have
	Last []int         `json:"last,omitempty"` // of these, those found at the end
}

// The kinds of a pageRung.
const (
	rungSegment = iota
	rungTimer
	rungFold
	rungGap // octets that the capture lacks, before the next segment
)

// A pageRung is what is drawn of a segment, a timer, a fold or a gap.
type pageRung struct {
	Kind   int        `json:"k,omitempty"`
	Time   int64      `json:"t"`           // microseconds from the start of the connection
	Packet int        `json:"n,omitempty"` // frame
	From   int        `json:"d,omitempty"` // 0: the arrow starts on the left
	Flags  string     `json:"f,omitempty"` // control bits
	Text   string     `json:"x,omitempty"` // what is written beside them
	Full   string     `json:"o,omitempty"` // the segment in the notation of RFC 9293
	Cells  *[4]int    `json:"c,omitempty"` // the states on the left and on the right, each assumed and proved
	Fate   fate       `json:"l,omitempty"` // whether it arrived
	By     int        `json:"b,omitempty"` // the frame that tells so
	Why    string     `json:"w,omitempty"` // how
	Notes  []string   `json:"s,omitempty"` // what it moved, and why
	Marks  *[2]string `json:"m,omitempty"` // what the ends do that ends or opens the connection
	Odd    []int      `json:"a,omitempty"` // anomalies
	Leg    legDrawn   `json:"g,omitempty"` // which part of its way, where captures of several places show it
	Frames string     `json:"p,omitempty"` // its frames in these
}

// A legDrawn is which part of a segment's way a rung is.
type legDrawn int

const (
	wholeWay legDrawn = iota
	leaves            // and the rung of the same packet where it comes is another
	comes             // the other of these
	forged            // it comes, and did not leave
	copied            // it comes once more than it left
)

// legOf returns which part of its way a rung shows of a segment.
func legOf(s *tcp.Segment) legDrawn {
	switch {
	case s.Leg == tcp.Left:
		return leaves
	case s.Leg != tcp.Neared:
		return wholeWay
	case s.Twin == nil:
		return comes
	case s.Twin.Fate == tcp.FateCopied:
		return copied
	}
	return forged
}

// A pageAnomaly is one of a ladder.
type pageAnomaly struct {
	Kind     string `json:"kind"`
	Severity string `json:"severity"`
	Facts    string `json:"facts,omitempty"`
	Text     string `json:"text"`
}

// Pages closes the Printer without drawing, and returns the ladders by the numbers
// of their connections, without those that are empty; first is that of the first
// ladder of all, or 0. The capture ends at last.
func (l *Printer) Pages(last tcp.Time) (pages map[int]*Page, first int) {
	pages = make(map[int]*Page)
	for _, d := range l.finish() {
		if len(d.rows) > 0 {
			pages[d.records[0].Conn] = d.page(last, l.opts.All)
		}
	}
	if len(l.ladders) > 0 {
		first = l.ladders[0].records[0].Conn
	}
	return pages, first
}

// page returns the ladder as a page draws it. The capture ends at last; with all
// nothing is folded.
func (d *ladder) page(last tcp.Time, all bool) *Page {
	record := d.records[0]
	p := &Page{}
	if d.sideOf(tcp.Client) != 0 {
		p.Left = tcp.Server
	}
	f := d.fates(last)
	for i, w := range d.rows {
		if g, ok := f.gaps[i]; ok {
			p.Rows = append(p.Rows, pageRung{Kind: rungGap, From: w.side, Time: w.at.Sub(record.Start).Microseconds(), Text: g.text, By: g.by})
		}
		if w.rung == nil {
			row := pageRung{Kind: rungFold, Text: strings.Trim(w.fold.String(), ". ")}
			if i > 0 {
				row.Time = p.Rows[len(p.Rows)-1].Time
			}
			p.Rows = append(p.Rows, row)
			continue
		}
		p.Rows = append(p.Rows, d.pageRung(w.rung, f.arrivals[i], p))
	}
	for _, a := range d.atEnd {
		p.Last = append(p.Last, p.odd(a))
	}
	if !all {
		p.Rows = foldPage(p.Rows)
	}
	return p
}

// odd adds an anomaly and returns its number.
func (p *Page) odd(a *anomaly.Anomaly) int {
	p.Odd = append(p.Odd, pageAnomaly{text.Escape(a.Kind), a.Severity.String(), strings.Join(append(oddFacts(a), text.Escape(a.RFC)), ", "), text.Escape(text.WithNext(a.Text, a.Next))})
	return len(p.Odd) - 1
}

// deeds are what the moves that open, close or end a connection are called
// beside the end that makes them.
var deeds = map[tcp.InputSet]string{
	tcp.SndSYN.Set(): "opens", tcp.SndFIN.Set(): "closes", tcp.SndRST.Set(): "aborts",
	tcp.RcvRST.Set(): "is reset", tcp.RcvRSTPassive.Set(): "is reset",
	tcp.GiveUp.Set(): "gives up", tcp.GiveUpPassive.Set(): "gives up", tcp.NoTCB.Set(): "has no connection",
	tcp.Unreachable.Set(): "unreachable (ICMP)", tcp.Timeout2MSL.Set(): "2 MSL over",
}

// pageRung returns what is drawn of a rung.
func (d *ladder) pageRung(r *rung, f arrival, p *Page) pageRung {
	conn := d.records[0].Conn
	row := pageRung{
		Kind: rungTimer, Time: r.at.Sub(d.records[0].Start).Microseconds(), Fate: f.fate, By: f.by, Why: f.why,
		Cells: &[4]int{int(r.cells[0].State), int(r.cells[0].Proved), int(r.cells[1].State), int(r.cells[1].Proved)},
	}
	for _, note := range r.notes(conn) {
		row.Notes = append(row.Notes, note.text)
	}
	for _, e := range r.odd(conn) {
		row.Odd = append(row.Odd, p.odd(e.Anomaly))
	}
	for i := range r.events {
		e := &r.events[i]
		// An end of which nothing is known any more does nothing.
		if deed := deeds[e.Inputs]; e.Kind == tracker.EventTransition && !e.Refuted && e.Conn == conn && e.To != tcp.Unknown && deed != "" {
			if row.Marks == nil {
				row.Marks = new([2]string)
			}
			row.Marks[d.sideOf(e.End)] = deed
		}
	}
	if r.segment == nil {
		row.Text = strings.Trim(r.timerText(), "()")
		return row
	}
	row.Kind, row.Packet, row.From, row.Leg = rungSegment, r.packet, r.side, legOf(r.segment)
	if r.segment.Frames != nil {
		row.Frames = framesAt(*r.segment.Frames)
	}
	s := d.relative(r)
	row.Full = d.segmentText(r, 0)
	if s.ICMP.Type != 0 {
		row.From = 1 - r.side // it went to the sender of the segment that it quotes
		row.Flags, row.Text = "ICMP", fmt.Sprintf("type %d code %d", s.ICMP.Type, s.ICMP.Code)
		return row
	}
	row.Flags = s.Flags.String()
	parts := []string{fmt.Sprintf("seq %d", uint32(s.Seq))}
	if s.Flags&tcp.ACK != 0 {
		parts = append(parts, fmt.Sprintf("ack %d", uint32(s.Ack)))
	}
	if s.Data > 0 {
		parts = append(parts, fmt.Sprintf("len %d", s.Data))
	}
	if s.Wnd == 0 && s.Flags&(tcp.RST|tcp.SYN) == 0 {
		parts = append(parts, "win 0")
	}
	if f.again {
		parts = append(parts, "again")
	}
	if r.skipped != tcp.NotSkipped {
		parts = append(parts, r.skipped.String())
	}
	row.Text = strings.Join(parts, " ")
	return row
}

const (
	pageWhole = 80 // rungs: a shorter ladder is not folded
	pageNear  = 2  // rungs around one that tells something stay
)

// foldPage folds what tells nothing.
func foldPage(rows []pageRung) []pageRung {
	if len(rows) <= pageWhole {
		return rows
	}
	keep := make([]bool, len(rows))
	for i := range rows {
		if rows[i].tells() || i < stretchFirst || i >= len(rows)-stretchLast {
			for k := max(0, i-pageNear); k <= min(len(rows)-1, i+pageNear); k++ {
				keep[k] = true
			}
		}
	}
	var out []pageRung
	for i := 0; i < len(rows); {
		n := i
		for n < len(rows) && !keep[n] {
			n++
		}
		if n-i >= stretchLeast {
			out = append(out, pageRung{Kind: rungFold, Time: rows[i].Time, Text: text.Thousands(uint64(n-i)) + " segments"})
			i = n
			continue
		}
		n = max(n, i+1)
		out = append(out, rows[i:n]...)
		i = n
	}
	return out
}

// tells reports whether a rung is more than data in an open connection and the
// ACKs of it.
func (r *pageRung) tells() bool {
	return r.Kind != rungSegment || r.Leg > comes || r.Fate != arrived || len(r.Notes)+len(r.Odd) > 0 || r.Marks != nil ||
		strings.ContainsAny(r.Flags, "SFRI") && !isData(r.Flags) || strings.HasSuffix(r.Text, "again")
}

// isData reports whether flags are those of an open connection.
func isData(flags string) bool { return flags == "ACK" || flags == "PSH,ACK" }
