package taps

import "slices"

// A clock that was set runs evenly before and behind. Where it was set shows in that no
// line leaves room for the packets of both directions, or much less than two lines do.

const (
	// maxPieces is how many pieces a clock has at most.
	maxPieces = 64

	// maxOutliers is how many packets that fit nowhere are left out.
	maxOutliers = 64

	// sides is how many packets of each direction a part has at least that is split off
	// for the room that this gains, and gain how much that is: as a share of that without,
	// and in nanoseconds.
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
// those behind: with each the packets are as fast as they can be.
func boundary(points []point, n int, behind []point) int {
	one, two := pieceOf(points[:n], 0), pieceOf(behind, 0)
	slow := func(p *Piece, k *point) float64 {
		ahead := k.y - float64(p.Offset) - p.Drift*k.x
		if k.came {
			return ahead
		}
		return -ahead
	}
	best, at, sum := 0.0, n, 0.0
	for i := n - 1; i > 0; i-- {
		k := &points[i]
		other := slow(&two, k)
		if other < -jitter {
			break
		}
		if sum += other - slow(&one, k); sum < best {
			best, at = sum, i
		}
	}
	return at
}

// refine splits a part where that leaves much more room to both.
func refine(points []point, depth int) [][]point {
	whole := width(points)
	enough := func(list []point) bool {
		came := 0
		for i := range list {
			if list[i].came {
				came++
			}
		}
		return came >= fewest && len(list)-came >= fewest
	}
	if depth == 0 || !enough(points) {
		return [][]point{points}
	}
	room := func(at int) float64 {
		if !enough(points[:at]) || !enough(points[at:]) {
			return whole
		}
		return min(width(points[:at]), width(points[at:]))
	}
	best, at, step := whole, 0, max(1, len(points)/cuts)
	for i := step; i < len(points); i += step {
		if w := room(i); w > best {
			best, at = w, i
		}
	}
	if at == 0 || best-whole < max(leastGain, gain*whole/2) {
		return [][]point{points}
	}
	for step /= 2; step > 0; step /= 2 {
		for _, i := range []int{at - step, at + step} {
			if i > 0 && i < len(points) {
				if w := room(i); w > best {
					best, at = w, i
				}
			}
		}
	}
	if best-whole < max(leastGain, gain*whole) {
		return [][]point{points}
	}
	return append(refine(points[:at], depth-1), refine(points[at:], depth-1)...)
}
