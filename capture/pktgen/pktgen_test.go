package pktgen_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/capture/pktgen"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What is written is what package capture reads.
func TestForgedIsRead(t *testing.T) {
	ends := [][2]netip.AddrPort{
		{netip.MustParseAddrPort("192.0.2.1:49152"), netip.MustParseAddrPort("198.51.100.1:80")},
		{netip.MustParseAddrPort("[2001:db8::1]:49152"), netip.MustParseAddrPort("[2001:db8::2]:80")},
	}
	for _, text := range []string{
		"<SEQ=100><CTL=SYN><MSS=1460><SACKOK><TS=1,0><NOP><WS=7><SUM=good>",
		"<SEQ=100><CTL=SYN><MSS=1460><NOP><NOP><SACKOK><NOP><WS=7><SUM=good>",
		"<SEQ=300><ACK=101><CTL=SYN,ACK><TFO><SUM=good>",
		"<SEQ=101><ACK=301><CTL=PSH,ACK,AE><DATA=1001><TTL=57><SUM=good>",
		"<SEQ=101><ACK=301><CTL=ACK,URG><WND=7><URG=3><SACK=400:500,600:700><SUM=good>",
		"<SEQ=4294967295><CTL=RST><SUM=good>",
		"<SEQ=100><WND=0><TTL=0><ICMP=3,3><FROM=192.0.2.254>",
		"<SEQ=100><WND=0><TTL=0><ICMP6=1,4><FROM=2001:db8::fe>",
	} {
		want, err := tcp.ParseSegment(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range ends {
			if from := want.ICMP.From; from.IsValid() && from.Is4() != e[0].Addr().Is4() {
				continue
			}
			want.Time, want.Packet, want.Src, want.Dst = 1_700_000_000_123_456_789, 1, e[0], e[1]
			got := written(t, &want)
			got.Checksum = 0 // not in the notation's text
			if got != want {
				t.Errorf("%s is read as\n%v, want\n%v", text, &got, &want)
			}
		}
	}
}

// written returns the segment as it is read from a capture that was made of it.
func written(t *testing.T, s *tcp.Segment) tcp.Segment {
	path := filepath.Join(t.TempDir(), "forged.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := pktgen.NewPcap(f, pcap.LinkRaw, 65535)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(s.Time, pktgen.Append(nil, s)); err != nil {
		t.Fatal(err)
	}
	src, err := capture.Open([]string{path}, capture.Options{VerifyChecksums: true})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for got, err := range src.Segments() {
		if err != nil {
			t.Fatal(err)
		}
		return *got
	}
	t.Fatalf("no segment is read of %v", s)
	return tcp.Segment{}
}
