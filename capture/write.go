package capture

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// WriteOptions say where packets are written to. Without Size and Every all go
// to one file, Path. With them they go to a row of files, each a capture by
// itself, named after Path, their number and when their first packet was
// captured: x.pcapng becomes x_00001_20261231235959.pcapng.
type WriteOptions struct {
	Path  string
	Size  int64         // octets after which a file is full; 0: no limit
	Every time.Duration // how much time a file covers; 0: no limit
	Keep  int           // how many files are kept, the newest; 0: all
}

// Rotates reports whether there are several files.
func (o *WriteOptions) Rotates() bool { return o.Size > 0 || o.Every > 0 }

// A Writer writes what a Live captures as pcapng. The statistics at the end of a
// file say when the capture ended and how many packets were lost meanwhile, so
// that a replay tells what the live run did.
type Writer struct {
	o       WriteOptions
	file    *blockFile // nil: none yet
	devices []savedDevice
	number  int      // of the newest file of the row, from 1
	kept    []string // files of the row, the oldest first
	first   tcp.Time
	last    tcp.Time
	lost    int64 // packets, before this file

	failed error     // the first error of writing
	again  time.Time // when it is tried again after an error; zero: there was none
	left   uint64    // packets that were not written, of which no file tells yet
	told   uint64    // those of which one does
	notice func(string)
}

// tryAgain is how long nothing is written after an error. Tests do not wait.
var tryAgain = time.Second

// A savedDevice is an interface of the present file.
type savedDevice struct {
	device  int
	link    pcap.LinkType
	packets uint64
}

// CreateWriter makes the file or, where there will be a row of them, sees
// whether files can be made and taken away there.
//
// An error later on, such as a full disk, does not end the capture: the file ends
// with its last whole block, and writing goes on when there is room, in the next
// file or, without a row, in a new section of the same. The packets in between are
// counted as dropped, and Close returns the error.
func CreateWriter(o WriteOptions) (*Writer, error) {
	w := &Writer{o: o, notice: func(string) {}}
	if !o.Rotates() {
		return w, w.create(o.Path)
	}
	probe, err := os.CreateTemp(filepath.Dir(o.Path), filepath.Base(o.Path)+".*")
	if err != nil {
		return nil, err
	}
	probe.Close()
	return w, os.Remove(probe.Name())
}

// create begins a file.
func (w *Writer) create(path string) error {
	file, err := createFile(path)
	if err != nil {
		return err
	}
	w.file = &blockFile{file: file}
	return w.section()
}

// section begins a section, and with it the counts of its interfaces.
func (w *Writer) section() error {
	w.devices, w.first, w.last = w.devices[:0], 0, 0
	w.file.Section("tcpwatch")
	return w.file.flush()
}

// write writes a packet of l, with a comment unless that is empty, unless there was an error a moment ago.
func (w *Writer) write(l *Live, r *pcap.Record, comment string) {
	if !w.again.IsZero() {
		if time.Now().Before(w.again) {
			w.left++
			return
		}
		w.again = time.Time{}
		if w.failing(w.resume(l, r.Time)); !w.again.IsZero() {
			w.left++
			return
		}
		w.notice(fmt.Sprintf("-w: writing again; %d packets were not written so far", w.told+w.left))
	}
	w.failing(w.add(l, r, comment))
}

// resume goes on after an error.
func (w *Writer) resume(l *Live, t tcp.Time) error {
	if w.o.Rotates() || w.file == nil {
		return w.next(l, t)
	}
	return w.section()
}

// next ends the file, if there is one, and begins the next.
func (w *Writer) next(l *Live, t tcp.Time) error {
	if err := w.end(l, w.last); err != nil {
		return err
	}
	return w.createNext(t)
}

// failing takes in an error: what waits is lost, and nothing is written for a while.
func (w *Writer) failing(err error) {
	if err == nil {
		return
	}
	if w.file != nil {
		w.left, w.file.lost = w.left+w.file.lost, 0
	}
	w.again = time.Now().Add(tryAgain)
	if w.failed == nil {
		w.failed = err
		w.notice(fmt.Sprintf("-w: %v; packets are not written until there is room", err))
	}
}

// add writes a packet.
func (w *Writer) add(l *Live, r *pcap.Record, comment string) error {
	if w.file == nil || w.o.Rotates() && w.full(r) {
		if err := w.next(l, r.Time); err != nil {
			w.left++
			return err
		}
	}
	if w.first == 0 {
		w.first = r.Time
	}
	w.last = max(w.last, r.Time)
	i := w.interfaceOf(l, r)
	w.devices[i].packets++
	w.file.Packet(i, r, comment)
	return w.file.flushLarge()
}

// full reports whether the file has no room for a packet more.
func (w *Writer) full(r *pcap.Record) bool {
	return w.o.Size > 0 && w.first != 0 && w.file.size()+int64(len(r.Data)+pcap.PacketOverhead) > w.o.Size ||
		w.o.Every > 0 && w.first != 0 && r.Time.Sub(w.first) >= w.o.Every
}

// createNext begins the next file of the row. One that cannot be begun is taken away.
func (w *Writer) createNext(t tcp.Time) error {
	if w.o.Keep > 0 && len(w.kept) >= w.o.Keep {
		if err := os.Remove(w.kept[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		w.kept = w.kept[1:]
	}
	ext := filepath.Ext(w.o.Path)
	path := fmt.Sprintf("%s_%05d_%s%s", strings.TrimSuffix(w.o.Path, ext), w.number+1, t.Std().UTC().Format("20060102150405"), ext)
	if err := w.create(path); err != nil {
		if w.file != nil {
			err = errors.Join(err, w.file.close(), os.Remove(path))
			w.file = nil
		}
		return err
	}
	w.number++
	w.kept = append(w.kept, path)
	return nil
}

// interfaceOf returns the number that the interface of a packet has in the file,
// and describes it there when it is new.
func (w *Writer) interfaceOf(l *Live, r *pcap.Record) int {
	for i := range w.devices {
		if w.devices[i].device == r.Device && w.devices[i].link == r.Link {
			return i
		}
	}
	w.devices = append(w.devices, savedDevice{device: r.Device, link: r.Link})
	w.file.Interface(l.tap.Device(r.Device), r.Link, l.options.Snap)
	return len(w.devices) - 1
}

// flush writes what waits.
func (w *Writer) flush() {
	if w.file != nil && w.again.IsZero() {
		w.failing(w.file.flush())
	}
}

// close ends the file: the capture ended at that time. The error is the first that
// there was.
func (w *Writer) close(l *Live, ended tcp.Time) error {
	w.notice = func(string) {} // the error says it
	w.failing(w.end(l, ended))
	if w.failed == nil {
		return nil
	}
	return fmt.Errorf("-w: %w; %d packets were not written", w.failed, w.told+w.left)
}

// end ends the file.
func (w *Writer) end(l *Live, ended tcp.Time) error {
	if w.file == nil {
		return nil
	}
	lost := l.tap.Drops() + int64(w.left)
	for i, d := range w.devices {
		dropped := int64(-1)
		if i == 0 { // which of them lost packets is not known
			dropped = lost - w.lost
		}
		w.file.Statistics(i, ended, d.packets, dropped)
	}
	err := w.file.close()
	if err == nil && len(w.devices) > 0 { // the file tells of them
		w.lost, w.told, w.left = l.tap.Drops(), w.told+w.left, 0
	}
	w.left += w.file.lost
	w.file = nil
	return err
}
