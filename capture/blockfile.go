package capture

import (
	"errors"
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
	file        *os.File
	whole       int64 // octets in the file
}

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

// flush writes what waits. If it cannot be written whole, what was is taken
// back.
func (f *blockFile) flush() error {
	b := f.Bytes()
	if len(b) == 0 {
		return nil
	}
	f.Reset()
	if _, err := f.file.Write(b); err != nil {
		return errors.Join(err, f.file.Truncate(f.whole))
	}
	f.whole += int64(len(b))
	return nil
}

// close writes what waits, and closes the file.
func (f *blockFile) close() error { return errors.Join(f.flush(), f.file.Close()) }
