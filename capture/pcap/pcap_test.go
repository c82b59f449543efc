package pcap

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

func TestPcapVariants(t *testing.T) {
	const p = "a packet of a capture"
	header := func(o binary.AppendByteOrder, magic uint32, minor uint16, snap uint32) []byte {
		b := o.AppendUint16(o.AppendUint16(o.AppendUint32(nil, magic), 2), minor)
		return o.AppendUint32(o.AppendUint32(o.AppendUint64(b, 0), snap), 1|0x5400_0000) // with an FCS of 4 octets
	}
	record := func(o binary.AppendByteOrder, values ...int) []byte {
		var b []byte
		for _, v := range values {
			b = o.AppendUint32(b, uint32(v))
		}
		return b
	}
	le, be := binary.LittleEndian, binary.BigEndian
	const n = len(p)
	for _, c := range []struct {
		name   string
		header []byte
		record []byte
		want   tcp.Time
		wire   int
	}{
		{"little-endian", header(le, pcapMicro, 4, 65535), record(le, 5, 6, n, n), 5_000_006_000, n},
		{"big-endian", header(be, pcapMicro, 4, 65535), record(be, 5, 6, n, n), 5_000_006_000, n},
		{"nanoseconds", header(le, pcapNano, 4, 65535), record(le, 5, 6, n, n), 5_000_000_006, n},
		{"big-endian-nanoseconds", header(be, pcapNano, 4, 65535), record(be, 5, 6, n, n), 5_000_000_006, n},
		{"modified", header(le, pcapModified, 4, 65535), record(le, 5, 6, n, n, 1, 2), 5_000_006_000, n},
		{"no-snap-length", header(le, pcapMicro, 4, 0), record(le, 5, 6, n, n), 5_000_006_000, n},
		{"longer-than-the-snap-length", header(le, pcapMicro, 4, 16), record(le, 5, 6, n, n), 5_000_006_000, n},
		{"captured-more-than-was-sent", header(le, pcapMicro, 4, 65535), record(le, 5, 6, n, 10), 5_000_006_000, n},
		{"version-2.2", header(le, pcapMicro, 2, 65535), record(le, 5, 6, n+9, n), 5_000_006_000, n + 9},
		{"version-2.3-swapped", header(le, pcapMicro, 3, 65535), record(le, 5, 6, n+9, n), 5_000_006_000, n + 9},
		{"version-2.3", header(le, pcapMicro, 3, 65535), record(le, 5, 6, n, n+9), 5_000_006_000, n + 9},
	} {
		b := append(append(c.header, c.record...), p...)
		if all := whole(t, b); len(all) != 1 || all[0].Time != c.want || all[0].Wire != c.wire || all[0].Link != LinkEthernet || texts(all) != p {
			t.Errorf("%s: got %+v", c.name, all)
		}
	}
}

func TestRecordsLargerThanTheWindow(t *testing.T) {
	big := strings.Repeat("big", windowSize)
	if got, want := texts(whole(t, classic("one", big, "two"))), "one "+big+" two"; got != want {
		t.Errorf("got %d octets, want %d", len(got), len(want))
	}
}
