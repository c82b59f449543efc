package pcap

import (
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// What Blocks makes is read as it was meant.
func TestBlocksAreRead(t *testing.T) {
	packets := []Record{
		{Data: []byte("one"), Wire: 100, Time: 1_800_000_000_000_000_001, Link: LinkRaw},
		{Data: []byte("four"), Wire: 4, Time: 1_800_000_000_000_000_002, Link: LinkEthernet, Way: tcp.WayIn},
		{Data: []byte("three"), Wire: 5, Time: 1_800_000_000_000_000_003, Link: LinkRaw, Way: tcp.WayOut},
		{Data: []byte("two"), Wire: 3, Time: 1_800_000_000_000_000_004, Link: LinkEthernet},
	}
	const ended = tcp.Time(1_900_000_000_000_000_003)
	var b Blocks
	b.Section("a test")
	b.Interface("eth0", LinkEthernet, 0)
	b.Interface("tun0", LinkRaw, 256)
	for i := range packets {
		before := len(b.Bytes())
		b.Packet(1-i%2, &packets[i], packets[i].Comment)
		if size := len(b.Bytes()) - before; size > len(packets[i].Data)+PacketOverhead {
			t.Errorf("a packet of %d octets takes %d", len(packets[i].Data), size)
		}
	}
	b.Statistics(0, ended, 1, 7)
	b.Statistics(1, ended-1, 1, -1)
	in := open(t, b.Bytes())
	got, damage := read(t, in)
	if len(got) != len(packets) || damage != "" {
		t.Fatalf("got %+v, %s", got, damage)
	}
	for i, want := range packets {
		if r := got[i]; string(r.Data) != string(want.Data) || r.Wire != want.Wire || r.Time != want.Time || r.Link != want.Link || r.Way != want.Way {
			t.Errorf("got %+v, want %+v", r, want)
		}
	}
	if in.Ended() != ended || in.Drops() != 7 {
		t.Errorf("it ended at %d and lost %d, want %d, 7", in.Ended(), in.Drops(), ended)
	}
	if b.Reset(); len(b.Bytes()) != 0 {
		t.Errorf("after Reset there are %d octets", len(b.Bytes()))
	}
}

// Comments are read as they were written, several as lines, and no more than so much.
func TestComments(t *testing.T) {
	var b Blocks
	b.Section("a test")
	b.Interface("", LinkEthernet, 0)
	for _, comment := range []string{"", "one", strings.Repeat("x", 2*maxComment)} {
		b.Packet(0, &Record{Data: []byte("data"), Wire: 4, Way: tcp.WayIn}, comment)
	}
	b.Packet(0, &Record{Data: []byte("data"), Wire: 4}, "")
	f := section(false).iface(LinkEthernet)
	with := f.numbers(uint32(0), uint32(0), uint32(0), uint32(4), uint32(4), []byte("data"))
	with = append(append(with, f.option(optComment, []byte("one"))...), f.option(optComment, []byte("two"))...)
	f.block(blockPacket, append(with, f.option(optEnd, nil)...))
	got := append(whole(t, b.Bytes()), whole(t, f.bytes())...)
	want := []string{"", "one", strings.Repeat("x", maxComment), "", "one\ntwo"}
	for i := range want {
		if got[i].Comment != want[i] {
			t.Errorf("packet %d has the comment %.50q, want %.50q", i+1, got[i].Comment, want[i])
		}
	}
}
