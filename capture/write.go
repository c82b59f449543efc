package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

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

// writeAt is how many octets are collected before they are written. Blocks are
// written whole, so that a file that another program reads, or that a kill
// leaves behind, is not cut off in mid-packet.
const writeAt = 256 << 10

// A Writer writes what a Live captures as pcapng. The statistics at the end of a
// file say when the capture ended and how many packets were lost meanwhile, so
// that a replay tells what the live run did.
type Writer struct {
	o       WriteOptions
	file    *os.File // nil: none yet
	whole   int64    // octets in the file
	blocks  blocks   // that are not written yet
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
	link    LinkType
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
func (w *Writer) create(path string) (err error) {
	if w.file, err = os.Create(path); err != nil {
		return err
	}
	w.whole, w.devices, w.first, w.last = 0, w.devices[:0], 0, 0
	b := &w.blocks
	b.begin(blockSection)
	b.u32(byteOrderMagic)
	b.u32(1) // version 1.0
	b.u32(math.MaxUint32)
	b.u32(math.MaxUint32) // the length of the section, which nobody knows
	b.option(optApplication, []byte("tcpwatch"))
	b.option(optEnd, nil)
	b.end()
	return w.flush()
}

// write writes a packet of l.
func (w *Writer) write(l *Live, r *record) error {
	if w.file != nil && w.o.rotates() && w.full(r) {
		if err := w.close(l, w.last); err != nil {
			return err
		}
	}
	if w.file == nil {
		if err := w.createNext(r.time); err != nil {
			return err
		}
	}
	if w.first == 0 {
		w.first = r.time
	}
	w.last = max(w.last, r.time)
	i := w.interfaceOf(l, r)
	w.devices[i].packets++
	b := &w.blocks
	b.begin(blockPacket)
	b.u32(uint32(i))
	b.time(r.time)
	b.u32(uint32(len(r.data)))
	b.u32(uint32(r.wire))
	b.octets(r.data)
	b.end()
	if len(b.buf) >= writeAt {
		return w.flush()
	}
	return nil
}

// full reports whether the file has no room for a packet more.
func (w *Writer) full(r *record) bool {
	return w.o.Size > 0 && w.first != 0 && w.whole+int64(len(w.blocks.buf)+len(r.data)+packetOverhead) > w.o.Size ||
		w.o.Every > 0 && w.first != 0 && r.time.Sub(w.first) >= w.o.Every
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
func (w *Writer) interfaceOf(l *Live, r *record) int {
	for i := range w.devices {
		if w.devices[i].device == r.device && w.devices[i].link == r.link {
			return i
		}
	}
	w.devices = append(w.devices, savedDevice{device: r.device, link: r.link})
	b := &w.blocks
	b.begin(blockInterface)
	b.u32(uint32(r.link)) // and two octets that are reserved
	b.u32(uint32(l.options.Snap))
	b.option(optName, []byte(l.tap.device(r.device)))
	b.option(optTimeUnit, []byte{9})
	b.option(optEnd, nil)
	b.end()
	return len(w.devices) - 1
}

// flush writes what waits. If it cannot be written whole, what was is taken
// back.
func (w *Writer) flush() error {
	if len(w.blocks.buf) == 0 || w.file == nil {
		return nil
	}
	if _, err := w.file.Write(w.blocks.buf); err != nil {
		w.blocks.buf = w.blocks.buf[:0]
		return errors.Join(err, w.file.Truncate(w.whole))
	}
	w.whole += int64(len(w.blocks.buf))
	w.blocks.buf = w.blocks.buf[:0]
	return nil
}

// close ends the file: the capture ended at that time.
func (w *Writer) close(l *Live, ended tcp.Time) error {
	if w.file == nil {
		return nil
	}
	lost := l.tap.drops()
	b := &w.blocks
	for i, d := range w.devices {
		b.begin(blockStatistics)
		b.u32(uint32(i))
		b.time(ended)
		b.longOption(optEnded, uint64(ended)>>32|uint64(ended)<<32) // the high half comes first
		b.longOption(optReceived, d.packets)
		if i == 0 { // which of them lost packets is not known
			b.longOption(optDroppedOS, uint64(lost-w.lost))
		}
		b.option(optEnd, nil)
		b.end()
	}
	w.lost = lost
	err := errors.Join(w.flush(), w.file.Close())
	w.file = nil
	return err
}

// blocks makes pcapng blocks, in this order of octets: least first.
type blocks struct {
	buf   []byte
	start int // of the block that is being made
}

// packetOverhead is what a packet block has beside the packet, at most.
const packetOverhead = blockOverhead + 20 + 3

func (b *blocks) begin(kind uint32) {
	b.start = len(b.buf)
	b.u32(kind)
	b.u32(0)
}

// end puts the length of the block before and behind it.
func (b *blocks) end() {
	length := uint32(len(b.buf) - b.start + 4)
	b.u32(length)
	binary.LittleEndian.PutUint32(b.buf[b.start+4:], length)
}

func (b *blocks) u32(v uint32) { b.buf = binary.LittleEndian.AppendUint32(b.buf, v) }

// time appends a time in nanoseconds, its high half first.
func (b *blocks) time(t tcp.Time) {
	b.u32(uint32(uint64(t) >> 32))
	b.u32(uint32(t))
}

// octets appends octets, and zeros up to the next multiple of four.
func (b *blocks) octets(data []byte) {
	b.buf = append(b.buf, data...)
	for n := len(data); n%4 != 0; n++ {
		b.buf = append(b.buf, 0)
	}
}

func (b *blocks) option(code uint16, value []byte) {
	b.u32(uint32(code) | uint32(len(value))<<16)
	b.octets(value)
}

func (b *blocks) longOption(code uint16, v uint64) {
	b.option(code, binary.LittleEndian.AppendUint64(nil, v))
}
