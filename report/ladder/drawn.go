package ladder

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/internal/scratch"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What is to be drawn is kept until the capture is over: only then is it known how
// wide the columns are, and what comes first. The rows of a ladder are kept as what
// is drawn of them, in octets, and beyond so many octets of all ladders they go to
// a temporary file. So ladders may have any number of segments.

// A drawnRow is what is drawn of a row.
type drawnRow struct {
	packet      int    // the frame, of a timer the one before; 0: it is a fold
	time, frame string // the time is that since the row before, in a test
	beside      bool   // it has cells, beside its text
	cells       [2]tcp.Views
	arrows      [2]string
	texts       [dropWindow + 1]string // by what had to be left out; "": as the first
	notes       []drawnNote
	odd         []drawnOdd
}

// text returns the text where so much had to be left out.
func (row *drawnRow) text(rank int) string {
	if s := row.texts[min(rank, dropWindow)]; s != "" {
		return s
	}
	return row.texts[0]
}

// A drawnOdd is an anomaly of a row.
type drawnOdd struct {
	conn                         int
	end                          tcp.Endpoint
	severity                     anomaly.Severity
	kind, rfc, facts, text, next string
}

// oddOf returns what is drawn of the anomaly of an event.
func oddOf(e *tracker.Event) drawnOdd {
	a := e.Anomaly
	return drawnOdd{e.Conn, e.End, a.Severity, text.Escape(a.Kind), text.Escape(a.RFC), strings.Join(oddFacts(a), text.Gap), text.Escape(a.Text), text.Escape(a.Next)}
}

// drawnOdd returns what is drawn of the anomalies of a rung, as odd does.
func (r *rung) drawnOdd(conn int) (list []drawnOdd) {
	for _, e := range r.odd(conn) {
		list = append(list, oddOf(e))
	}
	return list
}

// settle draws the rows that there are.
func (d *ladder) settle(o *Options) {
	for i := range d.rows {
		var row drawnRow
		if o.notation() {
			row = d.notationRow(d.rows[i].rung)
		} else {
			row = d.drawnRow(&d.rows[i], o)
		}
		d.count++
		d.widths.add(&row)
		c := codec{b: d.drawn.b}
		c.row(&row)
		d.drawn.b = c.b
	}
	clear(d.rows)
	d.rows = d.rows[:0]
}

// A struckOdd is an anomaly that was withdrawn after it was drawn.
type struckOdd struct {
	packet int
	conn   int
	end    tcp.Endpoint
	kind   string
}

// struck reports whether an anomaly of a row was withdrawn.
func (d *ladder) struck(packet int, a *drawnOdd) bool {
	return len(d.withdrawn) > 0 && d.withdrawn[struckOdd{packet, a.conn, a.end, a.kind}]
}

const (
	rungsAtOnce  = 1 << 10 // that are kept as they came
	octetsAtOnce = 4 << 20 // that are kept of what is drawn
)

// A spill is what is drawn, in blocks in a temporary file.
type spill struct{ file scratch.File }

// blockHeader is the octets before what a block has of a ladder: where the block
// before is, plus 1, and how long this one is.
const blockHeader = 16

// write writes a block and returns where it is, plus 1. The block before it is at
// before.
func (s *spill) write(block []byte, before int64) (at int64, err error) {
	header := binary.LittleEndian.AppendUint64(nil, uint64(before))
	header = binary.LittleEndian.AppendUint64(header, uint64(len(block)))
	at, err = s.file.Append(append(header, block...))
	return at + 1, err
}

// read returns the block at a place that write returned, and where the one before
// is. Without the block it returns only that.
func (s *spill) read(at int64, whole bool) (block []byte, before int64, err error) {
	header := make([]byte, blockHeader)
	if _, err := s.file.ReadAt(header, at-1); err != nil {
		return nil, 0, err
	}
	before = int64(binary.LittleEndian.Uint64(header))
	if whole {
		block = make([]byte, binary.LittleEndian.Uint64(header[8:]))
		_, err = s.file.ReadAt(block, at-1+blockHeader)
	}
	return block, before, err
}

// drawnRows are rows of one ladder: those in the file, then those in b.
type drawnRows struct {
	spill *spill
	last  int64 // the newest block, plus 1; 0: there is none
	b     []byte
}

// empty moves what is in memory to the file.
func (r *drawnRows) empty() (err error) {
	if len(r.b) > 0 {
		r.last, err = r.spill.write(r.b, r.last)
		r.b = nil
	}
	return err
}

// each calls f with every row. It is the callee's until it returns.
func (r *drawnRows) each(f func(*drawnRow)) error {
	var blocks []int64
	for at := r.last; at != 0; {
		blocks = append(blocks, at)
		_, before, err := r.spill.read(at, false)
		if err != nil {
			return err
		}
		at = before
	}
	for _, at := range slices.Backward(blocks) {
		block, _, err := r.spill.read(at, true)
		if err != nil {
			return err
		}
		eachRow(block, f)
	}
	eachRow(r.b, f)
	return nil
}

// eachRow calls f with every row of a block.
func eachRow(block []byte, f func(*drawnRow)) {
	for c := (codec{b: block, reads: true}); len(c.b) > 0; {
		var row drawnRow
		c.row(&row)
		f(&row)
	}
}

// A codec writes values behind b, or reads them from its front.
type codec struct {
	b     []byte
	reads bool
}

// row writes or reads a row.
func (c *codec) row(r *drawnRow) {
	number(c, &r.packet)
	c.text(&r.time)
	c.text(&r.frame)
	beside := 0
	if r.beside {
		beside = 1
	}
	number(c, &beside)
	r.beside = beside == 1
	for side := range r.cells {
		number(c, &r.cells[side].State)
		number(c, &r.cells[side].Proved)
		c.text(&r.arrows[side])
	}
	for rank := range r.texts {
		c.text(&r.texts[rank])
	}
	for i := range list(c, &r.notes) {
		number(c, &r.notes[i].conn)
		c.text(&r.notes[i].text)
	}
	for i := range list(c, &r.odd) {
		a := &r.odd[i]
		number(c, &a.conn)
		number(c, &a.end)
		number(c, &a.severity)
		for _, text := range []*string{&a.kind, &a.rfc, &a.facts, &a.text, &a.next} {
			c.text(text)
		}
	}
}

// number writes or reads a number that is not negative.
func number[N ~int | ~uint8](c *codec, n *N) {
	if !c.reads {
		c.b = binary.AppendUvarint(c.b, uint64(*n))
		return
	}
	v, size := binary.Uvarint(c.b)
	*n, c.b = N(v), c.b[size:]
}

// text writes or reads a text.
func (c *codec) text(s *string) {
	n := len(*s)
	number(c, &n)
	if !c.reads {
		c.b = append(c.b, *s...)
		return
	}
	*s, c.b = string(c.b[:n]), c.b[n:]
}

// list writes or reads how long a list is, and returns that.
func list[E any](c *codec, l *[]E) int {
	n := len(*l)
	if number(c, &n); c.reads && n > 0 {
		*l = make([]E, n)
	}
	return n
}
