package tcp

import (
	"net/netip"
	"testing"
)

// SYNs as the stacks send them, and near misses.
func TestRecogniseStack(t *testing.T) {
	const linux = "<MSS=1460><SACKOK><TS=1,0><NOP><WS=7>"
	for _, c := range []struct {
		name, syn string
		v6        bool
		id        StackID
		sure      StackCertainty
	}{
		{"linux", "<CTL=SYN><WND=64240>" + linux + "<ID=7>", false, StackLinux, StackKnown},
		{"linux-answers", "<CTL=SYN,ACK><WND=65160>" + linux, false, StackLinux, StackKnown},
		{"linux-over-ipv6", "<CTL=SYN><WND=64800><MSS=1440><SACKOK><TS=1,0><NOP><WS=7><LABEL>", true, StackLinux, StackKnown},
		{"linux-before-4.20", "<CTL=SYN><WND=29200>" + linux + "<ID=7>", false, StackLinux, StackKnown},
		{"linux-before-4.20-over-ipv6", "<CTL=SYN><WND=28800><MSS=1440><SACKOK><TS=1,0><NOP><WS=7><LABEL>", true, StackLinux, StackKnown},
		{"linux-some-hops-away", "<CTL=SYN><WND=64240>" + linux + "<ID=7><TTL=47>", false, StackLinux, StackKnown},
		{"linux-without-timestamps", "<CTL=SYN><WND=64240><MSS=1460><NOP><NOP><SACKOK><NOP><WS=7><ID=7>", false, StackLinux, StackKnown},
		{"linux-with-a-lowered-mss", "<CTL=SYN><WND=64240><MSS=1380><SACKOK><TS=1,0><NOP><WS=7><ID=7>", false, StackLinux, StackKnown},
		{"linux-on-loopback", "<CTL=SYN,ACK><WND=65483><MSS=65495><SACKOK><TS=1,0><NOP><WS=7>", false, StackLinux, StackKnown},
		{"linux-of-a-window-of-no-whole-segments", "<CTL=SYN><WND=64241>" + linux + "<ID=7>", false, StackLinux, StackGuessed},
		{"linux-answers-without-options", "<CTL=SYN,ACK><WND=64240><MSS=1460>", false, StackLinux, StackGuessed},
		{"linux-answers-for-another", "<CTL=SYN,ACK><WND=0>" + linux, false, StackLinux, StackGuessed},
		{"linux-order-from-256-hops", "<CTL=SYN><WND=64240>" + linux + "<TTL=255>", false, StackAuto, StackUnknown},
		{"linux-order-without-padding", "<CTL=SYN><WND=64240><MSS=1460><SACKOK><WS=7><ID=7>", false, StackAuto, StackUnknown},
		{"options-are-cut", "<CTL=SYN><WND=64240>" + linux + "<CUT=options>", false, StackAuto, StackUnknown},

		{"gvisor", "<CTL=SYN><WND=29184>" + linux, false, StackGVisor, StackKnown},
		{"gvisor-answers", "<CTL=SYN,ACK><WND=29184>" + linux, false, StackGVisor, StackKnown},
		{"gvisor-answers-without-timestamps", "<CTL=SYN,ACK><WND=29184><MSS=1460><NOP><WS=7>", false, StackGVisor, StackKnown},
		{"gvisor-on-a-smaller-link", "<CTL=SYN><WND=28160><MSS=1410><SACKOK><TS=1,0><NOP><WS=7>", false, StackGVisor, StackKnown},
		{"gvisor-over-ipv6", "<CTL=SYN><WND=28800><MSS=1440><SACKOK><TS=1,0><NOP><WS=7>", true, StackGVisor, StackGuessed},
		{"gvisor-answers-over-ipv6", "<CTL=SYN,ACK><WND=28800><MSS=1440><SACKOK><TS=1,0><NOP><WS=7>", true, StackGVisor, StackGuessed},
		{"gvisor-or-linux-of-a-lowered-mss", "<CTL=SYN,ACK><WND=28800><MSS=1452><SACKOK><TS=1,0><NOP><WS=7>", false, StackGVisor, StackGuessed},
		{"gvisor-or-linux-without-id", "<CTL=SYN><WND=29200><MSS=1460><SACKOK><TS=1,0><NOP><WS=4>", false, StackGVisor, StackGuessed},
		{"no-gvisor-as-it-numbers-its-packets", "<CTL=SYN><WND=28800><MSS=1440><SACKOK><TS=1,0><NOP><WS=7><ID=7>", false, StackLinux, StackKnown},

		{"lwip", "<CTL=SYN><SEQ=6509><WND=65535><MSS=1460><NOP><WS=1><TTL=255><NODF>", false, StackLwIP, StackKnown},
		{"lwip-answers-without-scale", "<CTL=SYN,ACK><SEQ=6510><WND=65535><MSS=1460><TTL=254><NODF>", false, StackLwIP, StackKnown},
		{"lwip-or-another-bare-one", "<CTL=SYN><SEQ=3000000000><WND=65535><MSS=1460><TTL=255><NODF>", false, StackLwIP, StackGuessed},
		{"a-router-of-a-small-window", "<CTL=SYN><SEQ=6509><WND=4128><MSS=536><TTL=255><NODF>", false, StackAuto, StackUnknown},
		{"no-lwip-with-df", "<CTL=SYN><SEQ=6509><WND=65535><MSS=1460><NOP><WS=1><TTL=255>", false, StackAuto, StackUnknown},

		{"windows", "<CTL=SYN><WND=64240><MSS=1460><NOP><WS=8><NOP><NOP><SACKOK><TTL=128>", false, StackWindows, StackGuessed},
		{"windows-without-scale", "<CTL=SYN><WND=8192><MSS=1460><NOP><NOP><SACKOK><TTL=119>", false, StackWindows, StackGuessed},
		{"no-windows-of-ttl-64", "<CTL=SYN><WND=64240><MSS=1460><NOP><WS=8><NOP><NOP><SACKOK>", false, StackAuto, StackUnknown},
		{"linux-order-of-ttl-128", "<CTL=SYN><WND=64240>" + linux + "<TTL=128>", false, StackAuto, StackUnknown},

		{"freebsd", "<CTL=SYN><WND=65535><MSS=1460><NOP><WS=6><SACKOK><TS=1,0>", false, StackBSD, StackGuessed},
		{"macos", "<CTL=SYN><WND=65535><MSS=1460><NOP><WS=6><NOP><NOP><TS=1,0><SACKOK>", false, StackMacOS, StackGuessed},
		{"freebsd-of-another-window", "<CTL=SYN><WND=32768><MSS=1460><NOP><WS=6><SACKOK><TS=1,0>", false, StackBSD, StackGuessed},
		{"macos-of-another-window", "<CTL=SYN><WND=32768><MSS=1460><NOP><WS=6><NOP><NOP><TS=1,0><SACKOK>", false, StackMacOS, StackGuessed},
	} {
		s, err := ParseSegment(c.syn)
		if err != nil {
			t.Fatal(err)
		}
		s.Src = netip.MustParseAddrPort("192.0.2.1:1")
		if c.v6 {
			s.Src = netip.MustParseAddrPort("[2001:db8::1]:1")
		}
		if id, sure := RecogniseStack(&s); id != c.id || sure != c.sure {
			t.Errorf("%s: got %s, %v, want %s, %v", c.name, id.Stack().Name, sure, c.id.Stack().Name, c.sure)
		}
	}
}
