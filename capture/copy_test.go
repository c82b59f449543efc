package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/decode"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// captured is a pcap capture of raw IP packets a second apart, from that second on.
func captured(t *testing.T, second int, packets ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	p, err := pktgen.NewPcap(&b, pcap.LinkRaw, 1<<16)
	for i := 0; i < len(packets) && err == nil; i++ {
		err = p.Write(tcp.Time(second+i)*1e9, packets[i])
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Several files, compressed and not, and standard input are copied in the order in
// which they are read, each as a section, and the numbers of packets count on.
func TestCopyOfSeveralFiles(t *testing.T) {
	late := file(t, "late.pcap", captured(t, 50, numbered(5), numbered(6)))
	early := file(t, "early.pcap.gz", gzipped(captured(t, 10, numbered(1), numbered(2))))
	stdin, err := os.Open(file(t, "stdin", append([]byte("read before"), captured(t, 30, numbered(3), notTCP(), numbered(4))...)))
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if _, err := stdin.Seek(int64(len("read before")), 0); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out.pcapng")
	paths := []string{late, "-", early}
	c, err := CreateCopy(out, paths, Options{Stdin: stdin})
	if err != nil {
		t.Fatal(err)
	}
	var asked []int
	err = c.Add(context.Background(), paths, Options{Stdin: stdin}, func(frame int) (string, bool) {
		asked = append(asked, frame)
		return "", frame == 2 || frame == 4 || frame >= 6
	})
	if err := errors.Join(err, c.Close()); err != nil {
		t.Fatal(err)
	}
	if want := []int{1, 2, 3, 4, 5, 6, 7}; !slices.Equal(asked, want) {
		t.Errorf("asked for %v, want %v", asked, want)
	}
	s := open(t, Options{}, out)
	if got, want := seqs(read(t, s)), "1:2 3:5 4:6"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if st := s.Stats(); st.Packets != 4 || st.First != 11e9 || st.Last != 51e9 || st.Truncated || len(st.Warnings) > 0 {
		t.Errorf("got %+v", st)
	}
}

// A file that is read is not written, and one that was made for nothing goes.
func TestCreateCopy(t *testing.T) {
	in := file(t, "in.pcap", captured(t, 1, numbered(1)))
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(in, link); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateCopy(link, []string{"elsewhere", in}, Options{}); err == nil || !strings.Contains(err.Error(), "is also an input file") {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(in); err != nil || len(b) == 0 {
		t.Errorf("%d octets are left: %v", len(b), err)
	}
	stdin, err := os.Open(in)
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if _, err := CreateCopy(in, []string{"-"}, Options{Stdin: stdin}); err == nil {
		t.Error("standard input is written")
	}
	old := file(t, "old", []byte("old"))
	for _, path := range []string{old, filepath.Join(t.TempDir(), "new")} {
		c, err := CreateCopy(path, []string{in}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); path == old && string(b) != "old" || path != old && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s has %q: %v", path, b, err)
		}
	}
}

func TestCopyIsCancelled(t *testing.T) {
	in := file(t, "in.pcap", captured(t, 1, slices.Repeat([][]byte{numbered(1)}, 10_000)...))
	c, err := CreateCopy(filepath.Join(t.TempDir(), "out"), []string{in}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Add(ctx, []string{in}, Options{}, func(int) (string, bool) { return "", true }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Parts of a segment are told with the packet that makes it whole, copies among
// them, also those of a tunnel in fragments.
func TestPartsOfSegments(t *testing.T) {
	whole := carrying(tcp.Segment{Seq: 7, Flags: tcp.ACK, Data: 100})
	piece := func(id uint16, from, to int, more bool, outer []byte) []byte {
		b := append(slices.Clone(whole[:20]), outer[from:to]...)
		field := uint16(from / 8)
		if more {
			field |= 0x2000
		}
		b[2], b[3] = byte(len(b)>>8), byte(len(b))
		b[4], b[5] = byte(id>>8), byte(id)
		b[6], b[7] = byte(field>>8), byte(field)
		return b
	}
	segment := whole[20:]
	inner := [][]byte{piece(9, 0, 64, true, segment), piece(9, 64, len(segment), false, segment)}
	tunnelled := func(id uint16, from, to int, more bool, packet []byte) []byte {
		b := piece(id, from, to, more, packet)
		b[9] = 4 // IP in IP
		return b
	}
	packets := [][]byte{
		piece(1, 64, len(segment), false, segment), // 1
		numbered(1),                                       // 2
		piece(2, 0, 64, true, segment),                    // 3: never whole
		piece(1, 64, len(segment), false, segment),        // 4: again
		piece(1, 0, 64, true, segment),                    // 5: 1, 4 and 5 are one
		tunnelled(20, 0, 40, true, inner[0]),              // 6
		tunnelled(20, 40, len(inner[0]), false, inner[0]), // 7
		tunnelled(21, 40, len(inner[1]), false, inner[1]), // 8
		tunnelled(21, 0, 40, true, inner[1]),              // 9: 6 to 9 are one
		notTCP(),                                          // 10
	}
	var parts []string
	o := Options{Part: func(packet, whole int) { parts = append(parts, fmt.Sprintf("%d:%d", packet, whole)) }}
	got := seqs(read(t, open(t, o, file(t, "in.pcap", captured(t, 1, packets...)))))
	if want := "2:1 5:7 9:7"; got != want {
		t.Fatalf("got segments %q, want %q", got, want)
	}
	if got, want := strings.Join(parts, " "), "1:5 4:5 6:9 7:9 8:9"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	// Copies of a fragment that come when all was whole already.
	parts = nil
	d := decode.New(decode.Options{Part: o.Part})
	var s tcp.Segment
	for i, at := range []int{0, 4, 0, 4} {
		d.Number(i + 1)
		d.Decode(&pcap.Record{Data: packets[at], Wire: len(packets[at]), Link: pcap.LinkRaw, Time: 1e9}, &s)
	}
	if got, want := strings.Join(parts, " "), "1:2 3:2 4:2"; got != want {
		t.Errorf("copies: got %q, want %q", got, want)
	}
}
