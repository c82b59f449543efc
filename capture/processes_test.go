package capture

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What macOS says of processes beside packets, in blocks of pcapng or in the header of
// PKTAP, is told of the end that its own host has.
func TestProcessesOfMacOS(t *testing.T) {
	le := binary.LittleEndian
	option := func(b []byte, code uint16, value []byte) []byte {
		b = le.AppendUint16(le.AppendUint16(b, code), uint16(len(value)))
		return append(append(b, value...), make([]byte, -len(value)&3)...)
	}
	block := func(b []byte, kind uint32, body []byte) []byte {
		length := uint32(12 + len(body))
		return le.AppendUint32(append(le.AppendUint32(le.AppendUint32(b, kind), length), body...), length)
	}
	process := func(b []byte, pid uint32, name string) []byte {
		return block(b, 0x80000001, option(option(le.AppendUint32(nil, pid), 2, []byte(name)), 0, nil))
	}
	packet := func(b, data []byte, way, process, effective int) []byte {
		body := le.AppendUint32(make([]byte, 12), uint32(len(data)))
		body = append(le.AppendUint32(body, uint32(len(data))), data...)
		body = append(body, make([]byte, -len(data)&3)...)
		body = option(body, 2, le.AppendUint32(nil, uint32(way)))
		if process >= 0 {
			body = option(body, 0x8001, le.AppendUint32(nil, uint32(process)))
		}
		if effective >= 0 {
			body = option(body, 0x8003, le.AppendUint32(nil, uint32(effective)))
		}
		return block(b, 6, option(body, 0, nil))
	}
	syn, answer := carrying(tcp.Segment{Flags: tcp.SYN}), carrying(tcp.Segment{Flags: tcp.ACK})

	var blocks pcap.Blocks
	blocks.Section("a test")
	blocks.Interface("en0", pcap.LinkRaw, 0)
	b := slices.Clone(blocks.Bytes())
	b = process(b, 600, "curl")
	b = block(b, 0x80000001, nil) // malformed, and counts
	b = process(b, 700, "nsurlsessiond")
	b = process(b, 800, "Safari")
	b = packet(b, syn, 2, 0, -1)
	b = packet(b, answer, 1, 0, -1)
	b = packet(b, answer, 0, 0, -1) // nobody says which end is here
	b = packet(b, answer, 2, 1, -1)
	b = packet(b, answer, 2, 99, -1)
	b = packet(b, answer, 2, 2, 3) // the one works for the other
	b = packet(b, answer, 2, -1, -1)

	header := func(flags, pid uint32, name string, effective uint32, effectiveName string) []byte {
		h := make([]byte, 108)
		le.PutUint32(h, 108)
		le.PutUint32(h[4:], 1)
		le.PutUint32(h[8:], uint32(pcap.LinkRaw))
		copy(h[12:], "en0")
		le.PutUint32(h[36:], flags)
		le.PutUint32(h[52:], pid)
		copy(h[56:72], name)
		le.PutUint32(h[84:], effective)
		copy(h[88:104], effectiveName)
		return h
	}
	var tap pcap.Blocks
	tap.Section("a test")
	tap.Interface("pktap", pcap.LinkPktap, 0)
	for _, data := range [][]byte{
		append(header(2, 600, "curl", 0, ""), syn...),
		append(header(1, 600, "curl", 0, ""), answer...),
		append(header(2, 700, "nsurlsessiond", 800, "Safari"), answer...),
		append(header(0, 600, "curl", 0, ""), answer...),
		append(header(2, 0, "", 0, ""), answer...),
	} {
		tap.Packet(0, &pcap.Record{Data: data, Wire: len(data)}, "")
	}
	var s tcp.Segment
	path := filepath.Join(t.TempDir(), "in.pcapng")
	tell := func(file []byte) (told []string) {
		if err := os.WriteFile(path, file, 0o666); err != nil {
			t.Fatal(err)
		}
		src, err := Open([]string{path}, Options{Named: func(n *Named, _ tcp.Time) {
			if n.Program != "" {
				told = append(told, fmt.Sprintf("%v %s %d %v", n.Client, n.Program, n.PID, n.Opens))
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		for g, err := range src.Segments() {
			if err != nil {
				t.Fatal(err)
			}
			s = *g
		}
		return told
	}
	got := tell(b)
	want := []string{
		fmt.Sprintf("%v curl 600 true", s.Src), fmt.Sprintf("%v curl 600 false", s.Dst), fmt.Sprintf("%v Safari 800 false", s.Src),
	}
	if !slices.Equal(got, want) {
		t.Errorf("by blocks %q, want %q", got, want)
	}
	if got := tell(tap.Bytes()); !slices.Equal(got, want) {
		t.Errorf("by PKTAP %q, want %q", got, want)
	}
}
