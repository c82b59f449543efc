package decode

import (
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/internal/inet"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func TestDecodeAs(t *testing.T) {
	v4 := summed(inIPv4(tcpSegment(1234, 0x18, nil, []byte("hello"))))
	for _, c := range []struct {
		as   string
		at   place
		data []byte
	}{
		{"udp.port==5555,vxlan", place{udpTo, 5555}, appendAll(nil, "\x08\x00\x00\x01\x00\x00\x01\x00", inEthernet(v4))},
		{"udp.port==5555,ip", place{udpTo, 5555}, v4},
		{"udp.port==5555,gre", place{udpFrom, 5555}, gre(0, inet.TypeIPv4, v4)},
		{"ethertype==0x88b5,eth", ether(0x88b5), inEthernet(v4)},
		{"ip.proto==253,ip", place{ipProto, 253}, v4},
		{"ppp.protocol==0x4001,ip", place{pppType, 0x4001}, v4},
		{"dlt==147,eth", link(147), inEthernet(v4)},
	} {
		as, err := ParseAs(c.as)
		if err != nil {
			t.Error(err)
			continue
		}
		l, data := behind(c.at, c.data)
		r := pcap.Record{Data: data, Wire: len(data), Link: l}
		var s tcp.Segment
		if v := New(Options{}).Decode(&r, &s); v == TCP {
			t.Errorf("%s: TCP without it", c.as)
		}
		if v := New(Options{As: []As{as}}).Decode(&r, &s); v != TCP || s.Seq != 1234 {
			t.Errorf("%s: got verdict %d", c.as, v)
		}
	}
}

func TestWrongDecodeAs(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "udp.port==4790,vxlan",
		"udp.port==4790":          "udp.port==4790,vxlan",
		"udp.port=4790,vxlan":     "udp.port==4790,vxlan",
		"udp.port==65536,vxlan":   "udp.port==4790,vxlan",
		"tcp.port==80,vxlan":      "dlt, ethertype, ip.proto, ppp.protocol, udp.port",
		"udp.port==4790,nonsense": "vxlan_gpe",
		"ethertype==0x0800,eth":   "only one meaning",
		"ip.proto==6,ip":          "only one meaning",
		"ip.proto==51,ip":         "only one meaning",
		"dlt==1,ip":               "only one meaning",
	} {
		if _, err := ParseAs(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}
