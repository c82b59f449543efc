package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// isCapture matches the names of captures.
var isCapture = regexp.MustCompile(`\.(pcap|pcapng|cap|snoop|erf)(\.(gz|zst|bz2|lz4|xz))?$`)

// segmentsOf reads a capture; ok is false where it is none that can be read.
func segmentsOf(path string) (list []tcp.Segment, until tcp.Time, ok bool) {
	src, err := capture.Open([]string{path}, capture.Options{Payload: true, VerifyChecksums: true})
	if err != nil {
		return nil, 0, false
	}
	defer src.Close()
	for s, err := range src.Segments() {
		if err != nil {
			return nil, 0, false
		}
		list = append(list, *s)
	}
	return list, src.Stats().Until, true
}

// captures calls f with the segments of every capture of the project.
func captures(t *testing.T, f func(path string, list []tcp.Segment, until tcp.Time)) {
	t.Helper()
	found, segments := 0, 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		if !isCapture.MatchString(d.Name()) {
			return nil
		}
		if list, until, ok := segmentsOf(path); ok {
			found, segments = found+1, segments+len(list)
			f(path, list, until)
		}
		return nil
	})
	if err != nil || found < 100 || segments < 5000 {
		t.Fatalf("%d captures with %d segments found: %v", found, segments, err)
	}
}

// sent writes segments as messages of so many, and reads these.
func sent(t testing.TB, list []tcp.Segment, size int) (got []tcp.Segment, octets int) {
	t.Helper()
	var w Writer
	var r Reader
	n, nth := uint64(0), 0
	var numbered []Segment
	for chunk := range slices.Chunk(list, size) {
		for i := range chunk {
			nth += 1 + i%3
			w.Add(&chunk[i], nth)
		}
		n++
		head := Head{Run: 1<<63 | 7, N: n, Mark: chunk[len(chunk)-1].Time, After: 300, Sent: 1 << 60, About: []byte("about")}
		m, err := w.Message(head)
		if err != nil {
			t.Fatal(err)
		}
		octets += len(m)
		var h Head
		if h, numbered, err = r.Read(m, numbered); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(h, head) {
			t.Fatalf("got the head %+v, want %+v", h, head)
		}
	}
	nth = 0
	for i := range numbered {
		if nth += 1 + i%size%3; numbered[i].Nth != nth {
			t.Fatalf("segment %d came back as number %d, want %d", i, numbered[i].Nth, nth)
		}
		got = append(got, numbered[i].Segment)
	}
	return got, octets
}

func TestCapturesComeBackExactly(t *testing.T) {
	captures(t, func(path string, list []tcp.Segment, _ tcp.Time) {
		for _, size := range []int{1, 7, MaxSegments} {
			got, _ := sent(t, list, size)
			if i := firstDifference(got, list); i >= 0 {
				t.Errorf("%s, %d in a message: segment %d came back as\n%+v, want\n%+v", path, size, i, got[i], list[i])
			}
		}
	})
}

// firstDifference returns where two lists begin to differ; -1: nowhere.
func firstDifference(a, b []tcp.Segment) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}

func TestTrackerAnswersTheSame(t *testing.T) {
	answers := func(list []tcp.Segment, until tcp.Time) (told []string) {
		tk, err := tracker.New(tracker.Config{Segments: true}, func(e *tracker.Event) {
			flat := *e
			flat.Record, flat.Anomaly = nil, nil
			told = append(told, fmt.Sprintf("%+v %+v %+v", flat, e.Record, e.Anomaly))
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			tk.Observe(&list[i])
		}
		tk.Ends(until)
		tk.Advance(until)
		tk.Close()
		return told
	}
	captures(t, func(path string, list []tcp.Segment, until tcp.Time) {
		got, _ := sent(t, list, 100)
		if !slices.Equal(answers(got, until), answers(list, until)) {
			t.Errorf("%s: the tracker answers differently", path)
		}
	})
}

// notWritten are the fields that a sensor does not know: captures of several places tell
// them together.
var notWritten = map[string]bool{"Leg": true, "Frames": true, "Twin": true}

// Every field of a segment comes back, whatever is in it: one that is added to Segment
// and is not written makes this fail.
func TestNoFieldIsForgotten(t *testing.T) {
	seen := map[string]bool{}
	var fill func(v reflect.Value, name string, set bool)
	rnd := rand.New(rand.NewPCG(1, 2))
	address := func() netip.Addr {
		if rnd.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte{10, byte(rnd.Uint32()), 3, byte(rnd.Uint32())})
		}
		return netip.AddrFrom16([16]byte{0x20, 1, 15: byte(rnd.Uint32())})
	}
	most := map[string]uint64{"Sum": uint64(tcp.SumBad), "Cut": uint64(tcp.CutOptions), "Way": uint64(tcp.WayOut), "Options.NumSACK": 4}
	fill = func(v reflect.Value, name string, set bool) {
		switch x := v.Addr().Interface().(type) {
		case *netip.AddrPort:
			seen[name] = true
			*x = netip.AddrPortFrom(address(), uint16(rnd.Uint32()))
			return
		case *netip.Addr:
			seen[name] = true
			*x = address()
			return
		}
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				field := v.Type().Field(i).Name
				if name != "" {
					field = name + "." + field
				}
				if !notWritten[field] {
					fill(v.Field(i), field, set)
				}
			}
		case reflect.Array:
			for i := range v.Len() {
				fill(v.Index(i), name, set)
			}
		case reflect.Bool:
			seen[name] = true
			v.SetBool(rnd.IntN(2) == 0)
		case reflect.Int, reflect.Int64:
			seen[name] = true
			v.SetInt(int64(rnd.Uint64()) >> rnd.IntN(64))
		case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			seen[name] = true
			n := rnd.Uint64() >> rnd.IntN(64)
			if m, bound := most[name]; bound {
				n %= m + 1
			}
			v.SetUint(n)
		default:
			t.Fatalf("%s is a %v: this test cannot fill it in", name, v.Kind())
		}
	}
	var list []tcp.Segment
	for range 5000 {
		var s tcp.Segment
		fill(reflect.ValueOf(&s).Elem(), "", true)
		// What has a condition has no value without it.
		if s.ICMP.Type == 0 {
			s.ICMP.From, s.ICMP.MTU = netip.Addr{}, 0
		}
		if !s.Options.HasTS {
			s.Options.TSVal, s.Options.TSEcr = 0, 0
		}
		clear(s.Options.SACK[s.Options.NumSACK:])
		list = append(list, s)
	}
	if len(seen) < 35 {
		t.Errorf("%d fields found", len(seen))
	}
	got, _ := sent(t, list, 1000)
	if i := firstDifference(got, list); i >= 0 {
		t.Errorf("segment %d came back as\n%+v, want\n%+v", i, got[i], list[i])
	}
}

// What a segment takes of ordinary traffic.
func TestSegmentsAreSmall(t *testing.T) {
	for kind, most := range map[pktgen.TrafficKind]float64{
		pktgen.LongFlows: 8, pktgen.ShortConnections: 27, pktgen.SYNs: 28, pktgen.Mixed: 15,
	} {
		path := writeTraffic(t, kind, 50_000)
		src, err := capture.Open([]string{path}, capture.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var list []tcp.Segment
		for s, err := range src.Segments() {
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, *s)
		}
		_, octets := sent(t, list, 1024)
		if each := float64(octets) / float64(len(list)); each > most {
			t.Errorf("%s: %.1f octets a segment, want at most %.0f", kind, each, most)
		} else {
			t.Logf("%s: %.1f octets a segment", kind, each)
		}
	}
}

func writeTraffic(t testing.TB, kind pktgen.TrafficKind, packets int) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := (pktgen.Traffic{Kind: kind, Packets: packets, Seed: 1}).Write(&b); err != nil {
		t.Fatal(err)
	}
	return writeFile(t, string(kind)+".pcap", b.Bytes())
}

// Both directions of a connection belong to the same part, and no part is empty.
func TestPartition(t *testing.T) {
	const parts = 16
	var n [parts]int
	for port := range uint16(4000) {
		s := tcp.Segment{Src: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port), Dst: netip.MustParseAddrPort("10.0.0.2:443")}
		p := Partition(&s, parts)
		n[p]++
		s.Src, s.Dst = s.Dst, s.Src
		if q := Partition(&s, parts); q != p {
			t.Fatalf("port %d: parts %d and %d", port, p, q)
		}
	}
	for p, n := range n {
		if n < 150 || n > 350 {
			t.Errorf("part %d has %d of 4000 connections", p, n)
		}
	}
	// It is part of the format, so it never changes.
	s := tcp.Segment{Src: netip.MustParseAddrPort("192.0.2.1:40000"), Dst: netip.MustParseAddrPort("[2001:db8::1]:443")}
	if p := Partition(&s, 1<<20); p != partitionOfExample {
		t.Errorf("the example is in part %d, not %d", p, partitionOfExample)
	}
}

// partitionOfExample is of the example above, of so many parts.
const partitionOfExample = 479788

// A message of a later version is told from one that is malformed.
func TestLaterVersion(t *testing.T) {
	m, err := new(Writer).Message(Head{Run: 1, N: 1})
	if err != nil {
		t.Fatal(err)
	}
	m[0] = Version + 1
	_, err = ReadHead(m)
	var later VersionError
	if !errors.As(err, &later) || int(later) != Version+1 {
		t.Errorf("got the error %v", err)
	}
}

// Every message that lacks its end, or has something behind it, is malformed, and so
// is one with another octet, or it is a message of other segments.
func TestMalformed(t *testing.T) {
	list, _, ok := segmentsOf("../../pcaps/lossy-upload.pcap")
	if !ok {
		list, _, ok = segmentsOf(anyCapture(t))
	}
	if !ok || len(list) < 10 {
		t.Fatalf("%d segments", len(list))
	}
	var w Writer
	for i := range list[:10] {
		w.Add(&list[i], i+1)
	}
	m, err := w.Message(Head{Run: 1, N: 1, About: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	var r Reader
	head := len(appendHead(nil, &Head{Run: 1, N: 1, About: []byte("x")}))
	for n := range m {
		if n == head {
			continue // a message without segments
		}
		if _, got, err := r.Read(m[:n], nil); err == nil || len(got) > 0 {
			t.Errorf("%d of %d octets are read as %d segments", n, len(m), len(got))
		}
	}
	if _, _, err := r.Read(append(slices.Clone(m), 0), nil); err == nil {
		t.Error("an octet too many is read")
	}
	if _, got, err := r.Read(m, nil); err != nil || len(got) != 10 {
		t.Errorf("after all that the message itself is read as %d segments: %v", len(got), err)
	}
}

// What an earlier version wrote is read as it was written. The files of versions before
// Version never change.
func TestStoredMessages(t *testing.T) {
	list, _, ok := segmentsOf("../../pcaps/forged-rst.pcap")
	if !ok {
		t.Fatal("no capture")
	}
	for i := range list {
		list[i].Payload = 0 // its key is another each time
	}
	now := filepath.Join("testdata", fmt.Sprintf("version%d", Version))
	if os.Getenv("UPDATE") != "" {
		var w Writer
		for i := range list {
			w.Add(&list[i], i+1)
		}
		m, err := w.Message(Head{Run: 7, N: 3, Mark: 5, After: 9, Sent: 11, End: true, About: []byte("about")})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(now, m, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for v := 1; v <= Version; v++ {
		m, err := os.ReadFile(filepath.Join("testdata", fmt.Sprintf("version%d", v)))
		if err != nil {
			t.Fatal(err)
		}
		var r Reader
		h, numbered, err := r.Read(m, nil)
		if err != nil || h.Run != 7 || h.N != 3 || h.Mark != 5 || h.After != 9 || h.Sent != 11 || !h.End || string(h.About) != "about" {
			t.Errorf("version %d: %+v, %v", v, h, err)
		}
		var got []tcp.Segment
		for i := range numbered {
			got = append(got, numbered[i].Segment)
		}
		if i := firstDifference(got, list); i >= 0 {
			t.Errorf("version %d: segment %d differs", v, i)
		}
	}
}
