//go:build !nohub

package cmd

import (
	"bufio"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/pktgen"
)

// A killable is tcpwatch as a process.
type killable struct {
	*exec.Cmd
	mu   sync.Mutex
	said strings.Builder
}

// start starts tcpwatch.
func start(t testing.TB, args ...string) *killable {
	t.Helper()
	k := &killable{Cmd: exec.Command("tcpwatch", args...)}
	k.Stderr = k
	if err := k.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Process.Kill() })
	return k
}

// Write keeps what the process says.
func (k *killable) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.said.Write(b)
}

// says waits until the process says what matches.
func (k *killable) says(t testing.TB, what string) []string {
	t.Helper()
	re := regexp.MustCompile(what)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		k.mu.Lock()
		m := re.FindStringSubmatch(k.said.String())
		k.mu.Unlock()
		if m != nil {
			return m
		}
	}
	t.Fatalf("%v does not say %q but %q", k.Args, what, k.said.String())
	return nil
}

// kill ends it without a word.
func (k *killable) kill(t testing.TB) {
	t.Helper()
	if err := k.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	k.Wait()
}

// startHub starts a hub as a process.
func startHub(t testing.TB, store, listen string) (k *killable, url string) {
	t.Helper()
	k = start(t, "hub", "--store", store, "--listen", listen)
	return k, k.says(t, `the hub is at (nats://\S+)`)[1]
}

// hasStored waits until a hub has stored so many octets.
func hasStored(t testing.TB, store string, octets int64) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		size := int64(0)
		filepath.WalkDir(store, func(_ string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(d.Name(), ".blk") {
				if info, err := d.Info(); err == nil {
					size += info.Size()
				}
			}
			return nil
		})
		if size >= octets {
			return
		}
	}
	t.Fatal("the hub stores nothing")
}

// What is killed, the hub in the middle of what two sensors send, and then one of them,
// goes on where it was: nothing is lost, nothing is there twice.
func TestHubKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	if _, err := (pktgen.Traffic{Kind: pktgen.ShortConnections, Packets: 200_000, Seed: 2}).Write(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	store := t.TempDir()
	served, url := startHub(t, store, "127.0.0.1:0")
	filters := []string{"tcp[0:2] & 1 = 0", "tcp[0:2] & 1 = 1"}
	sends := func(i int) *killable {
		return start(t, "replay", "--sensor", url, "--sensor-name", string(rune('a'+i)), "--inner-filter", filters[i], path)
	}
	sensors := []*killable{sends(0), sends(1)}
	hasStored(t, store, 16<<10+rand.Int64N(2<<20)) // of some 5 MB
	for !strings.Contains(mustRun(t, "sensors", "--hub", url), "\nb ") {
		time.Sleep(time.Millisecond)
	}
	served.kill(t)
	for _, s := range sensors { // on a busy machine one may have been ready before
		if m := s.says(t, "the connection to the hub .* is lost|segments sent"); m[0] == "segments sent" {
			t.Logf("%v had sent all before", s.Args)
		}
	}
	served, _ = startHub(t, store, strings.TrimPrefix(url, "nats://"))
	sensors[0].says(t, "the hub is back|segments sent")
	sensors[0].kill(t)
	sensors[0] = sends(0)
	for i, s := range sensors {
		if err := s.Wait(); err != nil {
			t.Fatalf("sensor %d: %v: %s", i, err, s.said.String())
		}
		s.says(t, `segments (sent as sensor|already)`)
	}
	served.kill(t)
	served, _ = startHub(t, store, strings.TrimPrefix(url, "nats://"))
	want := normal(t, mustRun(t, "replay", "-o", "jsonl", path), nil)
	frames, _ := mergedFrames(t, path)
	got := normal(t, mustRun(t, "replay", "-o", "jsonl", "--hub", url), frames)
	counts := regexp.MustCompile(`"(packets|bytes)":\d+,|"type":"summary"`)
	clean := func(lines []string) []string { // each sensor counts what it leaves out
		for i, l := range lines {
			if strings.Contains(l, `"type":"summary"`) {
				lines[i] = counts.ReplaceAllString(l, "")
			}
		}
		slices.Sort(lines)
		return lines
	}
	if got, want := clean(got), clean(want); !slices.Equal(got, want) {
		t.Errorf("%s", difference(strings.Join(got, "\n"), strings.Join(want, "\n")))
	}
	served.kill(t)
}

// The lines of the page run as they are printed, from nothing to two sensors and a hub.
func TestReadmeHub(t *testing.T) {
	page, err := os.ReadFile("../capture/README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)\n## Many sensors and a hub\n.*?```sh\n(.*?)```\n").FindSubmatch(page)
	if m == nil {
		t.Fatal("the page has no lines of a hub")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	address := l.Addr().String()
	dir := t.TempDir()
	pcaps, err := filepath.Abs("../pcaps")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(pcaps, filepath.Join(dir, "pcaps")); err != nil {
		t.Fatal(err)
	}
	lines := strings.TrimSpace(string(m[1]))
	first, rest, _ := strings.Cut(lines, "\n")
	served, _, _ := strings.Cut(first, "&")
	args := strings.Fields(served)[1:]
	k := &killable{Cmd: exec.Command("tcpwatch", append(args, "--listen", address)...)} // the port of the page may be taken
	k.Dir, k.Stderr = dir, k
	if err := k.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Process.Kill() })
	k.says(t, "the hub is at nats://"+regexp.QuoteMeta(address))
	for line := range strings.Lines(rest) {
		shell := exec.Command("sh", "-c", strings.ReplaceAll(line, "127.0.0.1:4222", address))
		shell.Dir = dir
		if out, err := shell.CombinedOutput(); err != nil || len(out) == 0 {
			t.Errorf("%s: %v: %s", strings.TrimSpace(line), err, out)
		}
	}
}
