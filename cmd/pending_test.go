package cmd

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// Where replay says that --at shows what would follow, a state or a finding has
// changed then. Where it does not say so, time alone changes nothing, but for
// connections that stay open: they may be found idle.
func TestWhatWouldFollow(t *testing.T) {
	note := regexp.MustCompile(`(?m)^Note: the capture ends after [0-9.]+ s; --at (\+[0-9]+s) shows what would happen next$`)
	var captures []string
	for _, pattern := range []string{"../pcaps/*.pcap", "../tracker/testdata/traces/*/client.pcap*"} {
		list, err := filepath.Glob(pattern)
		if err != nil || len(list) < 20 {
			t.Fatalf("%s: %d captures, want at least 20: %v", pattern, len(list), err)
		}
		captures = append(captures, list...)
	}
	noted, not := 0, 0
	for _, path := range captures {
		table, _ := replayed(t, "replay", "-q", path)
		before := standing(t, path)
		if m := note.FindSubmatch(table); m != nil {
			noted++
			if at := string(m[1]); reflect.DeepEqual(standing(t, path, "--at", at), before) {
				t.Errorf("%s: at %s all is as it was: %v", path, at, before)
			}
			continue
		}
		if not++; strings.Contains(path, "gv-keepalive-timeout") {
			continue // that the next keepalive is not sent is no timer of the tracker's
		}
		if after := standing(t, path, "--at", "+1h"); !reflect.DeepEqual(after, before) {
			t.Errorf("%s: nothing was said, but an hour later %v has become %v", path, before, after)
		}
	}
	if noted < 40 || not < 20 {
		t.Errorf("%d captures end before a timer, %d do not", noted, not)
	}

	// A filter, or a later first packet, does not shift the moment.
	table, _ := replayed(t, "replay", "-q", "-f", "tcp port 7052 or tcp port 7000", "../pcaps/refused.pcap", "../pcaps/normal-close.pcap")
	whole, _ := replayed(t, "replay", "-q", "../pcaps/refused.pcap", "../pcaps/normal-close.pcap")
	if a, b := note.Find(table), note.Find(whole); a == nil || string(a) != string(b) {
		t.Errorf("with a filter %q, without %q", a, b)
	}
	for _, args := range [][]string{{"--at", "+1s"}, {"--until", "+10s"}, {"--since", "#2"}} {
		if out, _ := replayed(t, append([]string{"replay", "-q", "../pcaps/normal-close.pcap"}, args...)...); note.Match(out) {
			t.Errorf("with %v: %s", args, note.Find(out))
		}
	}
}

// standing are the states and the kinds of anomalies of all connections.
func standing(t *testing.T, path string, args ...string) [][]string {
	t.Helper()
	out, _ := replayed(t, append([]string{"replay", "-q", "-o", "json", path}, args...)...)
	var told struct {
		Connections []struct {
			Client, Server struct{ State string }
			Anomalies      []struct{ Kind string }
		}
	}
	if err := json.Unmarshal(out, &told); err != nil {
		t.Fatal(err)
	}
	var list [][]string
	for _, c := range told.Connections {
		is := []string{c.Client.State, c.Server.State}
		for _, a := range c.Anomalies {
			if a.Kind == "no-close-seen" {
				continue
			}
			is = append(is, a.Kind)
		}
		list = append(list, is)
	}
	return list
}
