// Package scratch keeps what is written only when all is known: in memory, and beyond
// that in temporary files.
package scratch

import (
	"errors"
	"io/fs"
	"os"
)

// A File is a temporary file that grows. It is made when it is first written to, and is
// gone when the program ends. The zero File is empty.
type File struct {
	file *os.File
	size int64
}

// Append writes octets behind the others and returns where they are.
func (f *File) Append(b []byte) (at int64, err error) {
	if f.file == nil {
		if f.file, err = os.CreateTemp("", "tcpwatch-*"); err != nil {
			return 0, err
		}
		_ = os.Remove(f.file.Name()) // where that is possible while it is open
	}
	if _, err = f.file.WriteAt(b, f.size); err != nil {
		return 0, err
	}
	at = f.size
	f.size += int64(len(b))
	return at, nil
}

// Size is how many octets it has.
func (f *File) Size() int64 { return f.size }

// ReadAt reads octets from where Append has put them.
func (f *File) ReadAt(b []byte, at int64) (int, error) { return f.file.ReadAt(b, at) }

// Close takes the file away.
func (f *File) Close() error {
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	if removed := os.Remove(f.file.Name()); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
		err = errors.Join(err, removed)
	}
	*f = File{}
	return err
}
