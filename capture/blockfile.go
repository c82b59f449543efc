package capture

import (
	"errors"
	"io"
	"os"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
)

// writeAt is how many octets are collected before they are written. Blocks are
// written whole, so that a file that another program reads, or that a kill
// leaves behind, is not cut off in mid-packet.
const writeAt = 256 << 10

// A blockFile is a pcapng file that is written.
type blockFile struct {
	pcap.Blocks // that are not written yet
	file        diskFile
	whole       int64  // octets in the file
	lost        uint64 // packets that could not be written
}

// A diskFile is what is needed of an [os.File].
type diskFile interface {
	io.WriteSeeker
	io.Closer
	Truncate(size int64) error
	Stat() (os.FileInfo, error)
}

// createFile makes a file. Tests have a disk of their own.
var createFile = func(path string) (diskFile, error) { return os.Create(path) }

// size is what the file will have.
func (f *blockFile) size() int64 { return f.whole + int64(len(f.Bytes())) }

// regular reports whether it is a file on a disk.
func (f *blockFile) regular() bool {
	info, err := f.file.Stat()
	return err == nil && info.Mode().IsRegular()
}

// flushLarge writes what waits if that is much.
func (f *blockFile) flushLarge() error {
	if len(f.Bytes()) < writeAt {
		return nil
	}
	return f.flush()
}

// flush writes what waits. If it cannot be written whole, the file ends with the
// last block that was, and the packets in the others are lost.
func (f *blockFile) flush() error {
	b := f.Bytes()
	if len(b) == 0 {
		return nil
	}
	n, err := f.file.Write(b)
	if err == nil {
		f.Reset()
		f.whole += int64(len(b))
		return nil
	}
	whole, lost := f.Cut(n)
	f.Reset()
	f.whole += int64(whole)
	f.lost += lost
	if !f.regular() {
		return err
	}
	_, seekErr := f.file.Seek(f.whole, io.SeekStart)
	return errors.Join(err, f.file.Truncate(f.whole), seekErr)
}

// close writes what waits, and closes the file.
func (f *blockFile) close() error { return errors.Join(f.flush(), f.file.Close()) }
