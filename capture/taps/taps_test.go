package taps_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/capture/taps/skew"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

const stories = "../../tracker/testdata/traces"

// A wireEvent is what the wire between two hosts did to a packet.
type wireEvent struct {
	Action string  `json:"action"`
	T      float64 `json:"t"`
	Dir    string  `json:"dir"`
	Flags  string  `json:"flags"`
	Seq    uint32  `json:"seq"`
	Ack    uint32  `json:"ack"`
	Len    int     `json:"len"`
}

// A story is what truth.json says of the wire.
type story struct {
	dir       string
	captures  [2][]tcp.Segment // where a test has read them
	Name      string           `json:"scenario"`
	Taps      []string         `json:"taps"`
	Endpoints map[string]struct {
		Addr string `json:"addr"`
	} `json:"endpoints"`
	Wire *[]wireEvent `json:"wire_events"`
}

func (e *wireEvent) String() string {
	return fmt.Sprintf("%s %s %d %d %d", e.Dir, e.Flags, e.Seq, e.Ack, e.Len)
}

// expected returns what became of packets by the log of the wire: how often each was
// lost, copied and forged.
func (s *story) expected() map[string]int {
	want := map[string]int{}
	for i := range *s.Wire {
		e := &(*s.Wire)[i]
		switch {
		case e.Flags == "": // an ICMP error
		case e.Action == "drop" || e.Action == "random-drop" || e.Action == "blackhole":
			want["lost "+e.String()]++
		case e.Action == "dup":
			want["copied "+e.String()]++
		case strings.HasPrefix(e.Action, "re-inject"):
			if want["lost "+e.String()] > 0 {
				want["lost "+e.String()]--
			} else {
				want["copied "+e.String()]++
			}
		case e.Action == "inject":
			want["forged "+e.String()]++
		}
	}
	for k, n := range want {
		if n == 0 {
			delete(want, k)
		}
	}
	return want
}

// loadStories returns the stories that have a log of the wire and both captures.
func loadStories(t *testing.T) (list []*story) {
	files, err := filepath.Glob(stories + "/*/truth.json")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d stories: %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := &story{dir: filepath.Dir(file)}
		if err := json.Unmarshal(data, s); err != nil {
			t.Fatal(err)
		}
		if s.Wire != nil && len(s.Taps) == 2 {
			list = append(list, s)
		}
	}
	return list
}

type change = skew.Change

var changes, outside = skew.Changes, skew.Outside

// rewrite has the change write a file.
func rewrite(t *testing.T, c *change, from, to string) {
	t.Helper()
	if err := c.Rewrite(from, to); err != nil {
		t.Fatal(err)
	}
}

// play returns the fates of a story's packets.
func play(t *testing.T, s *story, c *change) map[string]int {
	t.Helper()
	server := filepath.Join(t.TempDir(), "server.pcap")
	rewrite(t, c, filepath.Join(s.dir, s.Taps[1]), server)
	src, err := taps.Open([]taps.Tap{{Name: "client", Files: []string{filepath.Join(s.dir, s.Taps[0])}}, {Name: "server", Files: []string{server}}}, taps.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	return fates(t, s, src)
}

func TestFatesEqualTheWires(t *testing.T) {
	for _, c := range changes {
		all := 0
		for _, s := range loadStories(t) {
			t.Run(c.Name+"/"+filepath.Base(s.dir), func(t *testing.T) {
				want := s.expected()
				equal(t, play(t, s, &c), want)
				for _, n := range want {
					all += n
				}
			})
		}
		t.Logf("%s: %d packets lost, copied or forged", c.Name, all)
	}
}

// maps returns the keys of both.
func maps(a, b map[string]int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range a {
			if !yield(k) {
				return
			}
		}
		for k := range b {
			if _, both := a[k]; !both && !yield(k) {
				return
			}
		}
	}
}
