package html

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tcpwatch/tcpwatch/report/catalogue"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The pictures of a page that do not change while it is read: how many ends
// were in each state over time, and how often each move
// of the transition diagram was made. Both come from the histories, in which what was refuted is
// gone.

// A stateChange is one end going from a state to another.
type stateChange struct {
	at       tcp.Time
	from, to tcp.State
}

// appendChanges appends the changes of a history. Before its first step an end
// is taken for CLOSED.
func appendChanges(list []stateChange, history []tracker.Step) []stateChange {
	from := tcp.Closed
	for i := range history {
		list = append(list, stateChange{history[i].Time, from, history[i].State})
		from = history[i].State
	}
	return list
}

// overTime is the picture of the states over time, with the same in numbers.
type overTime struct {
	Pictures []template.HTML // the last is that of TIME-WAIT, if any end came to it
	States   []string
	Rows     [][]string // of a moment: the time, and how many ends are in each of States
}

const (
	areaBins = 240 // steps of the picture
	areaRows = 12  // moments in the table
	areaLeft = 76  // the plot, in pixels
	areaTop  = 10
	areaW    = 894
	areaH    = 220
)

// drawOverTime draws how many ends were in each state but CLOSED and LISTEN,
// from first to last: in each of areaBins equal spans the mean over the span.
// TIME-WAIT has a picture of its own: it lasts so long that all else would be flat.
func drawOverTime(changes []stateChange, first, last tcp.Time) (o overTime) {
	span := last.Sub(first)
	if span <= 0 || len(changes) == 0 {
		return o
	}
	slices.SortStableFunc(changes, func(a, b stateChange) int { return cmp.Compare(a.at, b.at) })
	means := meansOf(changes, first, span)
	var shown []tcp.State
	for _, s := range append(tcp.States(), tcp.Unknown) {
		if s != tcp.Closed && s != tcp.Listen && slices.ContainsFunc(means, func(m [16]float64) bool { return m[s] > 0 }) {
			shown = append(shown, s)
			o.States = append(o.States, s.String())
		}
	}
	for i, states := range [][]tcp.State{slices.DeleteFunc(slices.Clone(shown), func(s tcp.State) bool { return s == tcp.TimeWait }), {tcp.TimeWait}} {
		if top := mostOf(means, states); top > 0 {
			o.Pictures = append(o.Pictures, template.HTML(areaSVG(fmt.Sprintf("area%d", i), means, states, top, span)))
		}
	}
	if o.Pictures == nil {
		return overTime{}
	}
	var counts [16]int
	next := 0
	for k := range areaRows {
		moment := first.Add(span / (areaRows - 1) * time.Duration(k))
		for ; next < len(changes) && changes[next].at <= moment; next++ {
			counts[changes[next].from]--
			counts[changes[next].to]++
		}
		row := []string{text.Human(moment.Sub(first))}
		for _, s := range shown {
			row = append(row, text.Thousands(uint64(max(counts[s], 0))))
		}
		o.Rows = append(o.Rows, row)
	}
	return o
}

// mostOf returns the largest number of ends that are in the states at once.
func mostOf(means [][16]float64, states []tcp.State) (top float64) {
	for i := range means {
		sum := 0.0
		for _, s := range states {
			sum += means[i][s]
		}
		top = max(top, sum)
	}
	return top
}

// meansOf returns, for each of areaBins spans, the mean number of ends in each
// state.
func meansOf(changes []stateChange, first tcp.Time, span time.Duration) [][16]float64 {
	means := make([][16]float64, areaBins)
	bin := float64(span) / areaBins
	for _, c := range changes {
		// The change counts in full in every bin after its own, and in its own
		// for the rest of it. Sums come below.
		at := max(float64(c.at.Sub(first)), 0)
		k := int(at / bin)
		if k >= areaBins {
			continue
		}
		rest := 1 - (at-float64(k)*bin)/bin
		means[k][c.to] += rest
		means[k][c.from] -= rest
		if k+1 < areaBins {
			means[k+1][c.to] += 1 - rest
			means[k+1][c.from] -= 1 - rest
		}
	}
	for k := 1; k < areaBins; k++ {
		for s := range means[k] {
			means[k][s] += means[k-1][s]
		}
	}
	for k := range means {
		for s := range means[k] {
			if means[k][s] < 1e-9 {
				means[k][s] = 0 // what is less comes of rounding
			}
		}
	}
	return means
}

// areaSVG draws the means as areas, one upon the other. id is the picture's in the page.
func areaSVG(id string, means [][16]float64, shown []tcp.State, top float64, span time.Duration) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`<svg viewBox="0 0 1000 262" class="area" role="img" aria-labelledby="%[1]s-title %[1]s-desc">`, id)
	line(`<title id="%s-title">Ends in each state over time</title>`, id)
	line(`<desc id="%s-desc">Stacked areas, bottom to top: %s. At most %.4g ends at once. The table below has the numbers.</desc>`, id, join(shown, ", "), top)
	scale := niceStep(top)
	high := scale
	for high < top {
		high += scale
	}
	y := func(n float64) float64 { return areaTop + areaH*(1-n/high) }
	for n := 0.0; n <= high+scale/2; n += scale {
		line(`<path class="grid" d="M%d %.1fH%d"/><text class="tick" x="%d" y="%.1f" text-anchor="end">%s</text>`,
			areaLeft, y(n), areaLeft+areaW, areaLeft-6, y(n)+4, tickText(n))
	}
	below := make([]float64, len(means))
	x := func(k int) float64 { return areaLeft + areaW*float64(k)/areaBins }
	for _, s := range shown {
		above := slices.Clone(below)
		widest, at := 0.0, 0
		for k := range means {
			above[k] += means[k][s]
			if means[k][s] > widest && k > 12 && k < areaBins-12 {
				widest, at = means[k][s], k
			}
		}
		// Along the upper edge to the right, and along the lower one back.
		var edge strings.Builder
		at1 := y(above[0])
		fmt.Fprintf(&edge, "M%d %.1f", areaLeft, at1)
		to := func(k int, n float64) {
			if at2 := y(n); math.Abs(at2-at1) > 0.05 {
				at1 = at2
				fmt.Fprintf(&edge, "H%.1fV%.1f", x(k), at1)
			}
		}
		for k := range above {
			to(k, above[k])
		}
		for k := areaBins - 1; k >= 0; k-- {
			to(k+1, below[k])
		}
		fmt.Fprintf(&edge, "H%dZ", areaLeft)
		line(`<path class="s-%v" d="%s"><title>%v</title></path>`, s, edge.String(), s)
		if room := 0; widest/high*areaH > 15 {
			for k := max(0, at-14); k < min(areaBins, at+14); k++ {
				if means[k][s] > widest*0.8 {
					room++
				}
			}
			if room > 20 {
				line(`<text class="area-label t-%v" x="%.1f" y="%.1f" text-anchor="middle">%v</text>`, s, x(at), y(below[at]+means[at][s]/2)+4, s)
			}
		}
		below = above
	}
	tick := niceStep(float64(span))
	for t := 0.0; t <= float64(span); t += tick {
		line(`<text class="tick" x="%.1f" y="%d" text-anchor="middle">+%s</text>`, areaLeft+areaW*t/float64(span), areaTop+areaH+18, text.Human(time.Duration(t)))
	}
	line(`</svg>`)
	return b.String()
}

// niceStep returns a round step that divides top into two to five.
func niceStep(top float64) float64 {
	step := 1.0
	for step*5 < top {
		for _, f := range []float64{2, 2.5, 2} { // 1, 2, 5, 10
			if step *= f; step*5 >= top {
				break
			}
		}
	}
	return step
}

func tickText(n float64) string { return text.Thousands(uint64(n)) }

// join writes values with a separator between them.
func join[T fmt.Stringer](list []T, sep string) string {
	var words []string
	for _, v := range list {
		words = append(words, v.String())
	}
	return strings.Join(words, sep)
}

// A move is what a segment or a timer did to an end: it may be more than one thing
// at once, as a SYN,ACK is, and then the end was in no state between.
type move struct {
	from tcp.State
	on   tcp.InputSet
	to   tcp.State
}

// moveCounts is how often each move was made.
type moveCounts map[move]*moveCount

// A moveCount is of one move.
type moveCount struct{ made, assumed int }

// count counts the moves of an end through its history. A step to which what
// happened does not lead (an end seen midway, or one that a proof puts elsewhere) is
// left out.
func (c moveCounts) count(history []tracker.Step) {
	from := []tcp.State{tcp.Closed, tcp.Listen}
	for i := range history {
		s := &history[i]
		for _, f := range from {
			on := f.Set().Effective(s.Inputs)
			if on == 0 || f.Set().After(on) != s.State.Set() {
				continue
			}
			m := move{f, on, s.State}
			if c[m] == nil {
				c[m] = new(moveCount)
			}
			c[m].made++
			if s.Basis == tcp.ByAssumption {
				c[m].assumed++
			}
			break
		}
		from = []tcp.State{s.State}
	}
}

// A moveRow is a move, with how often it was made.
type moveRow struct {
	From, On, To  string
	Made, Assumed int
}

// rows returns the moves that were made, those of the transition table in its order,
// then those that are more than one row of it at once.
func (c moveCounts) rows() []moveRow {
	place := make(map[move]int)
	for i, row := range tcp.Transitions() {
		place[move{row.From, row.On.Set(), row.To}] = i + 1
	}
	moves := slices.SortedFunc(maps.Keys(c), func(a, b move) int {
		last := len(place) + 1
		return cmp.Or(
			cmp.Compare(cmp.Or(place[a], last), cmp.Or(place[b], last)),
			cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to), cmp.Compare(a.on, b.on))
	})
	var list []moveRow
	for _, m := range moves {
		list = append(list, moveRow{m.from.String(), m.on.String(), m.to.String(), c[m].made, c[m].assumed})
	}
	return list
}

// machineSVG draws the transition diagram with the counts at its arrows.
func machineSVG(counts moveCounts) string {
	picture := catalogue.Machine("", true, func(from tcp.State, on tcp.InputSet, to tcp.State) string {
		if c := counts[move{from, on, to}]; c != nil {
			return fmt.Sprintf("%v ×%s", on, text.Thousands(uint64(c.made)))
		}
		return on.String()
	})
	return strings.Replace(string(picture), `viewBox="0 0 1020 990"`, `viewBox="0 74 1020 916"`, 1) // the page has a title of its own
}
