package taps

// frames has the frames of each packet at each tap.
type frames struct {
	taps   int
	chunks [][]uint32
	n      int
}

// framesInChunk is how many packets a chunk holds.
const framesInChunk = 1 << 14

// add adds a packet, and returns its number.
func (f *frames) add(p *packet) int {
	if f.n%framesInChunk == 0 {
		f.chunks = append(f.chunks, make([]uint32, framesInChunk*f.taps))
	}
	row := f.chunks[f.n/framesInChunk][f.n%framesInChunk*f.taps:][:f.taps]
	copy(row, p.frames[:])
	f.n++
	return f.n
}

// of returns the frames of a packet.
func (f *frames) of(packet int) []int {
	if packet < 1 || packet > f.n {
		return nil
	}
	packet--
	list := make([]int, f.taps)
	for i, frame := range f.chunks[packet/framesInChunk][packet%framesInChunk*f.taps:][:f.taps] {
		list[i] = int(frame)
	}
	return list
}
