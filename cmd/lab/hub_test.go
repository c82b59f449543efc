//go:build lab && linux

package lab

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
