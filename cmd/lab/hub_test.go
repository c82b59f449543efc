//go:build lab && linux

package lab

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"golang.org/x/sys/unix"
)

// hubIn starts a hub in a namespace, and waits until it listens.
func hubIn(t *testing.T, n *netns, args ...string) *run {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	r := &run{cmd: exec.Command(path, append([]string{"hub"}, args...)...), ended: make(chan error, 1)}
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	n.must(t, r.cmd.Start)
	go func() { r.ended <- r.cmd.Wait() }()
	t.Cleanup(func() { r.cmd.Process.Kill() })
	eventually(t, func() bool { return len(r.ended) > 0 || strings.Contains(r.stderr.String(), "the hub is at") })
	return r
}

// A sensor and a reader of a hub, started as root, keep no rights, and go on without them
// when the hub was killed and is back.
func TestHubWithoutRights(t *testing.T) {
	client, server := joined(t)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir := openDir(t)
	keys, store := filepath.Join(dir, "keys"), filepath.Join(dir, "store")
	if out, err := exec.Command(path, "hub", "keys", keys, "--sensor", "web", "--reader", "me").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const url = "tls://10.77.0.2:4222"
	serve := []string{"--store", store, "--listen", "10.77.0.2:4222", "--keys", keys}
	hub := hubIn(t, server, serve...)
	reader := watchIn(t, server, "live", "--hub", url, "--hub-key", filepath.Join(keys, "reader-me.key"), "-o", "jsonl")
	sensor := watchIn(t, client, "live", "-i", "veth", "-f", "port 7000", "--sensor", url, "--sensor-name", "web", "--hub-key", filepath.Join(keys, "sensor-web.key"))
	for name, r := range map[string]*run{"the sensor": sensor, "the reader": reader} {
		for key, want := range map[string]string{"Uid": "65534\t65534\t65534\t65534", "NoNewPrivs": "1", "Seccomp": "2", "CapEff": "0000000000000000"} {
			if got := r.status(key); got != want {
				t.Errorf("%s has %s %q, want %q", name, key, got, want)
			}
		}
	}
	seen := func(n int) func() bool {
		return func() bool { return strings.Count(reader.stdout.String(), `"to":"TIME_WAIT"`) == n }
	}
	dialed(t, client, server, 3)
	eventually(t, seen(3))
	hub.cmd.Process.Kill()
	<-hub.ended
	dialed(t, client, server, 2) // the sensor keeps it
	time.Sleep(time.Second)
	hubIn(t, server, serve...)
	eventually(t, seen(5))
	dialed(t, client, server, 1)
	eventually(t, seen(6))
	sensor.stop(t)
	reader.stop(t)
	for name, r := range map[string]*run{"the sensor": sensor, "the reader": reader} {
		said := r.stderr.String()
		t.Logf("%s: %s", name, said)
		if strings.Contains(said, "permitted") || strings.Contains(said, "denied") || !strings.Contains(said, "the hub is back") {
			t.Errorf("%s did not go on as it should have", name)
		}
	}
}

// A hub whose disk is full says so, and goes on by itself when there is room again. What a
// sensor sends meanwhile is all there in the end.
func TestHubOnFullDisk(t *testing.T) {
	here := newNetns(t, "10.77.0.1")
	here.sh(t, "ip link set lo up")
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir, disk := t.TempDir(), t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=3m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(disk, unix.MNT_DETACH) })
	file := filepath.Join(dir, "x.pcap")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	_, err = pktgen.Traffic{Kind: pktgen.ShortConnections, Packets: 300_000, Seed: 1}.Write(w)
	if err = errors.Join(err, w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
	const url = "nats://127.0.0.1:4222"
	hub := hubIn(t, here, "--store", filepath.Join(disk, "store"))
	sends := &run{cmd: exec.Command(path, "replay", "--sensor", url, "--sensor-name", "a", file), ended: make(chan error, 1)}
	sends.cmd.Stderr = &sends.stderr
	here.must(t, sends.cmd.Start)
	go func() { sends.ended <- sends.cmd.Wait() }()
	t.Cleanup(func() { sends.cmd.Process.Kill() })
	eventually(t, func() bool { return strings.Contains(hub.stderr.String(), "nothing can be stored: ") })
	if said := hub.stderr.String(); !strings.Contains(said, "no space left on device") {
		t.Errorf("it does not say why: %s", said)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT, "size=100m"); err != nil {
		t.Fatal(err)
	}
	sends.waitFor(t, 30*time.Second)
	t.Logf("%s%s", hub.stderr.String(), sends.stderr.String())
	reads := func(args ...string) (out []byte) {
		here.must(t, func() (err error) {
			out, err = exec.Command(path, append([]string{"replay", "-o", "summary"}, args...)...).Output()
			return err
		})
		return out
	}
	if got, want := reads("--hub", url), reads(file); !bytes.Equal(got, want) {
		t.Errorf("the hub has\n%s\nwant\n%s", got, want)
	}
}
