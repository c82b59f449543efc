//go:build !nohub

package cmd

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/hub"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
	"go.yaml.in/yaml/v3"
)

// serveHub starts a hub, and returns where it is.
func serveHub(t testing.TB, partitions int) string {
	t.Helper()
	h, err := hub.Serve(t.Context(), hub.ServeOptions{Store: t.TempDir(), Listen: "127.0.0.1:0", Keep: hub.Keep{Partitions: partitions}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h.URL()
}

// clearHub has a hub forget all that it has stored.
func clearHub(t testing.TB, url string) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "tcpwatch")
	if err == nil {
		err = stream.Purge(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// ran executes the arguments, and returns what they print.
func ran(t testing.TB, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	status = execute(t.Context(), args, &out, &errs)
	return out.String(), errs.String(), status
}

// mustRun is ran of what must not fail.
func mustRun(t testing.TB, args ...string) string {
	t.Helper()
	out, errs, status := ran(t, args...)
	if status != exitDone {
		t.Fatalf("%s: exit status %d: %s", strings.Join(args, " "), status, errs)
	}
	return out
}

// allCaptures are the captures of the project that can be read.
func allCaptures(t testing.TB) (list []string) {
	t.Helper()
	isCapture := regexp.MustCompile(`\.(pcap|pcapng|cap|snoop|erf)(\.(gz|zst|bz2|lz4|xz))?$`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && isCapture.MatchString(d.Name()) {
			if _, _, status := ran(t, "replay", "-o", "summary", path); status == exitDone {
				list = append(list, path)
			}
		}
		return err
	})
	if err != nil || len(list) < 100 {
		t.Fatalf("%d captures found: %v", len(list), err)
	}
	return list
}

// What a sensor adds to a record.
var places = regexp.MustCompile(`,"(tap|peer)_packet":\d+|,"tap":"[^"]*"|,"evidence_taps":\[[^]]*\]`)

// One sensor gives, octet for octet, what replay gives of the same file.
func TestHubOfOneSensor(t *testing.T) {
	captures := allCaptures(t)
	if testing.Short() {
		captures = captures[:20]
	}
	url := serveHub(t, 4)
	for _, path := range captures {
		clearHub(t, url)
		mustRun(t, "replay", "--sensor", url, "--sensor-name", "a", path)
		want := mustRun(t, "replay", "-o", "jsonl", "--events", path)
		got := places.ReplaceAllString(mustRun(t, "replay", "-o", "jsonl", "--events", "--hub", url), "")
		if got != want {
			t.Errorf("%s: %s", path, difference(got, want))
		}
	}
}

// The same packets at two sensors are two legs: what is said of them is, octet for octet,
// what is said of the files.
func TestHubOfTwoPlaces(t *testing.T) {
	url := serveHub(t, 4)
	for _, dir := range []string{"final-ack-lost", "forged-rst"} {
		clearHub(t, url)
		files, named := []string{}, []string{}
		for _, name := range []string{"client", "server"} {
			path := filepath.Join("../pcaps", dir, name+".pcap")
			mustRun(t, "replay", "--sensor", url, "--sensor-name", name, path)
			files, named = append(files, "--tap", name+"="+path), append(named, "--tap", name)
		}
		mustRun(t, "replay", "--sensor", url, "--sensor-name", "other", "../pcaps/refused.pcap") // has nothing to do with it
		for _, args := range [][]string{
			{"replay"}, {"replay", "-o", "jsonl", "--events"}, {"replay", "-o", "packets"}, {"explain"}, {"replay", "--at-ends"}, {"compare", "-o", "json"},
		} {
			hub := append(append(slices.Clone(args), "--hub", url), named...)
			file := append(slices.Clone(args), files...)
			if args[0] == "compare" {
				hub, file = []string{"compare", "-o", "json", "--hub", url, "client", "server"}, []string{"compare", "-o", "json", files[1], files[3]}
			}
			nameless := regexp.MustCompile(`"files":\[[^]]*\]|(client|server)\.pcap`)
			clean := func(out string) string { return nameless.ReplaceAllString(out, "$1") }
			if got, want := clean(mustRun(t, hub...)), clean(mustRun(t, file...)); got != want {
				t.Errorf("%s, %v: %s", dir, args, difference(got, want))
			}
		}
	}
	if _, errs, status := ran(t, "replay", "--hub", url, "--tap", "client", "--tap", "proxy"); status == exitDone || !strings.Contains(errs, "nothing of a sensor proxy") {
		t.Errorf("of a sensor that is not there: %s", errs)
	}
	if _, errs, status := ran(t, "replay", "--hub", url, "--tap", "client", "--tap", "other"); status == exitDone || !strings.Contains(errs, "client and other have no TCP segment in common") {
		t.Errorf("of sensors of other traffic: %s", errs)
	}
}

// A sensor that was started again counts its packets anew; no two are taken for one.
func TestHubOfOneSensorTwice(t *testing.T) {
	url := serveHub(t, 4)
	for _, name := range []string{"refused", "time-wait"} {
		mustRun(t, "replay", "--sensor", url, "--sensor-name", "a", "../pcaps/"+name+".pcap")
	}
	conns := map[string]string{} // by packet
	for _, m := range regexp.MustCompile(`"packet":(\d+),.*?"conn":(\d+)`).FindAllStringSubmatch(mustRun(t, "replay", "-o", "jsonl", "--events", "--hub", url), -1) {
		if conn, ok := conns[m[1]]; ok && conn != m[2] {
			t.Errorf("packet %s is of connection %s, and of %s", m[1], conn, m[2])
		}
		conns[m[1]] = m[2]
	}
	if len(conns) < 8 {
		t.Errorf("%d packets: %v", len(conns), conns)
	}
}

// difference tells the first lines that differ.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d of %d and %d is\n%s\nwant\n%s", i+1, len(g), len(w), g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// divisions are ways to divide a capture among three sensors.
var divisions = []struct {
	name string
	of   func(s *tcp.Segment) int
}{
	{"flow", func(s *tcp.Segment) int { return int(s.Src.Port()+s.Dst.Port()) % 3 }},
	{"direction", func(s *tcp.Segment) int { return int(s.Src.Port()) % 3 }},
	{"packet", func(s *tcp.Segment) int { return s.Packet % 3 }},
}

// divide has three sensors send what a capture has. The first says what was counted.
func divide(t testing.TB, url, path string, of func(s *tcp.Segment) int) {
	t.Helper()
	src, err := capture.Open([]string{path}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	c, err := hub.Connect(t.Context(), hub.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var sensors [3]*hub.Sensor
	for i := range sensors {
		if sensors[i], err = c.Sensor(t.Context(), hub.SensorOptions{Name: string(rune('a' + i)), Room: 64 << 20, About: func() (a hub.About) {
			if i == 0 {
				a.Stats = src.Stats()
			}
			return a
		}}); err != nil {
			t.Fatal(err)
		}
	}
	for s, err := range src.Segments() {
		if err == nil {
			err = sensors[of(s)].Take(s)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range sensors {
		if err := s.End(t.Context(), src.Stats().Until); err != nil {
			t.Fatal(err)
		}
	}
}

// Three sensors that share the packets of a capture give together what replay gives of
// it, with the packets numbered anew.
func TestHubOfThreeSensors(t *testing.T) {
	captures := allCaptures(t)
	if testing.Short() {
		captures = captures[:20]
	}
	partitions := []int{1, 4, 16}
	var urls []string
	for _, n := range partitions {
		urls = append(urls, serveHub(t, n))
	}
	compared := 0
	for i, path := range captures {
		frames, mixed := mergedFrames(t, path)
		if mixed {
			continue // the order of its packets is not that of their times, and nothing else tells it
		}
		compared++
		way, hub := divisions[i%len(divisions)], i/len(divisions)%len(urls)
		url := urls[hub]
		clearHub(t, url)
		divide(t, url, path, way.of)
		want := normal(t, mustRun(t, "replay", "-o", "jsonl", "--events", path), nil)
		got := normal(t, mustRun(t, "replay", "-o", "jsonl", "--events", "--hub", url), frames)
		if !slices.Equal(got, want) {
			t.Errorf("%s by %s in %d partitions: %s", path, way.name, partitions[hub], difference(strings.Join(got, "\n"), strings.Join(want, "\n")))
		}
	}
	if compared < len(captures)*9/10 {
		t.Errorf("%d of %d captures were compared", compared, len(captures))
	}
}

// fewPackets is how many packets TestHubOfMuchTraffic has. With more of them all divisions
// are tried in all numbers of partitions.
const fewPackets = 60_000

var hubPackets = flag.Int("hub-packets", fewPackets, "packets of TestHubOfMuchTraffic")

// Where sensors and partitions have many messages each, none gets ahead of another.
func TestHubOfMuchTraffic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (pktgen.Traffic{Kind: pktgen.ShortConnections, Packets: *hubPackets, Seed: 1}).Write(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	frames, _ := mergedFrames(t, path)
	want := normal(t, mustRun(t, "replay", "-o", "jsonl", path), nil)
	for i, way := range divisions {
		for j, partitions := range []int{1, 4, 16} {
			if *hubPackets <= fewPackets && i != j {
				continue
			}
			url := serveHub(t, partitions)
			divide(t, url, path, way.of)
			if got := normal(t, mustRun(t, "replay", "-o", "jsonl", "--hub", url), frames); !slices.Equal(got, want) {
				t.Errorf("by %s in %d partitions: %s", way.name, partitions, difference(strings.Join(got, "\n"), strings.Join(want, "\n")))
			}
			t.Logf("by %s in %d partitions: %d records", way.name, partitions, len(want))
		}
	}
}

// mergedFrames returns the frames of the packets with segments in the order in which
// those are merged, and whether that is another than their order in the capture.
func mergedFrames(t testing.TB, path string) (frames []int, mixed bool) {
	t.Helper()
	src, err := capture.Open([]string{path}, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var newest tcp.Time
	packet := 0
	for s, err := range src.Segments() {
		if err != nil {
			t.Fatal(err)
		}
		mixed = mixed || s.Time < newest || s.Time == newest && s.Packet < packet
		if s.Packet != packet {
			frames = append(frames, s.Packet)
		}
		newest, packet = s.Time, s.Packet
	}
	return frames, mixed
}

// frameInText is a packet that a sentence names.
var frameInText = regexp.MustCompile(`(#|frames? )(\d+)`)

// normal returns records in an order that does not depend on anything, without what
// only a hub says. Packets that were numbered anew get the numbers of their frames.
func normal(t testing.TB, jsonl string, frames []int) (lines []string) {
	t.Helper()
	frame := func(n float64) float64 {
		if n == 0 || frames == nil {
			return n
		}
		if int(n) > len(frames) {
			t.Fatalf("packet %v of %d", n, len(frames))
		}
		return float64(frames[int(n)-1])
	}
	var walk func(v any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case map[string]any:
			for key, value := range v {
				switch key {
				case "tap", "tap_packet", "peer_packet", "evidence_taps":
					delete(v, key)
				case "packet":
					v[key] = frame(value.(float64))
				case "evidence":
					for i, n := range value.([]any) {
						value.([]any)[i] = frame(n.(float64))
					}
					slices.SortFunc(value.([]any), func(a, b any) int { return cmp.Compare(a.(float64), b.(float64)) })
				default:
					v[key] = walk(value)
				}
			}
		case string:
			return frameInText.ReplaceAllStringFunc(v, func(found string) string {
				m := frameInText.FindStringSubmatch(found)
				n, _ := strconv.Atoi(m[2])
				return m[1] + fmt.Sprint(frame(float64(n)))
			})
		}
		return v
	}
	for line := range strings.Lines(jsonl) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		walk(v)
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(b))
	}
	slices.Sort(lines)
	return lines
}

// explain and check read a hub too, and sensors lists who sent.
func TestHubCommands(t *testing.T) {
	url := serveHub(t, 4)
	path := "../pcaps/forged-rst.pcap"
	mustRun(t, "replay", "--sensor", url, "--sensor-name", "edge", path)
	if got, want := mustRun(t, "explain", "--hub", url), mustRun(t, "explain", path); strings.ReplaceAll(got, "frames edge ", "frames ") != want {
		t.Errorf("explain prints\n%s\nwant\n%s", got, want)
	}
	for _, args := range [][]string{{"check", "--deny", "error"}, {"check", "--allow", "error", "--deny", "connection-refused"}} {
		_, _, want := ran(t, append(args, path)...)
		if _, errs, got := ran(t, append(args, "--hub", url)...); got != want {
			t.Errorf("%v: exit status %d, want %d: %s", args, got, want, errs)
		}
	}
	if out := mustRun(t, "replay", "--hub", url, "-o", "jsonl", "--where", `any(client.history, .tap == "edge")`); !strings.Contains(out, `"type":"connection"`) {
		t.Errorf("nothing is at sensor edge: %s", out)
	}
	if out := mustRun(t, "replay", "--hub", url, "-o", "jsonl", "--where", `any(client.history, .tap == "core")`); strings.Contains(out, `"type":"connection"`) {
		t.Errorf("something is at sensor core: %s", out)
	}
	if out := mustRun(t, "sensors", "--hub", url); !regexp.MustCompile(`(?m)^edge +ended +\ds ago +\d+ +0 +- `).MatchString(out) {
		t.Errorf("sensors prints %s", out)
	}
	if _, errs, status := ran(t, "replay", "--hub", url, "--since", "1ns"); status == exitDone || !strings.Contains(errs, "nothing came to the hub since") {
		t.Errorf("since a moment ago: %s", errs)
	}
}

// The examples of containers start tcpwatch with flags that there are.
func TestReadmeContainers(t *testing.T) {
	page, err := os.ReadFile("../capture/README.md")
	if err != nil {
		t.Fatal(err)
	}
	type container struct {
		Command string
		Args    []string
	}
	var commands [][]string
	for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1) {
		var file struct {
			Services map[string]container
			Spec     struct {
				Template struct {
					Spec struct{ Containers []container }
				}
			}
		}
		if err := yaml.Unmarshal(m[1], &file); err != nil {
			t.Fatal(err)
		}
		for _, c := range append(slices.Collect(maps.Values(file.Services)), file.Spec.Template.Spec.Containers...) {
			commands = append(commands, append(strings.Fields(c.Command), c.Args...))
		}
	}
	if len(commands) != 3 {
		t.Errorf("%d containers, want 3", len(commands))
	}
	for _, args := range commands {
		c, rest, err := newRoot().Find(args)
		if err == nil {
			err = c.ParseFlags(rest)
		}
		if err == nil {
			err = c.ValidateArgs(c.Flags().Args())
		}
		if err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
}
