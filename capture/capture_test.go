package capture

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
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
func numbered(seq uint32) []byte { return carrying(tcp.Segment{Seq: tcp.Seq(seq), Flags: tcp.ACK}) }

// carrying is an IP packet that carries a segment.
func carrying(s tcp.Segment) []byte {
	s.Src, s.Dst = netip.MustParseAddrPort("10.0.0.1:1000"), netip.MustParseAddrPort("10.0.0.2:2000")
	return pktgen.Append(nil, &s)
}

// NotTCP is an IP packet that carries something else.
func notTCP() []byte {
	b := numbered(0)
	b[9] = 17
	return b
}

// classic writes a pcap file of IP packets a second apart, the first at the time
// given.
func classic(second int, packets ...[]byte) []byte {
	return classicOf(pcap.LinkRaw, second, packets...)
}

func classicOf(link pcap.LinkType, second int, packets ...[]byte) []byte {
	var b bytes.Buffer
	w, err := pktgen.NewPcap(&b, link, 1<<16)
	for i, p := range packets {
		err = errors.Join(err, w.Write(tcp.Time(second+i)*1e9+5000, p))
	}
	if err != nil {
		panic(err)
	}
	return b.Bytes()
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func TestFilesAreOrderedByTheirFirstPackets(t *testing.T) {
	s := open(t, Options{},
		file(t, "late", classic(300, numbered(5), numbered(6))),
		file(t, "empty", classic(0)),
		file(t, "early", gzipped(classic(100, numbered(1), notTCP(), numbered(3)))),
		file(t, "between", classic(200, numbered(4))))
	if got, want := seqs(read(t, s)), "1:1 3:3 4:4 5:5 6:6"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	st := s.Stats()
	if st.Packets != 6 || st.Segments != 5 || st.First != 100_000_005_000 || st.Last != 301_000_005_000 || st.Read != st.Size {
		t.Errorf("got %+v", st)
	}
}

// at joins captures of one packet each, by the seconds of these: the packets are
// numbered in their order.
func at(seconds ...int) []byte {
	var all []byte
	for i, second := range seconds {
		one := classic(second, numbered(uint32(i+1)))
		if i > 0 {
			one = one[24:] // without the header of the file
		}
		all = append(all, one...)
	}
	return all
}

// Packets with wrong stamps are put where they belong, and warned of. A file whose
// first one is such is read in its turn; what a pipe brings is not kept back.
func TestWrongStampsAreToldOf(t *testing.T) {
	future := at(2_000_000_000, 100, 101, 102)
	for _, c := range []struct {
		name  string
		files []string
		want  string
		times string
		last  tcp.Time
		n     int
		warn  string
	}{
		{"one", []string{file(t, "x", at(100, 101, 3701, 102))}, "1:1 2:2 3:3 4:4", "100 101 101 102", 102, 1,
			"x: the timestamp of packet 3 is 1h0m0s ahead of its neighbours'; tcpwatch uses their time instead"},
		{"several", []string{file(t, "x", at(4000, 4001, 401, 4002, 9000, 4003))}, "1:1 2:2 3:3 4:4 5:5 6:6", "4000 4001 4001 4002 4002 4003", 4003, 2,
			"x: the timestamp of packet 3 (the first of 2 such packets) is 1h0m0s behind its neighbours'; tcpwatch uses their time instead"},
		{"first", []string{file(t, "b", at(200, 201)), file(t, "a", future)}, "1:1 2:2 3:3 4:4 5:1 6:2", "100 100 101 102 200 201", 201, 1,
			"a: the timestamp of packet 1 is"},
		{"second-file", []string{file(t, "a", at(100, 101)), file(t, "b", at(200, 201, 202, 9000, 203))}, "1:1 2:2 3:1 4:2 5:3 6:4 7:5", "100 101 200 201 202 202 203", 203, 1,
			"b: the timestamp of packet 6 is 2h26m38s ahead"},
		{"none", []string{file(t, "x", at(100, 101, 4000, 4001))}, "1:1 2:2 3:3 4:4", "100 101 4000 4001", 4001, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, Options{}, c.files...)
			all := read(t, s)
			var times []int
			for _, g := range all {
				times = append(times, int(g.Time/1e9))
			}
			if got := seqs(all); got != c.want || fmt.Sprint(times) != "["+c.times+"]" {
				t.Errorf("got %s of %v, want %s of [%s]", got, times, c.want, c.times)
			}
			st := s.Stats()
			if st.Misdated != c.n || st.Last/1e9 != c.last || len(st.Warnings) != min(c.n, 1) || !strings.Contains(strings.Join(st.Warnings, ""), c.warn) {
				t.Errorf("got %+v, want %d wrong, %q", st, c.n, c.warn)
			}
		})
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	w.Write(at(100, 101, 3701))
	s, err := OpenReader("x", r, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for g := range s.Segments() {
		if g.Packet == 3 {
			break // it did not wait for the next
		}
	}
}

// Packets that are late in their file are put where they belong, with the number that
// they have in it, and told of; of standard input it is told that they are late.
func TestPacketsOutOfOrder(t *testing.T) {
	const second, packetAt = 24, 16 + 40 // where the first stamp is, and from one to the next
	stamped := func(at uint32, milliseconds ...uint32) []byte {
		var packets [][]byte
		for i := range milliseconds {
			packets = append(packets, numbered(uint32(i+1)))
		}
		b := classic(0, packets...)
		for i, ms := range milliseconds {
			binary.LittleEndian.PutUint32(b[second+i*packetAt:], at)
			binary.LittleEndian.PutUint32(b[second+i*packetAt+4:], ms*1e6)
		}
		return b
	}
	late := stamped(100, 0, 500, 100, 600, 400)
	first, then, one := file(t, "a", late), file(t, "b", classic(200, numbered(6), numbered(7))), file(t, "c", stamped(200, 0, 500, 100, 600))
	for _, c := range []struct {
		name, want string
		o          Options
		files      []string
		n          int
		warn       string
	}{
		{"alone", "1:1 3:3 5:5 2:2 4:4", Options{}, []string{first}, 2, "a: 2 packets, up to 400ms late, were put in the order of their timestamps (--no-reorder leaves them where they are)"},
		{"one", "1:1 3:3 2:2 4:4", Options{}, []string{one}, 1, "c: 1 packet, 400ms late, was put in the order of its timestamp (--no-reorder leaves it where it is)"},
		{"before-another", "1:1 3:3 5:5 2:2 4:4 6:6 7:7", Options{}, []string{then, first}, 2, "a: 2 packets, up to"},
		{"one-behind-another", "1:1 3:3 5:5 2:2 4:4 6:1 8:3 7:2 9:4", Options{}, []string{one, first}, 3, "c: 1 packet, 400ms"},
		{"as-they-are", "1:1 2:2 3:3 4:4 5:5", Options{AsTheyAre: true}, []string{first}, 0, ""},
		{"until-a-packet", "1:1 3:3", Options{Until: Moment{Packet: 3}}, []string{one}, 1, "c: 1 packet, 400ms"},
		{"since-a-packet", "3:3 4:4", Options{Since: Moment{Packet: 3}}, []string{one}, 1, "c: 1 packet, 400ms"},
		{"standard-input", "1:1 2:2 3:3 4:4 5:5", Options{Stdin: bytes.NewReader(late)}, []string{"-"}, 0,
			"standard input: 2 packets are out of order, up to 400ms late; tcpwatch puts packets in order where it is given the name of the file"},
		{"standard-input-as-it-is", "1:1 2:2 3:3 4:4 5:5", Options{Stdin: bytes.NewReader(late), AsTheyAre: true}, []string{"-"}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, c.o, c.files...)
			if got := seqs(read(t, s)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			st := s.Stats()
			if warned := strings.Join(st.Warnings, "; "); st.Sorted != c.n || !strings.Contains(warned, c.warn) || (warned == "") != (c.warn == "") {
				t.Errorf("%d were put in order, %q, want %d, %q", st.Sorted, warned, c.n, c.warn)
			}
		})
	}
}

// Who expects packets in order is told when a file has them otherwise, unless it could not
// be read again; until then nothing is different.
func TestOrderIsExpected(t *testing.T) {
	const second, packetAt = 24, 16 + 40 // where the first stamp is, and from one to the next
	late := classic(100, numbered(1), numbered(2), numbered(3), numbered(4))
	for i, ms := range []uint32{0, 500, 100, 600} {
		binary.LittleEndian.PutUint32(late[second+i*packetAt:], 100)
		binary.LittleEndian.PutUint32(late[second+i*packetAt+4:], ms*1e6)
	}
	for _, c := range []struct {
		name, want string
		files      []string
		err        error
	}{
		{"late", "1:1 2:2 3:3", []string{file(t, "a", late)}, ErrOutOfOrder},
		{"in-order", "1:1 2:2", []string{file(t, "b", classic(100, numbered(1), numbered(2)))}, nil},
		{"pipe", "1:1 2:2 3:3 4:4", []string{"-"}, nil},
	} {
		s := open(t, Options{Expect: true, Stdin: bytes.NewReader(late)}, c.files...)
		var got []tcp.Segment
		var failed error
		for g, err := range s.Segments() {
			if failed = err; err == nil {
				got = append(got, *g)
			}
		}
		if seqs(got) != c.want || !errors.Is(failed, c.err) {
			t.Errorf("%s: got %s and %v, want %s and %v", c.name, seqs(got), failed, c.want, c.err)
		}
	}
}

// Stopped before it looks whether a file is in order, a Source ends without an error.
func TestStoppedBeforeItLooks(t *testing.T) {
	s := open(t, Options{}, file(t, "x", classic(100, numbered(1))))
	s.Stop()
	for g, err := range s.Segments() {
		t.Errorf("got %v, %v", g, err)
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
		w.Write(classic(100, numbered(1), numbered(2)))
		w.Close()
	}()
	s := open(t, Options{}, file(t, "late", classic(200, numbered(3))), "-")
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
	whole := classic(1, numbered(1), numbered(2))
	for _, c := range []struct {
		r    io.Reader
		want string // the sequence numbers, or how the error ends
		last string // of what Stats warns of
	}{
		{r: bytes.NewReader(whole), want: "1:1 2:2"},
		{r: bytes.NewReader(gzipped(whole)), want: "1:1 2:2"},
		{r: iotest.OneByteReader(bytes.NewReader(whole)), want: "1:1 2:2"},
		{r: bytes.NewReader(whole[:len(whole)-1]), want: "1:1", last: "a socket: cut off mid-packet after packet 1; read up to there"},
		{r: io.MultiReader(bytes.NewReader(whole), iotest.ErrReader(broken)), want: "reading a socket: after packet 2: the cable is out"},
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
	s := open(t, Options{}, file(t, "a", classic(1, numbered(1), numbered(2))), file(t, "b", classic(9, numbered(3))))
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
	dir := t.TempDir()
	for _, c := range []struct {
		name, path, want string
	}{
		{"text", file(t, "x", []byte("hello, world, how are you")), `x: not a pcap or pcapng capture (it starts with "hell")`},
		{"directory", dir, dir + ": is a directory, not a capture"},
		{"missing", filepath.Join(dir, "none"), "open " + dir + "/none: no such file or directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Open([]string{file(t, "good", classic(1)), c.path}, Options{})
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
	whole := classic(1, numbered(1), numbered(2))
	huge := bytes.Clone(whole)
	binary.LittleEndian.PutUint32(huge[24+16+len(numbered(1))+8:], 0xfffffff0)
	for _, c := range []struct {
		name    string
		content []byte
		want    string // the end of the warning
	}{
		{"cut", whole[:len(whole)-1], "x: cut off mid-packet after packet 1; read up to there"},
		{"corrupt", huge, "x: corrupt: a record of 4294967280 bytes after packet 1; read up to there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, Options{}, file(t, "x", c.content))
			if got, want := seqs(read(t, s)), "1:1"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			st := s.Stats()
			if !st.Truncated || len(st.Warnings) != 1 || !strings.HasSuffix(st.Warnings[0], c.want) {
				t.Errorf("got %+v, want %q", st, c.want)
			}
		})
	}
}

func TestDamageInOneFileDoesNotHideTheNext(t *testing.T) {
	cut := classic(1, numbered(1), numbered(2))
	s := open(t, Options{}, file(t, "a", cut[:len(cut)-1]), file(t, "b", classic(9, numbered(3))))
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
	if _, err := readErr(classicOf(147, 1, numbered(1))); err == nil || !strings.HasSuffix(err.Error(), "x: link type 147 (USER0) is not supported; --decode-as dlt==147,eth reads it as Ethernet") {
		t.Errorf("got %v", err)
	}
	if _, err := readErr(classicOf(147, 1)); err != nil {
		t.Errorf("a capture without packets is fine, got %v", err)
	}
	var mixed pcap.Blocks
	mixed.Section("a test")
	mixed.Interface("usb0", 249, 0)
	mixed.Interface("tun0", pcap.LinkRaw, 0)
	for i := range 2 {
		mixed.Packet(i, &pcap.Record{Data: numbered(1), Wire: len(numbered(1))}, "")
	}
	if st, err := readErr(mixed.Bytes()); err != nil || st.Undecodable != 1 || st.Segments != 1 {
		t.Errorf("got %+v, %v", st, err)
	}
}

func TestOneSegmentIsReused(t *testing.T) {
	s := open(t, Options{}, file(t, "x", classic(1, carrying(tcp.Segment{Seq: 1, Flags: tcp.SYN, Options: tcp.Options{MSS: 1460}}), numbered(2))))
	var first *tcp.Segment
	for g := range s.Segments() {
		if first == nil {
			first = g
		} else if g != first || g.Options != (tcp.Options{}) || g.Sum != tcp.SumUnchecked {
			t.Errorf("got %+v", g)
		}
	}
}

// A simple packet block has no time: it is not before the packet before.
func TestPacketsWithoutATime(t *testing.T) {
	var b pcap.Blocks
	b.Section("a test")
	b.Interface("tun0", pcap.LinkRaw, 0)
	b.Packet(0, &pcap.Record{Data: numbered(1), Wire: len(numbered(1)), Time: 5_000_000_000}, "")
	p, le := numbered(2), binary.LittleEndian
	var simple []byte
	for _, v := range []int{3, 16 + len(p), len(p)} { // its type, its length, that of the packet
		simple = le.AppendUint32(simple, uint32(v))
	}
	simple = le.AppendUint32(append(simple, p...), uint32(16+len(p)))
	all := read(t, open(t, Options{}, file(t, "x", append(b.Bytes(), simple...))))
	if got, want := seqs(all), "1:1 2:2"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	if all[1].Time != all[0].Time {
		t.Errorf("its time is %d, that of the packet before %d", all[1].Time, all[0].Time)
	}
}

// A capture of many blocks and no packet ends when it is stopped.
func TestStopWithoutPackets(t *testing.T) {
	var blocks pcap.Blocks
	blocks.Section("x")
	reads := 0
	var src *Source
	r := readerFunc(func(b []byte) (int, error) {
		if reads++; reads == 10 {
			src.Stop()
		}
		if reads > 100 {
			return 0, io.EOF // it would go on
		}
		head := blocks.Bytes()
		if reads > 1 {
			head = []byte{4, 0, 0, 0, 12, 0, 0, 0, 12, 0, 0, 0} // of names, without one
		}
		return copy(b, head), nil
	})
	src, err := OpenReader("x", r, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for _, err := range src.Segments() {
		t.Fatal(err)
	}
	if s := src.Stats(); reads > 11 || s.Truncated {
		t.Errorf("it was read %d times; %v", reads, s.Warnings)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
