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

// rotates reports whether there are several files.
func (o *WriteOptions) rotates() bool { return o.Size > 0 || o.Every > 0 }

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
}

// A savedDevice is an interface of the present file.
type savedDevice struct {
	device  int
	link    pcap.LinkType
	packets uint64
}

// CreateWriter makes the file or, where there will be a row of them, sees
// whether files can be made and taken away there.
func CreateWriter(o WriteOptions) (*Writer, error) {
	w := &Writer{o: o}
	if !o.rotates() {
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
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	w.file, w.devices, w.first, w.last = &blockFile{file: file}, w.devices[:0], 0, 0
	w.file.Section("tcpwatch")
	return w.file.flush()
}

// write writes a packet of l.
func (w *Writer) write(l *Live, r *pcap.Record) error {
	if w.file != nil && w.o.rotates() && w.full(r) {
		if err := w.close(l, w.last); err != nil {
			return err
		}
	}
	if w.file == nil {
		if err := w.createNext(r.Time); err != nil {
			return err
		}
	}
	if w.first == 0 {
		w.first = r.Time
	}
	w.last = max(w.last, r.Time)
	i := w.interfaceOf(l, r)
	w.devices[i].packets++
	w.file.Packet(i, r)
	return w.file.flushLarge()
}

// full reports whether the file has no room for a packet more.
func (w *Writer) full(r *pcap.Record) bool {
	return w.o.Size > 0 && w.first != 0 && w.file.size()+int64(len(r.Data)+pcap.PacketOverhead) > w.o.Size ||
		w.o.Every > 0 && w.first != 0 && r.Time.Sub(w.first) >= w.o.Every
}

// createNext begins the next file of the row.
func (w *Writer) createNext(t tcp.Time) error {
	if w.o.Keep > 0 && len(w.kept) >= w.o.Keep {
		if err := os.Remove(w.kept[0]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		w.kept = w.kept[1:]
	}
	w.number++
	ext := filepath.Ext(w.o.Path)
	path := fmt.Sprintf("%s_%05d_%s%s", strings.TrimSuffix(w.o.Path, ext), w.number, t.Std().UTC().Format("20060102150405"), ext)
	w.kept = append(w.kept, path)
	return w.create(path)
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
func (w *Writer) flush() error {
	if w.file == nil {
		return nil
	}
	return w.file.flush()
}

// close ends the file: the capture ended at that time.
func (w *Writer) close(l *Live, ended tcp.Time) error {
	if w.file == nil {
		return nil
	}
	lost := l.tap.Drops()
	for i, d := range w.devices {
		dropped := int64(-1)
		if i == 0 { // which of them lost packets is not known
			dropped = lost - w.lost
		}
		w.file.Statistics(i, ended, d.packets, dropped)
	}
	w.lost = lost
	err := w.file.close()
	w.file = nil
	return err
}
