package cmd

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// With --payload, and not without, octets sent again with other contents are noticed.
func TestPayload(t *testing.T) {
	const header, record = 24, 16 // of a pcap file, and of a packet in it
	pcap, err := os.ReadFile("../pcaps/normal-close.pcap")
	if err != nil {
		t.Fatal(err)
	}
	var longest []byte // has data
	at := 0
	for i := header; i < len(pcap); {
		n := record + int(binary.LittleEndian.Uint32(pcap[i+8:]))
		if n > len(longest) {
			longest, at = pcap[i:i+n], i
		}
		i += n
	}
	again := slices.Clone(longest)
	again[len(again)-1]++
	again[len(again)-3]-- // the checksum stays right
	path := filepath.Join(t.TempDir(), "again.pcap")
	if err := os.WriteFile(path, slices.Concat(pcap[:at+len(longest)], again, pcap[at+len(longest):]), 0o644); err != nil {
		t.Fatal(err)
	}
	const kind = "inconsistent-retransmission"
	for _, c := range []struct {
		args []string
		want bool
	}{{[]string{"replay", path}, false}, {[]string{"replay", "--payload", path}, true}} {
		out, stderr := replayed(t, c.args...)
		if got := strings.Contains(string(out), kind); got != c.want {
			t.Errorf("%v reports %s: %t, want %t\n%s%s", c.args, kind, got, c.want, out, stderr)
		}
	}
}
