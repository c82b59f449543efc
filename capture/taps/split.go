package taps

import "slices"

// A clock that was set runs evenly before and behind. Where it was set shows in that no
// line leaves room for the packets of both directions, or much less than two lines do.

const (
	// maxPieces is how many pieces a clock has at most.
	maxPieces = 64

	// maxOutliers is how many packets that fit nowhere are left out.
	maxOutliers = 64

	// fewest is how many packets of each direction a part has at least that is split off
	// for the room that this gains, and gain how much that is at least: as a share of that
	// without, and in nanoseconds.
	fewest     = 8
	gain       = 0.25
	leastGain  = 3e5
	cuts       = 16 // are tried
	maxRefined = 4  // times that a part is split for gain
)

// split splits points, which are in the order of the capture, where a clock was set.
func split(points []point) (parts [][]point) {
	left := slices.Clone(points)
	for outliers := 0; len(parts) < maxPieces-1; {
		n := longest(left)
		if n == len(left) {
			break
		}
		behind := left[n:min(len(left), n+256)]
		behind = behind[:longest(behind)]
		rest := left[n+len(behind):]
		if len(behind) < 3 && outliers < maxOutliers && width(slices.Concat(left[:n], rest[:min(len(rest), 32)])) >= -jitter {
			left = slices.Delete(left, n, n+len(behind))
			outliers++
			continue
		}
		at := boundary(left, n, behind)
		parts = append(parts, left[:at])
		left = left[at:]
	}
	if len(left) > 0 {
		parts = append(parts, left)
	}
	var refined [][]point
	for _, part := range parts {
		refined = append(refined, refine(part, maxRefined)...)
	}
	return refined
}

// longest returns how many of the first points a line has room for, at least one.
func longest(points []point) int {
	if width(points) >= -jitter {
		return len(points)
	}
	fits, not := 1, 2
	for not < len(points) && width(points[:not]) >= -jitter {
		fits, not = not, 2*not
	}
	not = min(not, len(points))
	for fits+1 < not {
		if m := (fits + not) / 2; width(points[:m]) >= -jitter {
			fits = m
		} else {
			not = m
		}
	}
	return fits
}

// boundary returns where the first n points end, of which the last may as well be of
// those behind.
func boundary(points []point, n int, behind []point) int {
	from, to := 0, n // the first from which a line has room for all behind
	for from < to {
		if m := (from + to) / 2; width(slices.Concat(points[m:n], behind)) >= -jitter {
			to = m
		} else {
			from = m + 1
		}
	}
	if from == 0 {
		return n
	}
	return from + cheapest(points[from:n], pieceOf(points[:from], 0), pieceOf(behind, 0))
}

// cheapest returns where points are cut best that are of one piece before and of another
// behind: with each the packets are as fast as they can be, and none comes before it left.
func cheapest(points []point, one, two Piece) (cut int) {
	cost := func(p *Piece, k *point) float64 {
		slow := k.y - float64(p.Offset) - p.Drift*k.x
		if !k.came {
			slow = -slow
		}
		if slow < 0 {
			return -100 * slow
		}
		return slow
	}
	sum, least := 0.0, 0.0
	for i := range points {
		if sum += cost(&one, &points[i]) - cost(&two, &points[i]); sum < least {
			least, cut = sum, i+1
		}
	}
	return cut
}

// A block is points that follow each other: what of them bounds lines, and how many of
// each direction there are.
type block struct {
	room       room
	came, went int
}

// blocksOf divides points into blocks.
func blocksOf(points []point, size int) (blocks []block) {
	for part := range slices.Chunk(points, size) {
		b := block{room: roomOf(part)}
		for i := range part {
			if part[i].came {
				b.came++
			} else {
				b.went++
			}
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// widthOf returns how much room there is between the points of blocks, and whether they
// are enough to say so.
func widthOf(blocks []block) (w float64, enough bool) {
	var points []point
	came, went := 0, 0
	for i := range blocks {
		points = append(append(points, blocks[i].room.above...), blocks[i].room.below...)
		came, went = came+blocks[i].came, went+blocks[i].went
	}
	return width(points), came >= fewest && went >= fewest
}

// stepIn returns in which block a clock was probably set: that without which there is the
// most room before it and behind, and how much that is. -1: there is nowhere more than with
// all.
func stepIn(blocks []block, whole float64) (at int, best float64) {
	at, best = -1, whole
	for i := range blocks {
		a, enoughA := widthOf(blocks[:i])
		b, enoughB := widthOf(blocks[i+1:])
		if w := min(a, b); enoughA && enoughB && w > best {
			at, best = i, w
		}
	}
	return at, best
}

// refine splits a part where that leaves much more room to both.
func refine(points []point, depth int) [][]point {
	one := [][]point{points}
	if depth == 0 || len(points) < 4*fewest {
		return one
	}
	size := (len(points) + cuts - 1) / cuts
	blocks := blocksOf(points, size)
	whole, enough := widthOf(blocks)
	if !enough {
		return one
	}
	gains := func(w float64) bool { return w-whole >= max(leastGain, gain*whole) }
	i, w := stepIn(blocks, whole)
	if i < 0 || !gains(w) {
		return one
	}
	from, to := i*size, min((i+1)*size, len(points))
	cut := from + cheapest(points[from:to], pieceOf(points[:from], 0), pieceOf(points[to:], 0))
	if !gains(min(width(points[:cut]), width(points[cut:]))) {
		return one
	}
	return append(refine(points[:cut], depth-1), refine(points[cut:], depth-1)...)
}
