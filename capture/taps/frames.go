package taps

import (
	"encoding/binary"
	"errors"
	"os"
)

const (
	// framesInChunk is how many packets a chunk holds.
	framesInChunk = 1 << 14

	// maxChunks is how many chunks are kept in memory: 4 million packets, at 4 octets for
	// each tap. The others are in a temporary file.
	maxChunks = 256
)

// frames has the frames of each packet at each tap.
type frames struct {
	taps   int
	n      int
	chunks [][]uint32 // the oldest may be in the file, and nil here
	filed  int        // chunks that are in the file
	file   *os.File   // nil: none, yet
	err    error      // that writing it gave; what it should have is not known then
}

// add adds a packet, and returns its number.
func (f *frames) add(p *packet) int {
	if f.n%framesInChunk == 0 {
		if len(f.chunks)-f.filed >= maxChunks {
			f.spill()
		}
		f.chunks = append(f.chunks, make([]uint32, framesInChunk*f.taps))
	}
	copy(f.row(f.n), p.frames[:f.taps])
	f.n++
	return f.n
}

// row returns the frames of a packet in memory; nil: they are not there.
func (f *frames) row(i int) []uint32 {
	chunk := f.chunks[i/framesInChunk]
	if chunk == nil {
		return nil
	}
	return chunk[i%framesInChunk*f.taps:][:f.taps]
}

// spill writes the oldest chunk in memory to the file.
func (f *frames) spill() {
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

// of returns the frames of a packet; nil: they are not known.
func (f *frames) of(packet int) []int {
	if packet < 1 || packet > f.n {
		return nil
	}
	row := f.row(packet - 1)
	if row == nil {
		if f.err != nil {
			return nil
		}
		b := make([]byte, 4*f.taps)
		if _, err := f.file.ReadAt(b, int64(packet-1)*int64(len(b))); err != nil {
			return nil
		}
		for ; len(b) > 0; b = b[4:] {
			row = append(row, binary.LittleEndian.Uint32(b))
		}
	}
	list := make([]int, f.taps)
	for i, frame := range row {
		list[i] = int(frame)
	}
	return list
}

// close removes the file.
func (f *frames) close() error {
	if f.file == nil {
		return nil
	}
	err := errors.Join(f.file.Close(), os.Remove(f.file.Name()))
	f.file, f.err = nil, os.ErrClosed
	return err
}
