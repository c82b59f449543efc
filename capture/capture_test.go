package capture

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// open opens captures and closes them when the test is over.
func open(t testing.TB, o Options, paths ...string) *Source {
	t.Helper()
	s, err := Open(paths, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// file writes a file of the test and returns its path.
func file(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// read reads a whole capture.
func read(t testing.TB, s *Source) []tcp.Segment {
	t.Helper()
	var all []tcp.Segment
	for g, err := range s.Segments() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, *g)
	}
	return all
}

// seqs lists the sequence numbers of segments, by which tests tell them apart.
func seqs(all []tcp.Segment) string {
	var b strings.Builder
	for _, g := range all {
		fmt.Fprintf(&b, "%d:%d ", g.Packet, g.Seq)
	}
	return strings.TrimSpace(b.String())
}

// numbered is a packet that carries a segment with this sequence number.
func numbered(seq uint32) []byte {
	return inEthernet(inIPv4(tcpSegment(seq, 0x10, nil, nil)))
}

// pcap writes a capture of Ethernet packets a second apart, the first at the
// time given.
func pcap(second uint32, packets ...[]byte) []byte {
	return pcapOf(uint32(LinkEthernet), second, packets...)
}

func pcapOf(link, second uint32, packets ...[]byte) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, pcapMicro)
	b = le.AppendUint16(le.AppendUint16(b, 2), 4)
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(le.AppendUint32(b, 65535), link)
	for i, p := range packets {
		for _, v := range []int{int(second) + i, 5, len(p), len(p)} {
			b = le.AppendUint32(b, uint32(v))
		}
		b = append(b, p...)
	}
	return b
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func zstandard(b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(b, nil)
}

func TestCompressionIsToldByContent(t *testing.T) {
	b := pcap(1, numbered(1), numbered(2))
	for name, content := range map[string][]byte{
		"plain":                       b,
		"gzip":                        gzipped(b),
		"gzip-in-members":             append(gzipped(b[:50]), gzipped(b[50:])...),
		"gzip-with-something-behind":  append(gzipped(b), "something that is no gzip member"...),
		"zstd":                        zstandard(b),
		"zstd-in-frames":              append(zstandard(b[:50]), zstandard(b[50:])...),
		"zstd-behind-a-skipped-frame": append([]byte("\x50\x2a\x4d\x18\x04\x00\x00\x00skip"), zstandard(b)...),
		"pcapng-in-gzip":              gzipped(section(false).iface(LinkEthernet).packet(0, 0, numbered(1)).packet(0, 0, numbered(2)).bytes()),
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, Options{}, file(t, "capture", content))
			if got, want := seqs(read(t, s)), "1:1 2:2"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			st := s.Stats()
			if st.Truncated || st.Read != st.Size || st.Size != int64(len(content)) {
				t.Errorf("got %+v for a file of %d octets", st, len(content))
			}
		})
	}
}

func TestFilesAreOrderedByTheirFirstPackets(t *testing.T) {
	s := open(t, Options{},
		file(t, "late", pcap(300, numbered(5), numbered(6))),
		file(t, "empty", pcap(0)),
		file(t, "early", gzipped(pcap(100, numbered(1), inEthernet(inIPv4Proto(protoUDP, make([]byte, 8))), numbered(3)))),
		file(t, "between", pcap(200, numbered(4))))
	if got, want := seqs(read(t, s)), "1:1 3:3 4:4 5:5 6:6"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	st := s.Stats()
	if st.Packets != 6 || st.Segments != 5 || st.First != 100_000_005_000 || st.Last != 301_000_005_000 || st.Read != st.Size {
		t.Errorf("got %+v", st)
	}
}

func TestStandardInputIsOneOfTheFiles(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func(old *os.File) { os.Stdin = old }(os.Stdin)
	os.Stdin = r
	go func() {
		w.Write(pcap(100, numbered(1), numbered(2)))
		w.Close()
	}()
	s := open(t, Options{}, file(t, "late", pcap(200, numbered(3))), "-")
	if got, want := seqs(read(t, s)), "1:1 2:2 3:3"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if st := s.Stats(); st.Size != 0 {
		t.Errorf("the size of a pipe is not known, got %d", st.Size)
	}
}

// A readCloser tells whether it was closed, which only its owner does.
type readCloser struct {
	io.Reader
	closed bool
}

func (r *readCloser) Close() error {
	r.closed = true
	return nil
}

func TestReaderIsReadAndLeftOpen(t *testing.T) {
	broken := errors.New("the cable is out")
	capture := pcap(1, numbered(1), numbered(2))
	for _, c := range []struct {
		r    io.Reader
		want string // the sequence numbers, or how the error ends
		last string // of what Stats warns of
	}{
		{r: bytes.NewReader(capture), want: "1:1 2:2"},
		{r: bytes.NewReader(gzipped(capture)), want: "1:1 2:2"},
		{r: iotest.OneByteReader(bytes.NewReader(capture)), want: "1:1 2:2"},
		{r: bytes.NewReader(capture[:len(capture)-1]), want: "1:1", last: "a socket: cut off in mid-packet after packet 1; read up to there"},
		{r: io.MultiReader(bytes.NewReader(capture), iotest.ErrReader(broken)), want: "reading a socket: after packet 2: the cable is out"},
		{r: iotest.ErrReader(broken), want: "reading a socket: the cable is out"},
		{r: strings.NewReader(""), want: "a socket: empty, not a capture"},
	} {
		r := &readCloser{Reader: c.r}
		var all []tcp.Segment
		s, err := OpenReader("a socket", r, Options{})
		if err == nil {
			for g, e := range s.Segments() {
				if err = e; err == nil {
					all = append(all, *g)
				}
			}
			if st := s.Stats(); st.Size != 0 || c.last != strings.Join(st.Warnings, "") {
				t.Errorf("%s: got the size %d, the warnings %q", c.want, st.Size, st.Warnings)
			}
			s.Close()
		}
		got := seqs(all)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
		if r.closed {
			t.Errorf("%s: the reader was closed", c.want)
		}
	}
}

func TestLeavingTheLoopEndsIt(t *testing.T) {
	s := open(t, Options{}, file(t, "a", pcap(1, numbered(1), numbered(2))), file(t, "b", pcap(9, numbered(3))))
	for g, err := range s.Segments() {
		if err != nil || g.Seq != 1 {
			t.Fatal(g, err)
		}
		break
	}
	if st := s.Stats(); st.Packets != 1 {
		t.Errorf("got %+v", st)
	}
}

func TestWhatIsNoCaptureIsRefused(t *testing.T) {
	whole := pcap(1, numbered(1))
	dir := t.TempDir()
	version := bytes.Clone(whole)
	version[4] = 3
	for _, c := range []struct {
		name, path, want string
	}{
		{"text", file(t, "x", []byte("hello, world, how are you")), `x: not a pcap or pcapng capture (it starts with "hello, world, ho")`},
		{"short-text", file(t, "x", []byte("hi")), `x: not a pcap or pcapng capture (it starts with "hi")`},
		{"terminal-escapes-are-quoted", file(t, "x", []byte("\x1b[2J\x07")), `(it starts with "\x1b[2J\a")`},
		{"empty", file(t, "x", nil), "x: empty, not a capture"},
		{"empty-in-gzip", file(t, "x", gzipped(nil)), "x: empty, not a capture"},
		{"directory", dir, dir + ": a directory, not a capture"},
		{"missing", filepath.Join(dir, "none"), "open " + dir + "/none: no such file or directory"},
		{"half-a-pcap-header", file(t, "x", whole[:20]), "x: shorter than the header of a capture (20 octets)"},
		{"half-a-section-header", file(t, "x", section(false).bytes()[:20]), "x: shorter than the header of a capture (20 octets)"},
		{"pcap-3", file(t, "x", version), "x: pcap version 3.4 is not one tcpwatch can read"},
		{"xz", file(t, "x", []byte("\xfd7zXZ\x00 and so on")), "x: compressed by xz, which tcpwatch does not unpack: try xz -dc "},
		{"zip", file(t, "x", []byte("PK\x03\x04 and so on")), "x: a zip archive"},
		{"broken-gzip", file(t, "x", []byte("\x1f\x8b\x00\x00 and so on")), "x: corrupt gzip data: gzip: invalid header"},
		{"broken-zstd", file(t, "x", []byte("\x28\xb5\x2f\xfd\xff\xff\xff\xff")), "x: "},
		{"zstd-cut-at-once", file(t, "x", zstandard(whole)[:20]), "x: shorter than the header of a capture (0 octets)"},
		{"zstd-that-needs-much-memory", file(t, "x", []byte("\x28\xb5\x2f\xfd\x00\x98\x01\x00\x00")), "x: its zstd data needs more than 128 MiB of memory: unpack it"},
		{"gzip-in-gzip", file(t, "x", gzipped(gzipped(whole))), "x: compressed twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Open([]string{c.path}, Options{})
			if err == nil {
				s.Close()
				t.Fatalf("opened it, want %q", c.want)
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want %q", err, c.want)
			}
		})
	}
}

func TestDamageEndsReadingWithAWarning(t *testing.T) {
	whole := pcap(1, numbered(1), numbered(2))
	size := len(numbered(1))
	huge := bytes.Clone(whole)
	binary.LittleEndian.PutUint32(huge[24+16+size+8:], 0xfffffff0)
	ng := section(false).iface(LinkEthernet).packet(0, 0, numbered(1)).packet(0, 0, numbered(2)).bytes()
	oneBlock := len(section(false).iface(LinkEthernet).packet(0, 0, numbered(1)).bytes())
	blocks := zstandard(append(bytes.Clone(whole), make([]byte, 1<<20)...))
	lengths := bytes.Clone(ng)
	lengths[len(lengths)-1] ^= 0x40
	for _, c := range []struct {
		name    string
		content []byte
		want    string // the end of the warning
	}{
		{"pcap-cut-in-a-packet", whole[:len(whole)-1], "x: cut off in mid-packet after packet 1; read up to there"},
		{"pcap-cut-in-a-record-header", whole[:24+16+size+7], "x: cut off in mid-packet after packet 1; read up to there"},
		{"pcapng-cut-in-a-block", ng[:len(ng)-1], "x: cut off in mid-packet after packet 1; read up to there"},
		{"pcapng-cut-in-a-block-header", ng[:oneBlock+5], "x: cut off in mid-packet after packet 1; read up to there"},
		{"gzip-cut", gzipped(whole)[:len(gzipped(whole))-30], "read up to there"},
		{"gzip-with-a-wrong-checksum", corruptGzip(whole), "x: corrupt: its gzip data: gzip: invalid checksum after packet 2; read up to there"},
		{"zstd-cut", blocks[:len(blocks)-5], "read up to there"},
		{"pcap-record-of-4-GB", huge, "x: corrupt: a record of 4294967280 octets after packet 1; read up to there"},
		{"pcapng-block-lengths-differ", lengths, "x: corrupt: the two lengths of a block differ after packet 1; read up to there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, Options{}, file(t, "x", c.content))
			read(t, s)
			st := s.Stats()
			if !st.Truncated || len(st.Warnings) != 1 || !strings.HasSuffix(st.Warnings[0], c.want) {
				t.Errorf("got %+v, want %q", st, c.want)
			}
		})
	}
}

func corruptGzip(b []byte) []byte {
	z := gzipped(b)
	z[len(z)-8] ^= 1
	return z
}

func TestDamageInOneFileDoesNotHideTheNext(t *testing.T) {
	cut := pcap(1, numbered(1), numbered(2))
	s := open(t, Options{}, file(t, "a", cut[:len(cut)-1]), file(t, "b", pcap(9, numbered(3))))
	if got, want := seqs(read(t, s)), "1:1 2:3"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestUnknownLinkTypes(t *testing.T) {
	readErr := func(content []byte) (Stats, error) {
		s := open(t, Options{}, file(t, "x", content))
		for _, err := range s.Segments() {
			if err != nil {
				return s.Stats(), err
			}
		}
		return s.Stats(), nil
	}
	if _, err := readErr(pcapOf(147, 1, numbered(1))); err == nil || !strings.HasSuffix(err.Error(), "x: link type 147 (USER0) is not one tcpwatch can read") {
		t.Errorf("got %v", err)
	}
	if _, err := readErr(pcapOf(147, 1)); err != nil {
		t.Errorf("a capture without packets is fine, got %v", err)
	}
	mixed := section(false).iface(249).iface(LinkEthernet).packet(0, 0, numbered(1)).packet(1, 0, numbered(2)).bytes()
	if st, err := readErr(mixed); err != nil || st.Undecodable != 1 || st.Segments != 1 {
		t.Errorf("got %+v, %v", st, err)
	}
}

func TestOneSegmentIsReused(t *testing.T) {
	s := open(t, Options{}, file(t, "x", pcap(1, inEthernet(inIPv4(tcpSegment(1, 0x02, []byte{2, 4, 5, 180}, nil))), numbered(2))))
	var first *tcp.Segment
	for g := range s.Segments() {
		if first == nil {
			first = g
		} else if g != first || g.Options != (tcp.Options{}) || g.Sum != tcp.SumUnchecked {
			t.Errorf("got %+v", g)
		}
	}
}
