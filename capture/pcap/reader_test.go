package pcap

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pierrec/lz4/v4"
)

// bzipped is classic("one", "two"), compressed by bzip2: the library only reads it.
// What no library here writes is written by the programs: the capture of "one" and "two".
var (
	bzipped  = unhex("425a6839314159265359195aeb3500001bc19efe000201848020001000080004000000a000314c0013412a3d2680d1a5938e2776250035694c42035b5158efa6fcf7c5dc914e14240656bacd40")
	xzipped  = unhex("fd377a585a000004e6d6b4460200210116000000742fe5a3e0003d00225d006a30d1c87d8bf8099bad944b8af2fffacbb2e6f84eecc57b11141d7f10906f82ff0000000078e1d35b75ab08e200013e3efdb322a01fb6f37d010000000004595a")
	xzSHA256 = unhex("fd377a585a00000ae1fb0ca10200210116000000742fe5a3e0003d00225d006a30d1c87d8bf8099bad944b8af2fffacbb2e6f84eecc57b11141d7f10906f82ff000000006459edbaa8d703861365b16cf2e85b4fc9148f7ebd92c590987ac77e86c8d6060001563e5252060d189b4b9a01000000000a595a")
	xzHuge   = unhex("fd377a585a000004e6d6b446020021011e0000009b075166e0003d00225d006a30d1c87d8bf8099bad944b8af2fffacbb2e6f84eecc57b11141d7f10906f82ff0000000078e1d35b75ab08e200013e3efdb322a01fb6f37d010000000004595a") // with a dictionary of 128 MiB
)

func unhex(text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return b
}

func lz4ed(b []byte) []byte { return packed(b, lz4.NewWriter) }

func TestCompressionIsToldByContent(t *testing.T) {
	b := classic("one", "two")
	for name, content := range map[string][]byte{
		"plain":                       b,
		"gzip":                        gzipped(b),
		"gzip-in-members":             append(gzipped(b[:50]), gzipped(b[50:])...),
		"gzip-with-something-behind":  append(gzipped(b), "something that is no gzip member"...),
		"zstd":                        zstandard(b),
		"zstd-in-frames":              append(zstandard(b[:50]), zstandard(b[50:])...),
		"zstd-behind-a-skipped-frame": append([]byte("\x50\x2a\x4d\x18\x04\x00\x00\x00skip"), zstandard(b)...),
		"bzip2":                       bzipped,
		"xz":                          xzipped,
		"xz-with-sha256":              xzSHA256,
		"lz4":                         lz4ed(b),
		"lz4-in-frames":               append(lz4ed(b[:50]), lz4ed(b[50:])...),
		"pcapng-in-gzip":              gzipped(section(false).iface(LinkEthernet).packet(0, 0, "one").packet(0, 0, "two").bytes()),
	} {
		t.Run(name, func(t *testing.T) {
			in := open(t, content)
			all, damage := read(t, in)
			if got, want := texts(all), "one two"; got != want || damage != "" {
				t.Errorf("got %s, %s, want %s", got, damage, want)
			}
			if got := in.Position(); got != int64(len(content)) {
				t.Errorf("read %d octets of %d", got, len(content))
			}
		})
	}
}

func TestWhatIsNoCaptureIsRefused(t *testing.T) {
	whole := classic("one")
	version := bytes.Clone(whole)
	version[4] = 3
	for _, c := range []struct {
		name    string
		content []byte
		want    string
	}{
		{"text", []byte("hello, world, how are you"), `x: not a pcap or pcapng capture (it starts with "hell")`},
		{"short-text", []byte("hi"), `x: not a pcap or pcapng capture (it starts with "hi")`},
		{"terminal-escapes-are-quoted", []byte("\x1b[2J\x07"), `(it starts with "\x1b[2J")`},
		{"empty", nil, "x: empty, not a capture"},
		{"empty-in-gzip", gzipped(nil), "x: empty, not a capture"},
		{"half-a-pcap-header", whole[:20], "x: shorter than a capture header (20 bytes)"},
		{"half-a-section-header", section(false).bytes()[:20], "x: shorter than a capture header (20 bytes)"},
		{"pcap-3", version, "x: pcap version 3.4 is not supported"},
		{"section-of-no-byte-order", section(false).block(0, nil).bytes()[8:], "x: not a pcap or pcapng capture"},
		{"broken-xz", []byte("\xfd7zXZ\x00 and so on"), "x: corrupt xz data: xz: "},
		{"xz-cut-at-once", xzipped[:20], "x: shorter than a capture header (0 bytes)"},
		{"xz-that-needs-much-memory", xzHuge, "x: its xz data needs more than 64 MiB of memory; decompress it with xz -dc"},
		{"xz-in-gzip", gzipped(xzipped), "x: compressed twice"},
		{"zip", []byte("PK\x03\x04 and so on"), "x: a zip archive"},
		{"broken-gzip", []byte("\x1f\x8b\x00\x00 and so on"), "x: corrupt gzip data: gzip: invalid header"},
		{"broken-zstd", []byte("\x28\xb5\x2f\xfd\xff\xff\xff\xff"), "x: "},
		{"zstd-cut-at-once", zstandard(whole)[:20], "x: shorter than a capture header (0 bytes)"},
		{"zstd-that-needs-much-memory", []byte("\x28\xb5\x2f\xfd\x00\x98\x01\x00\x00"), "x: its zstd data needs more than 128 MiB of memory; decompress it"},
		{"bzip2-cut-at-once", bzipped[:20], "x: shorter than a capture header (0 bytes)"},
		{"broken-lz4", []byte("\x04\x22\x4d\x18\xff\xff\xff\xff"), "x: "},
		{"tar", append(make([]byte, 257), "ustar\x0000 and so on"...), "x: a tar archive; name a capture in it: tar -xOf a/x NAME | tcpwatch ... -"},
		{"tar-in-gzip", gzipped(append(make([]byte, 257), "ustar\x0000 and so on"...)), "x: a tar archive"},
		{"snoop-3", []byte("snoop\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x04"), "x: snoop version 3 is not supported"},
		{"snoop-of-another-link", []byte("snoop\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x07"), "x: link type 7 of snoop is not supported"},
		{"snoop-cut-at-once", []byte("snoop\x00\x00\x00\x00"), "x: shorter than a capture header (9 bytes)"},
		{"one-erf-header-and-no-more", erf(1, "one")[:16], "x: not a pcap or pcapng capture"},
		{"gzip-in-gzip", gzipped(gzipped(whole)), "x: compressed twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewReader(bytes.NewReader(c.content), "x", "a/x")
			if err == nil {
				t.Fatalf("it is read, want %q", c.want)
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want %q", err, c.want)
			}
		})
	}
}

func TestDamageEndsReading(t *testing.T) {
	whole := classic("one", "two")
	const header, size = 24, len("one")
	huge := bytes.Clone(whole)
	binary.LittleEndian.PutUint32(huge[header+16+size+8:], 0xfffffff0)
	ng := section(false).iface(LinkEthernet).packet(0, 0, "one").packet(0, 0, "two").bytes()
	oneBlock := len(section(false).iface(LinkEthernet).packet(0, 0, "one").bytes())
	blocks := zstandard(append(bytes.Clone(whole), make([]byte, 1<<20)...)) // of empty packets
	lengths := bytes.Clone(ng)
	lengths[len(lengths)-1] ^= 0x40
	checksum := gzipped(whole)
	checksum[len(checksum)-8] ^= 1
	xzChecksum := bytes.Clone(xzipped)
	xzChecksum[len(xzChecksum)-30] ^= 1 // before the index and the end
	for _, c := range []struct {
		name    string
		content []byte
		texts   string
		want    string
	}{
		{"pcap-cut-in-a-packet", whole[:len(whole)-1], "one", "cut off mid-packet"},
		{"pcap-cut-in-a-record-header", whole[:header+16+size+7], "one", "cut off mid-packet"},
		{"pcapng-cut-in-a-block", ng[:len(ng)-1], "one", "cut off mid-packet"},
		{"pcapng-cut-in-a-block-header", ng[:oneBlock+5], "one", "cut off mid-packet"},
		{"gzip-cut", gzipped(whole)[:len(gzipped(whole))-10], "one two", "cut off mid-packet"},
		{"gzip-with-a-wrong-checksum", checksum, "one two", "corrupt: its gzip data: gzip: invalid checksum"},
		{"xz-of-a-wrong-checksum", xzChecksum, "one two", "corrupt: its xz data: xz: data is corrupt"},
		{"xz-cut", xzipped[:len(xzipped)-3], "one two", "cut off mid-packet"},
		{"zstd-cut", blocks[:len(blocks)-5], "one two", "cut off mid-packet"},
		{"pcap-record-of-4-GB", huge, "one", "corrupt: a record of 4294967280 bytes"},
		{"pcapng-block-lengths-differ", lengths, "one", "corrupt: the two lengths of a block differ"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, damage := read(t, open(t, c.content))
			if got := strings.TrimSpace(texts(all)); got != c.texts || damage != c.want {
				t.Errorf("got %s, %q, want %s, %q", got, damage, c.texts, c.want)
			}
		})
	}
}

// An error of what is read is no damage.
func TestErrorsAreHandedOn(t *testing.T) {
	broken := errors.New("the cable is out")
	for name, b := range map[string][]byte{"plain": classic("one"), "gzip": gzipped(classic("one"))[:30], "xz": xzipped[:30], "zstd": zstandard(classic(strings.Repeat("one", 1000)))[:30]} {
		var r Record
		in, err := NewReader(io.MultiReader(bytes.NewReader(b), iotest.ErrReader(broken)), "x", "x")
		for err == nil {
			err = in.Next(&r)
		}
		var d *Damage
		if !errors.Is(err, broken) || errors.As(err, &d) {
			t.Errorf("%s: got %v, want %v", name, err, broken)
		}
	}
}

func TestUnreadGivesARecordBack(t *testing.T) {
	in := open(t, classic("one", "two"))
	var r Record
	if err := in.Next(&r); err != nil {
		t.Fatal(err)
	}
	in.Unread(r)
	if all, _ := read(t, in); texts(all) != "one two" {
		t.Errorf("got %s, want one two", texts(all))
	}
}
