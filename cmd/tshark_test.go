package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/oracle"
)

// What tshark counts in the captures of testdata/traces, a line a capture and
// stream: packets and payload octets of both directions, the end whose packet
// came first first. UPDATE=1 asks tshark again, where it is installed.
const tsharkCounts = "../tracker/testdata/tshark.tsv"

// counted are the packets and octets of one stream.
type counted struct {
	packets, octets [2]int
}

// differs names the captures in which we count otherwise than tshark, and why.
var differs = map[string]string{
	"capture-duplicates/client.pcap": "tshark counts both records of a packet that was captured twice",
	"capture-duplicates/server.pcap": "tshark counts both records of a packet that was captured twice",
	"old-dup-paws/server.pcap":       "tshark puts the old segment into the new connection",
	"crash-reboot-syn/client.pcap":   newSYN,
	"crash-reboot-syn/server.pcap":   newSYN,
	"tw-reuse-rejected/client.pcap":  newSYN,
	"tw-reuse-rejected/server.pcap":  newSYN,
	"gvr-0064/server.pcap":           "two equal ACKs of one moment, which virtual time makes possible, are taken for one that was captured twice",
	"syn-in-established/server.pcap": "tshark takes the forged SYN for a new connection",
}

const newSYN = "tshark puts the old connection's answer to a new SYN, and the RST that this draws, into the new one"

func TestCountsEqualTshark(t *testing.T) {
	captures, err := filepath.Glob("../tracker/testdata/traces/*/*.pcap*")
	if err != nil || len(captures) == 0 {
		t.Fatalf("no captures found: %v", err)
	}
	if os.Getenv("UPDATE") != "" {
		askTshark(t, captures)
	}
	golden, err := os.ReadFile(tsharkCounts)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]counted{}
	for _, line := range strings.Split(strings.TrimSpace(string(golden)), "\n") {
		var name string
		var stream int
		var c counted
		if _, err := fmt.Sscan(line, &name, &stream, &c.packets[0], &c.octets[0], &c.packets[1], &c.octets[1]); err != nil {
			t.Fatalf("%s: %q: %v", tsharkCounts, line, err)
		}
		want[name] = append(want[name], c)
	}
	compared, known := 0, oracle.NewExceptions(differs)
	for _, path := range captures {
		name := nameOf(path)
		got := count(t, path)
		compared += len(got)
		if !slices.Equal(got, want[name]) && known.Reason(name) != "" {
			continue
		}
		if len(got) != len(want[name]) {
			t.Errorf("%s: counted %d connections, tshark %d", name, len(got), len(want[name]))
			continue
		}
		for i := range got {
			if got[i] != want[name][i] {
				t.Errorf("%s: connection %d: counted %v, tshark %v", name, i+1, got[i], want[name][i])
			}
		}
	}
	for _, stale := range known.Stale() {
		t.Errorf("%s is counted as tshark counts it: it need not be excepted (%s)", stale, differs[stale])
	}
	t.Logf("%d connections compared with tshark's count", compared)
}

func nameOf(path string) string {
	return filepath.Base(filepath.Dir(path)) + "/" + filepath.Base(path)
}

// count returns what replay counts, a connection an entry.
func count(t *testing.T, path string) []counted {
	out, errs := replayed(t, "replay", "-o", "json", path)
	if errs != "" {
		t.Fatalf("%s: %s", path, errs)
	}
	var doc struct {
		Connections []struct {
			Start          string
			Client, Server struct {
				Packets, Bytes     int
				RetransmittedBytes int `json:"retransmitted_bytes"`
				History            []struct{ Packet int }
			}
		}
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	var list []counted
	for _, c := range doc.Connections {
		list = append(list, counted{
			packets: [2]int{c.Client.Packets, c.Server.Packets},
			octets:  [2]int{c.Client.Bytes + c.Client.RetransmittedBytes, c.Server.Bytes + c.Server.RetransmittedBytes},
		})
	}
	return list
}

// replayed runs the command line and returns its output.
func replayed(t *testing.T, args ...string) (stdout []byte, stderr string) {
	var out, errs bytes.Buffer
	if status := execute(t.Context(), args, &out, &errs); status != exitDone {
		t.Fatalf("%v: exit status %d: %s", args, status, errs.String())
	}
	return out.Bytes(), errs.String()
}

// askTshark writes the golden file anew.
func askTshark(t *testing.T, captures []string) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("UPDATE=1 needs tshark for this file, which is not installed")
	}
	var b strings.Builder
	for _, path := range captures {
		out, err := exec.Command("tshark", "-r", path, "-Y", "tcp and not icmp and not icmpv6", "-T", "fields", "-E", "separator=,",
			"-e", "tcp.stream", "-e", "tcp.srcport", "-e", "tcp.len", "-e", "tcp.flags").Output()
		if err != nil {
			t.Fatalf("tshark %s: %v", path, err)
		}
		var streams []counted
		client := map[int]string{}
		for _, line := range strings.Fields(string(out)) {
			f := strings.Split(line, ",")
			stream, _ := strconv.Atoi(f[0])
			octets, _ := strconv.Atoi(f[2])
			flags, _ := strconv.ParseUint(f[3], 0, 16)
			if client[stream] == "" {
				streams = append(streams, counted{})
				client[stream] = f[1]
				if flags&0x12 == 0x12 || flags&2 == 0 && len(f[1]) < 5 { // the first packet is the server's
					client[stream] = "?" + f[1]
				}
			}
			side := 0
			if client[stream] != f[1] && client[stream][0] != '?' || client[stream] == "?"+f[1] {
				side = 1
			}
			streams[stream].packets[side]++
			streams[stream].octets[side] += octets
		}
		for i, c := range streams {
			fmt.Fprintf(&b, "%s\t%d\t%d\t%d\t%d\t%d\n", nameOf(path), i, c.packets[0], c.octets[0], c.packets[1], c.octets[1])
		}
	}
	if err := os.WriteFile(tsharkCounts, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
