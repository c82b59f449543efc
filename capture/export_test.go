package capture

import (
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Serial is Segments on one core.
func (s *Source) Serial() iter.Seq2[*tcp.Segment, error] { return s.readAll() }

// Ahead is Segments on two.
func (s *Source) Ahead() iter.Seq2[*tcp.Segment, error] { return s.readAhead() }

// OpenFiles counts the files that are open.
func (s *Source) OpenFiles() (n int) {
	for _, in := range s.inputs {
		if in.file != nil {
			n++
		}
	}
	return n
}

// BatchSize is how many segments are handed over at once.
const BatchSize = batchSize

// TryAgain has a Writer try again after some time, until the returned function is
// called.
func TryAgain(after time.Duration) (restore func()) {
	before := tryAgain
	tryAgain = after
	return func() { tryAgain = before }
}

// Disk has the files of Writers on a disk of some size, on which nothing else is than
// the files in a folder, until the returned function is called.
func Disk(dir string, size int64) (restore func()) {
	full := true
	createFile = func(path string) (diskFile, error) {
		f, err := os.Create(path)
		return &onDisk{f, dir, size, &full}, err
	}
	return func() {
		full = false
		createFile = func(path string) (diskFile, error) { return os.Create(path) }
	}
}

type onDisk struct {
	*os.File
	dir  string
	size int64
	full *bool
}

func (f *onDisk) Write(b []byte) (int, error) {
	room := f.size
	filepath.WalkDir(f.dir, func(_ string, d fs.DirEntry, _ error) error {
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			room -= info.Size()
		}
		return nil
	})
	if !*f.full || room >= int64(len(b)) {
		return f.File.Write(b)
	}
	n, _ := f.File.Write(b[:max(room, 0)])
	return n, &fs.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
}
