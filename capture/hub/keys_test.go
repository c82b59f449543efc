//go:build !nohub

package hub

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// keyedHub starts a hub that has keys for the sensors a and b and the reader r.
func keyedHub(t *testing.T) (url, folder string) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "keys")
	files, err := MakeKeys(folder, []string{"a", "b"}, []string{"r"})
	if err != nil || len(files) != 4 {
		t.Fatalf("%v were made: %v", files, err)
	}
	h, err := Serve(t.Context(), ServeOptions{Store: t.TempDir(), Listen: "127.0.0.1:0", Keys: folder})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return strings.Replace(h.URL(), "nats://", "tls://", 1), folder
}

// sendOne sends a segment as a sensor, and waits until it is stored.
func sendOne(t *testing.T, url, key, name string, wait time.Duration) error {
	t.Helper()
	c, err := Connect(t.Context(), Options{URL: url, Key: key})
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.Sensor(t.Context(), SensorOptions{Name: name, Room: 1 << 20, About: func() (a About) { return a }})
	if err != nil {
		return err
	}
	if err := s.Take(&tcp.Segment{Time: 1, Packet: 1}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	return s.End(ctx, 1)
}

// A sensor may send under its own name and read nothing; a reader may read and send
// nothing; who has no key may do nothing.
func TestKeys(t *testing.T) {
	url, folder := keyedHub(t)
	file := func(name string) string { return filepath.Join(folder, name) }
	if err := sendOne(t, url, file("sensor-a.key"), "a", 10*time.Second); err != nil {
		t.Errorf("sensor a as itself: %v", err)
	}
	if err := sendOne(t, url, file("sensor-a.key"), "b", time.Second); err == nil {
		t.Error("sensor a sends as sensor b")
	}
	if err := sendOne(t, url, file("reader-r.key"), "a", time.Second); err == nil {
		t.Error("a reader sends")
	}
	read := func(key string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		c, err := Connect(ctx, Options{URL: url, Key: key})
		if err != nil {
			return err
		}
		defer c.Close()
		g, err := c.Range(ctx, 0)
		if err != nil {
			return err
		}
		s, err := c.Read(ctx, g)
		if err != nil {
			return err
		}
		defer s.Close()
		for _, err := range s.Segments() {
			return err
		}
		return errors.New("nothing is stored")
	}
	if err := read(file("reader-r.key")); err != nil {
		t.Errorf("the reader: %v", err)
	}
	if err := read(file("sensor-b.key")); err == nil {
		t.Error("a sensor reads")
	}
	if _, err := nats.Connect(strings.Replace(url, "tls://", "nats://", 1)); err == nil {
		t.Error("somebody without a key connects")
	}
	c, err := Connect(t.Context(), Options{URL: url, Key: file("reader-r.key")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.stream.Purge(t.Context()); err == nil {
		t.Error("a reader deletes")
	}
	js, err := jetstream.New(c.nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.UpdateStream(t.Context(), jetstream.StreamConfig{Name: streamName}); err == nil {
		t.Error("a reader changes the stream")
	}
}

// A key knows its own hub: another that has the same port is not trusted.
func TestKeyOfAnotherHub(t *testing.T) {
	url, _ := keyedHub(t)
	_, other := keyedHub(t)
	if err := sendOne(t, url, filepath.Join(other, "sensor-a.key"), "a", time.Second); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got the error %v", err)
	}
}

// Keys that are there stay, and nobody else can read them.
func TestKeysStay(t *testing.T) {
	folder := t.TempDir()
	if _, err := MakeKeys(folder, []string{"a"}, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "sensor-a.key")
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files, err := MakeKeys(folder, []string{"a", "b"}, nil)
	if err != nil || len(files) != 1 || filepath.Base(files[0]) != "sensor-b.key" {
		t.Errorf("%v were made: %v", files, err)
	}
	if is, err := os.ReadFile(path); err != nil || string(is) != string(was) {
		t.Errorf("the key of sensor a has changed: %v", err)
	}
	for _, name := range []string{"server.pem", "users", "hub.key", "sensor-a.key"} {
		info, err := os.Stat(filepath.Join(folder, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if _, err := MakeKeys(folder, []string{"../x"}, nil); err == nil {
		t.Error("a name leads out of the folder")
	}
}

// Without encryption a hub listens, and is reached, on this host alone.
func TestPlainStaysOnThisHost(t *testing.T) {
	if _, err := Serve(t.Context(), ServeOptions{Store: t.TempDir(), Listen: "0.0.0.0:0"}); !errors.Is(err, ErrPlain) {
		t.Errorf("a hub for all: %v", err)
	}
	for _, url := range []string{"nats://192.0.2.1:4222", "192.0.2.1", "nats://127.0.0.1:1,nats://192.0.2.1:4222"} {
		if _, err := Connect(t.Context(), Options{URL: url}); !errors.Is(err, ErrPlain) {
			t.Errorf("%s: %v", url, err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := Connect(t.Context(), Options{URL: "nats://" + l.Addr().String()}); err == nil || errors.Is(err, ErrPlain) {
		t.Errorf("this host: %v", err)
	}
}
