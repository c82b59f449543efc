package record

import (
	"bufio"
	"bytes"
	"errors"

	"github.com/tcpwatch/tcpwatch/report/internal/scratch"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// csv prints the connection records as RFC 4180 has it (with lines that end in
// LF): a column for each field, named by its path; the cell of an absent field
// is empty. A line is written when its connection is over, unless an order was
// asked for: then at the end.
type csv struct {
	Quiet
	out      *bufio.Writer
	by       Order
	rows     scratch.Lines // with an order
	key, buf []byte
}

// NewCSV makes the format csv.
func NewCSV(out *bufio.Writer, o *Options, by Order) Format {
	p := &csv{out: out, by: by, rows: scratch.Lines{Memory: o.Memory}}
	if !o.NoHeader {
		p.out.Write(appendCSVHeader(nil))
	}
	return p
}

func (p *csv) Connection(r *tracker.Record) error {
	p.buf = appendCSV(p.buf[:0], r)
	if p.by.by != nil {
		p.key = p.by.appendKey(p.key[:0], r)
		return p.rows.Add(p.key, p.buf)
	}
	_, err := p.out.Write(p.buf)
	return err
}

func (p *csv) Close(*Summary, *Tally) error {
	err := p.rows.Each(func(line []byte) error {
		_, err := p.out.Write(line)
		return err
	})
	return errors.Join(err, p.rows.Close())
}

// appendCSVHeader appends the line of the column names.
func appendCSVHeader(b []byte) []byte {
	for i := range fields {
		if fields[i].derived {
			continue
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, fields[i].path...)
	}
	return append(b, '\n')
}

// appendCSV appends the line of one connection.
func appendCSV(b []byte, r *tracker.Record) []byte {
	for i := range fields {
		if fields[i].derived {
			continue
		}
		if i > 0 {
			b = append(b, ',')
		}
		start := len(b)
		v := fields[i].value(r)
		b = v.appendText(b)
		if bytes.ContainsAny(b[start:], csvMarks) {
			b = append(b[:start], csvCell(b[start:])...)
		}
	}
	return append(b, '\n')
}

// csvMarks are what makes quotes around a cell necessary.
const csvMarks = "\",\r\n"

// csvCell returns a cell, in quotes if it must be.
func csvCell(cell []byte) []byte {
	if !bytes.ContainsAny(cell, csvMarks) {
		return cell
	}
	quoted := append([]byte{'"'}, bytes.ReplaceAll(cell, []byte(`"`), []byte(`""`))...)
	return append(quoted, '"')
}
