package between

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Number writes a count of packets.
func Number(n int) string { return text.Thousands(uint64(n)) }

// Share writes a part of a whole: 0.4 %.
func Share(n, of int) string {
	if of == 0 {
		return "0 %"
	}
	percent := 100 * float64(n) / float64(of)
	switch {
	case n == 0:
		return "0 %"
	case percent < 0.1:
		return "< 0.1 %"
	case percent >= 99.95 && n < of:
		return "> 99.9 %"
	}
	s := strconv.FormatFloat(percent, 'f', 1, 64)
	return strings.TrimSuffix(s, ".0") + " %"
}

// Direction names a way of a pair by its taps: client to server.
func (r *Report) Direction(p *Pair, way int) string {
	from, to := &r.Taps[p.Near], &r.Taps[p.Far]
	if way == 1 {
		from, to = to, from
	}
	return from.name() + " to " + to.name()
}

// labels returns the labels of the taps at which a way of a pair begins and ends.
func (r *Report) labels(p *Pair, way int) (from, to string) {
	from, to = r.Label(p.Near), r.Label(p.Far)
	if way == 1 {
		from, to = to, from
	}
	return from, to
}

// segments writes a count of segments.
func segments(n int) string {
	if n == 1 {
		return "1 segment"
	}
	return Number(n) + " segments"
}

// was is the verb of a count.
func was(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

// Verdict says in a few sentences, for each pair of neighbours, what was lost and what
// was forged, and what cannot be said.
func (r *Report) Verdict() (lines []string) {
	for i := range r.Pairs {
		lines = append(lines, r.verdict(&r.Pairs[i]))
	}
	return lines
}

func (r *Report) verdict(p *Pair) string {
	near, far := r.labels(p, 0)
	sentences := []string{r.lost(p, near, far)}
	for way := range p.Ways {
		w := &p.Ways[way]
		if w.Forged > 0 {
			from, to := r.labels(p, way)
			forged := fmt.Sprintf("%s came to %s without having passed %s: forged between the two, in the name of a host that did not send %s.", segments(w.Forged), to, from, it(w.Forged))
			if p.Ways[0].Lost+p.Ways[1].Lost == 0 {
				sentences = append([]string{forged}, sentences...)
			} else {
				sentences = append(sentences, forged)
			}
		}
	}
	for way := range p.Ways {
		w := &p.Ways[way]
		switch {
		case w.Unknown == 0:
		case w.Unknown >= w.Sent && w.Unknown >= w.Arrived:
			sentences = append(sentences, fmt.Sprintf("Nothing can be compared from %s: only one capture has that direction, or only one was running.", r.Direction(p, way)))
		default:
			sentences = append(sentences, fmt.Sprintf("Whether %s from %s arrived is not known: the other capture was not running, or does not have that direction.", segments(w.Unknown), r.Direction(p, way)))
		}
	}
	return strings.Join(sentences, " ")
}

// it is the pronoun of a count.
func it(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}

// lost is the sentence about what was lost.
func (r *Report) lost(p *Pair, near, far string) string {
	a, b := &p.Ways[0], &p.Ways[1]
	share := func(w *Way, way int) string {
		return fmt.Sprintf("%s of %s (%s) from %s", Number(w.Lost), segments(w.Sent), Share(w.Lost, w.Sent), r.Direction(p, way))
	}
	silent := func(w *Way) bool { return w.Sent == 0 && w.Arrived == 0 }
	switch {
	case silent(a) && silent(b):
		return fmt.Sprintf("Neither %s nor %s has a segment of a connection.", near, far)
	case a.Lost > 0 && b.Lost > 0:
		return fmt.Sprintf("%s and %s were lost between %s and %s.", share(a, 0), share(b, 1), near, far)
	case a.Lost > 0:
		return fmt.Sprintf("%s %s lost between %s and %s; %s.", share(a, 0), was(a.Lost), near, far, otherWay(b))
	case b.Lost > 0:
		return fmt.Sprintf("%s %s lost between %s and %s; %s.", share(b, 1), was(b.Lost), far, near, otherWay(a))
	}
	none := fmt.Sprintf("No segment was lost between %s and %s", near, far)
	switch {
	case silent(b):
		return fmt.Sprintf("%s, of %s from %s; no capture has the other direction.", none, Number(a.Sent), r.Direction(p, 0))
	case silent(a):
		return fmt.Sprintf("%s, of %s from %s; no capture has the other direction.", none, Number(b.Sent), r.Direction(p, 1))
	}
	return fmt.Sprintf("%s, of %s from %s and %s from %s.", none, Number(a.Sent), r.Direction(p, 0), Number(b.Sent), r.Direction(p, 1))
}

// otherWay says of the direction that lost nothing what there is to say.
func otherWay(w *Way) string {
	if w.Sent == 0 && w.Arrived == 0 {
		return "no capture has the other direction"
	}
	return "none the other way"
}

// Summaries say in a line for each direction what became of the packets.
func (r *Report) Summaries() (lines []string) {
	for i := range r.Pairs {
		for way := range r.Pairs[i].Ways {
			lines = append(lines, r.summary(&r.Pairs[i], way))
		}
	}
	return lines
}

func (r *Report) summary(p *Pair, way int) string {
	w := &p.Ways[way]
	head := r.Direction(p, way) + ": "
	if w.Sent == 0 && w.Arrived == 0 {
		return head + "no capture has this direction"
	}
	from, to := r.labels(p, way)
	lost := Number(w.Lost) + " lost"
	if w.Lost > 0 {
		lost += " (" + Share(w.Lost, w.Sent) + ")"
	}
	parts := []string{Number(w.Sent) + " sent", lost}
	for _, part := range []struct {
		n    int
		what string
	}{
		{w.MissedSent, "missed by " + from}, {w.Missed, "missed by " + to},
		{w.Copied, "copied"}, {w.Reordered, "reordered"}, {w.Changed, "changed"}, {w.Forged, "forged"}, {w.Unknown, "unknown"},
	} {
		if part.n > 0 {
			parts = append(parts, Number(part.n)+" "+part.what)
		}
	}
	line := head + strings.Join(parts, ", ")
	if d := &w.Delays; d.N > 0 {
		line += fmt.Sprintf("; one-way delay %s, %s to %s, %s", text.Human(d.Median), text.Human(d.Min), text.Human(d.Max), d.PlusMinus())
	}
	return line
}

// Clocks say how the clocks of the taps run.
func (r *Report) Clocks(style text.TimeStyle, first tcp.Time) (lines []string) {
	for i := range r.Pairs {
		p := &r.Pairs[i]
		near, far := r.labels(p, 0)
		of := p.Clock.Lines(far, near, style, first)
		if len(r.Pairs) > 1 && len(p.Clock.Pieces) > 0 {
			of[0] += " (against " + near + ")"
		}
		lines = append(lines, of...)
	}
	return lines
}

// PlusMinus writes how exact delays are.
func (d *Delays) PlusMinus() string {
	if d.Within == Unbounded {
		return "not bounded"
	}
	return "±" + Bound(d.Within)
}

// DelayNote says what is not known of the delays of a pair; "" where the bounds are
// narrow.
func (p *Pair) DelayNote() string {
	wide := false
	for way := range p.Ways {
		switch d := &p.Ways[way].Delays; {
		case d.N > 0 && d.Within == Unbounded:
			return "How long these took is not known, only by how much they differ: the clocks are compared by packets of one direction alone."
		case d.N > 0 && d.Within > d.Median/4:
			wide = true
		}
	}
	if !wide {
		return ""
	}
	return "The sum of both ways is exact, how it divides is not."
}

// Sentence says which packets something happened to: "3 with 1,448 bytes of data,
// frames 4,5,6 of client.pcap"; "" where there are none.
func (w *Which) Sentence(r *Report, style text.TimeStyle, first tcp.Time) string {
	if w.N == 0 {
		return ""
	}
	var kinds []string
	for _, k := range []struct {
		n    int
		what string
	}{{w.SYN, "SYN"}, {w.FIN, "FIN"}, {w.RST, "RST"}} {
		if k.n > 0 {
			kinds = append(kinds, Number(k.n)+" "+k.what)
		}
	}
	if w.Data > 0 {
		bytes := Number(w.Most)
		if w.Least < w.Most {
			bytes = Number(w.Least) + " to " + bytes
		}
		kinds = append(kinds, fmt.Sprintf("%s with %s bytes of data", Number(w.Data), bytes))
	}
	if n := w.N - w.SYN - w.FIN - w.RST - w.Data; n > 0 {
		kinds = append(kinds, Number(n)+" without data")
	}
	line := strings.Join(kinds, ", ")
	if len(w.Frames) > 0 {
		word := "frames"
		if len(w.Frames) == 1 {
			word = "frame"
		}
		line += fmt.Sprintf("; %s %s of %s", word, text.Frames(w.Frames), r.Label(w.Tap))
	}
	line += ", " + style.Format(w.First, first)
	if w.Last != w.First {
		line += " to " + style.Format(w.Last, first)
	}
	if w.Data > 0 && w.LargestArrived >= 0 && w.Least > w.LargestArrived {
		line += fmt.Sprintf("; no segment of more than %s bytes arrived", Number(w.LargestArrived))
	}
	return line
}
