package pcap

// Captures for tests.

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// open begins to read a capture, which errors call x.
func open(t testing.TB, b []byte) *Reader {
	t.Helper()
	in, err := NewReader(bytes.NewReader(b), "x", "x")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Close)
	return in
}

// read reads a capture up to its end, or to where it is damaged.
func read(t testing.TB, in *Reader) (all []Record, damage string) {
	t.Helper()
	for {
		var r Record
		err := in.Next(&r)
		var d *Damage
		switch {
		case err == io.EOF:
			return all, ""
		case errors.As(err, &d):
			return all, d.Error()
		case err != nil:
			t.Fatal(err)
		}
		r.Data = bytes.Clone(r.Data)
		all = append(all, r)
	}
}

// whole reads a capture that is sound.
func whole(t testing.TB, b []byte) []Record {
	t.Helper()
	all, damage := read(t, open(t, b))
	if damage != "" {
		t.Fatal(damage)
	}
	return all
}

// texts lists what packets hold.
func texts(all []Record) string {
	var b []string
	for _, r := range all {
		b = append(b, string(r.Data))
	}
	return strings.Join(b, " ")
}

// classic writes a pcap file of Ethernet packets a second apart, the first one
// five microseconds after second 1.
func classic(packets ...string) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, pcapMicro)
	b = le.AppendUint16(le.AppendUint16(b, 2), 4)
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(le.AppendUint32(b, 65535), uint32(LinkEthernet))
	for i, p := range packets {
		for _, v := range []int{1 + i, 5, len(p), len(p)} {
			b = le.AppendUint32(b, uint32(v))
		}
		b = append(b, p...)
	}
	return b
}

// packed has a library compress b.
func packed[W io.WriteCloser](b []byte, to func(io.Writer) W) []byte {
	var out bytes.Buffer
	w := to(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func gzipped(b []byte) []byte { return packed(b, gzip.NewWriter) }

func zstandard(b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(b, nil)
}

// An ngFile is a pcapng file that is being written.
type ngFile struct {
	order interface {
		binary.ByteOrder
		binary.AppendByteOrder
	}
	b []byte
}

// section begins a pcapng file.
func section(big bool) *ngFile {
	return new(ngFile).section(big)
}

// section begins another section.
func (f *ngFile) section(big bool) *ngFile {
	f.order = binary.LittleEndian
	if big {
		f.order = binary.BigEndian
	}
	return f.block(blockSection, f.numbers(uint32(byteOrderMagic), uint16(1), uint16(0), ^uint64(0)))
}

// numbers puts numbers into the byte order of the section.
func (f *ngFile) numbers(values ...any) []byte {
	var b []byte
	for _, v := range values {
		switch v := v.(type) {
		case uint16:
			b = f.order.AppendUint16(b, v)
		case uint32:
			b = f.order.AppendUint32(b, v)
		case uint64:
			b = f.order.AppendUint64(b, v)
		case []byte:
			b = append(b, v...)
		default:
			panic("pcap: no width for this value")
		}
	}
	return b
}

func (f *ngFile) block(kind uint32, body []byte) *ngFile {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	length := uint32(len(body) + blockOverhead)
	f.b = append(f.b, f.numbers(kind, length, body, length)...)
	return f
}

// iface describes an interface, with options as option makes them.
func (f *ngFile) iface(link LinkType, options ...[]byte) *ngFile {
	return f.ifaceSnapped(link, 0, options...)
}

func (f *ngFile) ifaceSnapped(link LinkType, snap uint32, options ...[]byte) *ngFile {
	body := f.numbers(uint16(link), uint16(0), snap)
	for _, o := range options {
		body = append(body, o...)
	}
	return f.block(blockInterface, body)
}

func (f *ngFile) option(code uint16, value []byte) []byte {
	b := f.numbers(code, uint16(len(value)), value)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// packet is an enhanced packet block.
func (f *ngFile) packet(number uint32, ticks uint64, p string) *ngFile {
	n := uint32(len(p))
	return f.block(blockPacket, f.numbers(number, uint32(ticks>>32), uint32(ticks), n, n, []byte(p)))
}

func (f *ngFile) bytes() []byte { return f.b }
