// Package frames remembers where the packets of a merged stream come from: what numbers
// each has elsewhere.
package frames

import (
	"encoding/binary"
	"errors"
	"os"
)

const (
	// framesInChunk is how many packets a chunk holds.
	framesInChunk = 1 << 14

	// maxChunks is how many chunks are kept in memory: 4 million packets, at 4 octets for
	// each number. The others are in a temporary file.
	maxChunks = 256
)

// Frames has some numbers of each packet. New returns one.
type Frames struct {
	width  int // numbers of each
	n      int
	chunks [][]uint32 // the oldest may be in the file, and nil here
	filed  int        // chunks that are in the file
	file   *os.File   // nil: none, yet
	err    error      // that writing it gave; what it should have is not known then
}

// New returns Frames of no packet, with so many numbers of each.
func New(width int) Frames { return Frames{width: width} }

// Add adds a packet, and returns its own number, from 1.
func (f *Frames) Add(numbers []uint32) int {
	if f.n%framesInChunk == 0 {
		if len(f.chunks)-f.filed >= maxChunks {
			f.spill()
		}
		f.chunks = append(f.chunks, make([]uint32, framesInChunk*f.width))
	}
	copy(f.row(f.n), numbers)
	f.n++
	return f.n
}

// row returns the frames of a packet in memory; nil: they are not there.
func (f *Frames) row(i int) []uint32 {
	chunk := f.chunks[i/framesInChunk]
	if chunk == nil {
		return nil
	}
	return chunk[i%framesInChunk*f.width:][:f.width]
}

// spill writes the oldest chunk in memory to the file.
func (f *Frames) spill() {
	i := f.filed
	f.filed++
	if f.file == nil && f.err == nil {
		f.file, f.err = os.CreateTemp("", "tcpwatch-frames-")
	}
	if f.err == nil {
		b := make([]byte, 0, 4*len(f.chunks[i]))
		for _, frame := range f.chunks[i] {
			b = binary.LittleEndian.AppendUint32(b, frame)
		}
		_, f.err = f.file.WriteAt(b, int64(i)*int64(len(b)))
	}
	f.chunks[i] = nil
}

// Of returns the numbers of a packet; nil: they are not known.
func (f *Frames) Of(packet int) []int {
	if packet < 1 || packet > f.n {
		return nil
	}
	row := f.row(packet - 1)
	if row == nil {
		if f.err != nil {
			return nil
		}
		b := make([]byte, 4*f.width)
		if _, err := f.file.ReadAt(b, int64(packet-1)*int64(len(b))); err != nil {
			return nil
		}
		for ; len(b) > 0; b = b[4:] {
			row = append(row, binary.LittleEndian.Uint32(b))
		}
	}
	list := make([]int, f.width)
	for i, frame := range row {
		list[i] = int(frame)
	}
	return list
}

// Close removes the file.
func (f *Frames) Close() error {
	if f.file == nil {
		return nil
	}
	err := errors.Join(f.file.Close(), os.Remove(f.file.Name()))
	f.file, f.err = nil, os.ErrClosed
	return err
}
