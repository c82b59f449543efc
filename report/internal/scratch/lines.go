package scratch

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"io"
	"slices"
)

// Lines are handed out in the order of their keys, as octets, once all are there. What
// there is no room for in memory lies in a file, in runs that are in order each. The
// zero Lines have room for any number.
type Lines struct {
	Memory int64 // octets that those in memory may take, about; 0: any

	list   []line
	octets int64
	file   File
	runs   []section
}

// A line with its key before it.
type line struct {
	b   []byte
	key int // octets of the key
}

func (l line) before(o line) int { return bytes.Compare(l.b[:l.key], o.b[:o.key]) }

// A section is where a run lies in the file.
type section struct{ from, to int64 }

const (
	lineMemory  = 48       // octets that a line takes beside its text and its key
	blockSize   = 64 << 10 // of what is written at once
	mostBuffer  = 64 << 10 // octets of a run that are read at once, and
	leastBuffer = 4 << 10
)

// Add takes a line, and keeps neither the key nor the text. Lines with equal keys come in
// any order.
func (l *Lines) Add(key, text []byte) error {
	b := make([]byte, 0, len(key)+len(text))
	l.list = append(l.list, line{append(append(b, key...), text...), len(key)})
	if l.octets += int64(cap(b)) + lineMemory; l.Memory == 0 || l.octets <= l.Memory {
		return nil
	}
	return l.spill()
}

// spill writes those in memory to the file.
func (l *Lines) spill() error {
	slices.SortFunc(l.list, line.before)
	run := section{l.file.size, l.file.size}
	var block []byte
	flush := func() error {
		_, err := l.file.Append(block)
		run.to, block = l.file.size, block[:0]
		return err
	}
	for i, x := range l.list {
		block = binary.AppendUvarint(binary.AppendUvarint(block, uint64(x.key)), uint64(len(x.b)))
		block = append(block, x.b...)
		if len(block) >= blockSize || i == len(l.list)-1 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	l.runs = append(l.runs, run)
	clear(l.list)
	l.list, l.octets = l.list[:0], 0
	return nil
}

// Each calls f with every line, which is f's until it returns, and ends with the first
// error.
func (l *Lines) Each(f func(text []byte) error) error {
	slices.SortFunc(l.list, line.before)
	if len(l.runs) == 0 {
		for _, x := range l.list {
			if err := f(x.b[x.key:]); err != nil {
				return err
			}
		}
		return nil
	}
	var m merge
	size := min(max(int(l.Memory)/len(l.runs), leastBuffer), mostBuffer)
	for _, s := range l.runs {
		r := &run{from: bufio.NewReaderSize(io.NewSectionReader(&l.file, s.from, s.to-s.from), size)}
		if err := r.next(); err != nil {
			return err
		}
		m = append(m, r)
	}
	if len(l.list) > 0 {
		m = append(m, &run{line: l.list[0], list: l.list[1:]})
	}
	for heap.Init(&m); len(m) > 0; {
		if err := f(m[0].b[m[0].key:]); err != nil {
			return err
		}
		switch err := m[0].next(); err {
		case nil:
			heap.Fix(&m, 0)
		case io.EOF:
			heap.Pop(&m)
		default:
			return err
		}
	}
	return nil
}

// Close takes the file away.
func (l *Lines) Close() error {
	l.list, l.runs, l.octets = nil, nil, 0
	return l.file.Close()
}

// A run is read from the file, or from a list.
type run struct {
	line
	from *bufio.Reader // nil: from the list
	list []line
}

// next goes on to the next line. The error is io.EOF behind the last.
func (r *run) next() error {
	if r.from == nil {
		if len(r.list) == 0 {
			return io.EOF
		}
		r.line, r.list = r.list[0], r.list[1:]
		return nil
	}
	key, err := binary.ReadUvarint(r.from)
	if err != nil {
		return err
	}
	size, err := binary.ReadUvarint(r.from)
	if err != nil {
		return io.ErrUnexpectedEOF
	}
	r.key = int(key)
	r.b = slices.Grow(r.b[:0], int(size))[:size]
	if _, err := io.ReadFull(r.from, r.b); err != nil {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// merge is a heap of runs, by their next lines.
type merge []*run

func (m merge) Len() int           { return len(m) }
func (m merge) Less(i, k int) bool { return m[i].before(m[k].line) < 0 }
func (m merge) Swap(i, k int)      { m[i], m[k] = m[k], m[i] }
func (m *merge) Push(x any)        { *m = append(*m, x.(*run)) }
func (m *merge) Pop() any {
	last := len(*m) - 1
	x := (*m)[last]
	*m = (*m)[:last]
	return x
}
