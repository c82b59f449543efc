package capture

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What another program reads in the captures of testdata. Beside each lies a
// text file with the fields that tshark 4.0 printed for it; a header line
// names them. It was made, for a capture F, by
//
//	tshark -r F -n -Y 'tcp && !icmp && !icmpv6' -d udp.port==8472,vxlan \
//		-o tcp.relative_sequence_numbers:FALSE -o tcp.check_checksum:TRUE \
//		-T fields -E occurrence=l -E header=y -e frame.number -e ...
//
// encapsulations.pcapng has an interface for each way of wrapping a packet,
// named after it, with two packets of IPv4 and two of IPv6 that were captured
// on Ethernet. more-encapsulations.pcapng has the beginning of a connection in each
// of 39 others, in the order of their names from AH to VXLAN-GPE; it lacks
// FabricPath, of which tshark takes the last four octets for a checksum, and ERF,
// which it dates by the record. quiet-encapsulations.pcap has some that most such packets
// have no TCP in: FCoE, Shim6, CAPWAP in UDP-Lite, the four ways of LWAPP, Juniper's
// mirror with IPv4, IPv6 and PPP, Cisco's metadata in GRE, Microsoft's cluster, batman,
// and PeekRemote.
// odd-link-layers.pcapng has what some link types seldom have: BSD loopback with Ethernet
// types and PPP, 802.11 without the header of Prism, ATM without LLC, Juniper's voice
// services, and an Ethernet type in PPP. The other captures were made by tcpdump.

func TestTsharkAgrees(t *testing.T) {
	captures, err := filepath.Glob("testdata/*.pcap*")
	if err != nil || len(captures) == 0 {
		t.Fatal("no captures in testdata", err)
	}
	texts, _ := filepath.Glob("testdata/*.txt")
	for _, path := range captures {
		text := strings.TrimSuffix(path, filepath.Ext(path)) + ".txt"
		texts = slices.DeleteFunc(texts, func(s string) bool { return s == text })
		t.Run(filepath.Base(path), func(t *testing.T) { compareWithTshark(t, path, text) })
	}
	if len(texts) > 0 {
		t.Errorf("no captures for %v", texts)
	}
}

func compareWithTshark(t *testing.T, path, text string) {
	b, err := os.ReadFile(text)
	if err != nil {
		t.Fatal(err)
	}
	header, rest, _ := strings.Cut(string(b), "\n")
	names := strings.Split(header, "\t")
	var want []map[string]string
	for line := range strings.Lines(rest) {
		row := map[string]string{}
		for i, v := range strings.Split(strings.TrimSuffix(line, "\n"), "\t") {
			row[names[i]] = v
		}
		want = append(want, row)
	}
	s := open(t, Options{VerifyChecksums: true, AsTheyAre: true}, path) // connections behind each other, all of one time
	i := 0
	for g, err := range s.Segments() {
		if err != nil {
			t.Fatal(err)
		}
		if g.ICMP.Type != 0 {
			continue
		}
		if i == len(want) {
			t.Fatalf("packet %d: a segment that tshark does not see", g.Packet)
		}
		row := want[i]
		for name, got := range asTshark(g, row) {
			if got != row[name] {
				t.Errorf("packet %s (%s): %s: got %q, want %q", row["frame.number"], row["frame.protocols"], name, got, row[name])
			}
		}
		i++
	}
	if i != len(want) {
		t.Errorf("got %d segments, want %d", i, len(want))
	}
	if n := s.Stats().Undecodable; n > 0 {
		t.Errorf("%d packets are undecodable", n)
	}
}

// asTshark prints a segment as tshark does. Of what tshark prints differently
// now and then (an option that it prints in hexadecimal, addresses of the
// headers around the innermost) it takes what it needs from the row.
func asTshark(g *tcp.Segment, row map[string]string) map[string]string {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	when := func(set bool, n uint64) string {
		if !set {
			return ""
		}
		return number(n)
	}
	o := g.Options
	fields := map[string]string{
		"frame.number":                strconv.Itoa(g.Packet),
		"frame.time_epoch":            fmt.Sprintf("%d.%09d", g.Time/1e9, g.Time%1e9),
		"tcp.srcport":                 number(uint64(g.Src.Port())),
		"tcp.dstport":                 number(uint64(g.Dst.Port())),
		"tcp.seq_raw":                 number(uint64(g.Seq)),
		"tcp.ack_raw":                 number(uint64(g.Ack)),
		"tcp.flags":                   fmt.Sprintf("0x%04x", uint16(g.Flags)),
		"tcp.window_size_value":       number(uint64(g.Wnd)),
		"tcp.urgent_pointer":          number(uint64(g.Urg)),
		"tcp.len":                     number(uint64(g.Data)),
		"tcp.checksum":                fmt.Sprintf("0x%04x", g.Checksum),
		"tcp.checksum.status":         map[tcp.Sum]string{tcp.SumGood: "1", tcp.SumUnchecked: "2", tcp.SumBad: "0", tcp.SumPartial: "0"}[g.Sum],
		"tcp.options.mss_val":         when(o.MSS > 0, uint64(o.MSS)),
		"tcp.options.wscale.shift":    when(o.HasShift, uint64(o.Shift)),
		"tcp.options.sack.count":      when(o.NumSACK > 0, uint64(o.NumSACK)),
		"tcp.options.timestamp.tsval": when(o.HasTS, uint64(o.TSVal)),
		"tcp.options.timestamp.tsecr": when(o.HasTS, uint64(o.TSEcr)),
	}
	if o.NumSACK > 0 {
		last := o.SACK[o.NumSACK-1]
		fields["tcp.options.sack_le"] = number(uint64(last.Left))
		fields["tcp.options.sack_re"] = number(uint64(last.Right))
	}
	fields["tcp.options.sack_perm"] = ""
	if o.SACKOK {
		fields["tcp.options.sack_perm"] = "0402"
	}
	ttl := number(uint64(g.TTL))
	if g.Src.Addr().Is4() {
		fields["ip.src"], fields["ip.dst"], fields["ip.ttl"] = g.Src.Addr().String(), g.Dst.Addr().String(), ttl
		fields["ip.id"] = fmt.Sprintf("0x%04x", g.ID)
	} else {
		fields["ipv6.src"], fields["ipv6.dst"], fields["ipv6.hlim"] = g.Src.Addr().String(), g.Dst.Addr().String(), ttl
	}
	return fields
}
