package cmd

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/pktgen"
)

// saved runs the command line with -w and returns the file.
func saved(t *testing.T, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "saved.pcapng")
	if status := execute(t.Context(), append(args, "-w", path), io.Discard, io.Discard); status != exitDone {
		t.Fatalf("%v: exit status %d", args, status)
	}
	return path
}

// A savedPacket is a packet of a file that was saved.
type savedPacket struct {
	data, comment string
}

// frame is its number in the capture that it comes from, as the comment says.
func (p *savedPacket) frame(t *testing.T) int {
	var n int
	if _, err := fmt.Sscanf(p.comment, "frame %d", &n); err != nil {
		t.Fatalf("the comment %q has no frame number", p.comment)
	}
	return n
}

// savedPackets reads the enhanced packet blocks of a file, of the least octet first.
func savedPackets(t *testing.T, path string) (list []savedPacket) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	for len(b) > 0 {
		kind, length := le.Uint32(b), le.Uint32(b[4:])
		if kind == 6 {
			captured := le.Uint32(b[20:])
			p := savedPacket{data: string(b[28 : 28+captured])}
			for o := b[28+(captured+3)&^3 : length-4]; len(o) >= 4 && le.Uint16(o) != 0; o = o[4+(le.Uint16(o[2:])+3)&^3:] {
				if le.Uint16(o) == 1 {
					p.comment += string(o[4 : 4+le.Uint16(o[2:])])
				}
			}
			list = append(list, p)
		}
		b = b[length:]
	}
	return list
}

// A savedConn is what is compared of a connection.
type savedConn struct {
	Start          string
	Client, Server struct {
		Addr, State    string
		Port           int
		Packets, Bytes int
		History        []struct {
			Packet       int
			State, Basis string
		}
	}
	ClosedBy  string `json:"closed_by"`
	Anomalies []struct {
		Kind, Text string
		Packet     int
	}
}

// connsOf returns what replay finds in a capture. Frames are translated.
func connsOf(t *testing.T, path string, frame func(int) int) []savedConn {
	t.Helper()
	out, _ := replayed(t, "replay", "-o", "json", path)
	var doc struct{ Connections []savedConn }
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatal(err)
	}
	number := regexp.MustCompile(`#\d+`)
	for i := range doc.Connections {
		c := &doc.Connections[i]
		for _, h := range [][]struct {
			Packet       int
			State, Basis string
		}{c.Client.History, c.Server.History} {
			for k := range h {
				h[k].Packet = frame(h[k].Packet)
			}
		}
		for k := range c.Anomalies {
			a := &c.Anomalies[k]
			a.Packet = frame(a.Packet)
			a.Text = number.ReplaceAllStringFunc(a.Text, func(s string) string {
				n, _ := strconv.Atoi(s[1:])
				return fmt.Sprintf("#%d", frame(n))
			})
		}
	}
	return doc.Connections
}

// Where all connections are selected, a replay of what was saved finds what a
// replay of the capture does.
func TestSavedIsReadAsItWas(t *testing.T) {
	captures, err := filepath.Glob("../tracker/testdata/traces/*/*.pcap*")
	more, _ := filepath.Glob("../capture/testdata/*.pcap*")
	if captures = append(captures, more...); err != nil || len(captures) < 100 {
		t.Fatalf("%d captures found: %v", len(captures), err)
	}
	packets := 0
	for _, path := range captures {
		file := saved(t, "replay", path)
		list := savedPackets(t, file)
		packets += len(list)
		got := connsOf(t, file, func(n int) int {
			if n == 0 {
				return 0
			}
			return list[n-1].frame(t)
		})
		if want := connsOf(t, path, func(n int) int { return n }); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got\n%+v\nwant\n%+v", path, got, want)
		}
	}
	t.Logf("%d packets of %d captures", packets, len(captures))
}

// trafficFile writes traffic with fragments, and with much that is no TCP.
func trafficFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mixed.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := (pktgen.Traffic{Kind: pktgen.Mixed, Packets: 4000, Seed: 7}).Write(f); err != nil {
		t.Fatal(err)
	}
	return path
}

// Of several connections each is saved with all of its packets, fragments among
// them, and no others: a capture is the sum of its connections.
func TestSavedOneByOne(t *testing.T) {
	path := trafficFile(t)
	all := map[int]savedPacket{}
	fragments := 0
	for _, p := range savedPackets(t, saved(t, "replay", path)) {
		all[p.frame(t)] = p
		if strings.Contains(p.comment, "a fragment; frame ") {
			fragments++
		}
	}
	conns := connsOf(t, path, func(n int) int { return n })
	if len(conns) < 20 || fragments < 5 {
		t.Fatalf("%d connections and %d fragments: too few to tell", len(conns), fragments)
	}
	total := 0
	for i, want := range conns {
		file := saved(t, "explain", "--conn", strconv.Itoa(i+1), path)
		list := savedPackets(t, file)
		for _, p := range list {
			if q := all[p.frame(t)]; p != q {
				t.Errorf("conn %d: got %q, want %q", i+1, p.comment, q.comment)
			}
		}
		total += len(list)
		got := connsOf(t, file, func(n int) int {
			if n == 0 {
				return 0
			}
			return list[n-1].frame(t)
		})
		if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
			t.Errorf("conn %d: got\n%+v\nwant\n%+v", i+1, got, want)
		}
	}
	if total != len(all) {
		t.Errorf("one by one there are %d packets, together %d", total, len(all))
	}
}

// All ways to select connections, and all that is read, say what is saved.
func TestSavedIsWhatWasSelected(t *testing.T) {
	const path = "../pcaps/time-wait-reuse.pcap" // 11 packets of one connection, and 9 of the next
	second := saved(t, "explain", "--conn", "2", path)
	want := savedPackets(t, second)
	if len(want) != 9 {
		t.Fatalf("got %d packets, want 9", len(want))
	}
	for _, args := range [][]string{
		{"explain", "--tuple", "10.9.0.1:40040-10.9.0.2:7040", "--where", "conn == 2", path},
		{"explain", "-o", "html", "--conn", "2", path},
		{"replay", "--state", "time-wait", path},
		{"replay", "-o", "jsonl", "--anomaly", "time-wait-reuse-safe", path},
		{"replay", "-o", "html", "--where", "incarnation == 2", path},
		{"check", "--where", "conn == 2", path},
		{"check", "-o", "html", "--state", "TIME_WAIT", path},
	} {
		if got := savedPackets(t, saved(t, args...)); !slices.Equal(got, want) {
			t.Errorf("%v: got %q", args, got)
		}
	}
	for _, p := range savedPackets(t, saved(t, "explain", "--conn", "2", "--no-comments", path)) {
		if p.comment != "" {
			t.Errorf("with --no-comments there is %q", p.comment)
		}
	}
	if got := savedPackets(t, saved(t, "replay", "--at", "#3", path)); len(got) != 3 || strings.Contains(got[2].comment, "CLOSE") {
		t.Errorf("--at: got %q", got)
	}
	if got := savedPackets(t, saved(t, "replay", "-f", "src port 7040", path)); len(got) != 9 || got[0].frame(t) != 2 {
		t.Errorf("-f: got %q", got)
	}
	if got := savedPackets(t, saved(t, "replay", "--state", "syn-sent", path)); len(got) != 0 {
		t.Errorf("nothing is selected: got %q", got)
	}
}

// Each file that check reads is a capture of its own; what they have is saved in
// their order.
func TestSavedByCheck(t *testing.T) {
	captures := []string{"../pcaps/normal-close.pcap", "../pcaps/refused.pcap", "../pcaps/half-close.pcap"}
	var want []savedPacket
	for _, path := range captures {
		want = append(want, savedPackets(t, saved(t, "replay", path))...)
	}
	if got := savedPackets(t, saved(t, append([]string{"check"}, captures...)...)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What standard input has is kept until it is read again; another pipe is refused.
func TestSavedFromPipes(t *testing.T) {
	const path = "../pcaps/normal-close.pcap"
	capture, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		w.Write(capture)
		w.Close()
	}()
	stdin := os.Stdin
	os.Stdin = r
	defer func() { os.Stdin = stdin }()
	if got, want := savedPackets(t, saved(t, "replay", "-")), savedPackets(t, saved(t, "replay", path)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A reader of the output who leaves does not end what is saved.
func TestSavedThoughNotRead(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	file := filepath.Join(t.TempDir(), "saved.pcapng")
	trafficFile := trafficFile(t)
	if status := execute(t.Context(), []string{"replay", "-o", "jsonl", "--events", "-w", file, trafficFile}, w, io.Discard); status != exitDone {
		t.Errorf("exit status %d", status)
	}
	if got, want := len(savedPackets(t, file)), len(savedPackets(t, saved(t, "replay", trafficFile))); got != want {
		t.Errorf("got %d packets, want %d", got, want)
	}
}

// tshark reads the comments that were meant, and the packets as they were.
func TestSavedIsReadByTshark(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed")
	}
	fields := func(path string, names ...string) string {
		args := []string{"-r", path, "-n", "-T", "fields"}
		for _, name := range names {
			args = append(args, "-e", name)
		}
		out, err := exec.Command("tshark", args...).Output()
		if err != nil {
			t.Fatalf("tshark %s: %v", path, err)
		}
		return string(out)
	}
	for _, path := range []string{
		"../pcaps/rst-instead-of-ack.pcap", "../capture/testdata/ethernet-nanoseconds.pcap", "../capture/testdata/encapsulations.pcapng",
	} {
		file := saved(t, "replay", path)
		var want strings.Builder
		frames := map[int]bool{}
		for _, p := range savedPackets(t, file) {
			fmt.Fprintln(&want, strings.ReplaceAll(p.comment, "\n", `\n`))
			frames[p.frame(t)] = true
		}
		if got := fields(file, "frame.comment"); got != want.String() {
			t.Errorf("%s: tshark reads %s\nwant %s", path, got, want.String())
		}
		headers := []string{"frame.time_epoch", "frame.len", "frame.cap_len", "frame.encap_type", "frame.protocols"}
		var whole strings.Builder
		for i, line := range strings.SplitAfter(fields(path, headers...), "\n") {
			if frames[i+1] {
				whole.WriteString(line)
			}
		}
		if got := fields(file, headers...); got != whole.String() || got == "" {
			t.Errorf("%s: tshark reads\n%s\nwant\n%s", path, got, whole.String())
		}
	}
}
