package pcap

import (
	"encoding/binary"
	"runtime"
	"testing"
)

// FuzzBlocks reads sections of blocks that are framed well, in either byte order,
// with whatever in them: what a fuzzer of octets hardly ever comes to. Of four octets
// each, the first says which block, the second how long it is, the others are in it.
func FuzzBlocks(f *testing.F) {
	f.Add([]byte{1, 20, 1, 0, 6, 40, 0, 3, 5, 40, 0, 3, 3, 9, 1, 1, 2, 30, 0, 0})
	f.Add([]byte{0, 30, 0, 0, 1, 40, 9, 9, 6, 60, 0, 40, 128, 1, 0, 0, 1, 8, 113, 0, 4, 100, 1, 1})
	f.Fuzz(func(t *testing.T, plan []byte) {
		kinds := []uint32{blockSection, blockInterface, blockPacketObsolete, blockPacketSimple, 4, blockStatistics, blockPacket, blockCustomHere, 0xbad}
		file := section(len(plan)%2 == 0).bytes()
		var order binary.ByteOrder = binary.LittleEndian
		if binary.BigEndian.Uint32(file[8:]) == byteOrderMagic {
			order = binary.BigEndian
		}
		for ; len(plan) >= 4; plan = plan[4:] {
			kind := kinds[int(plan[0]&0x7f)%len(kinds)]
			if kind == blockSection {
				file = append(file, section(order == binary.BigEndian).bytes()...)
				continue
			}
			body := make([]byte, int(plan[1])&^3)
			for i := range body {
				body[i] = plan[2+i%2] & byte(i)
			}
			if len(body) >= 20 && kind != blockInterface { // of an interface that there may be, and as long as it is
				order.PutUint32(body, uint32(plan[2]&1))
				order.PutUint32(body[12:], uint32(len(body)-20)-uint32(plan[3]&1))
			}
			length := uint32(len(body) + blockOverhead)
			file = order.(binary.AppendByteOrder).AppendUint32(file, kind)
			file = order.(binary.AppendByteOrder).AppendUint32(file, length)
			file = append(file, body...)
			file = order.(binary.AppendByteOrder).AppendUint32(file, length+uint32(plan[0]>>7))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		readToTheEnd(t, file)
		runtime.ReadMemStats(&after)
		if used, most := after.TotalAlloc-before.TotalAlloc, uint64(8<<20+100*len(file)); used > most {
			t.Errorf("%d octets of memory for a file of %d", used, len(file))
		}
	})
}
