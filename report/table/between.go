package table

import (
	"fmt"
	"strconv"

	"github.com/tcpwatch/tcpwatch/report/between"
	"github.com/tcpwatch/tcpwatch/report/text"
)

// A BetweenGrid is a table of what happened between two neighbours on the path.
type BetweenGrid struct {
	*text.Grid
	Note string // what the table cannot say; "" where that is nothing
}

// BetweenGrids returns the tables that have a row.
func BetweenGrids(r *between.Report, p *between.Pair) (list []BetweenGrid) {
	for _, g := range []BetweenGrid{
		{countsOfPair(r, p), ""}, {delaysOfPair(r, p), p.DelayNote()}, {changesOfPair(r, p), ""}, {rewritingsOfPair(r, p), ""}, {worstOfPair(p), ""},
	} {
		if len(g.Rows) > 0 {
			list = append(list, g)
		}
	}
	return list
}

// some writes a count; "-" where there are none, so that the others stand out.
func some(n int) string {
	if n == 0 {
		return "-"
	}
	return between.Number(n)
}

// The first titles of the tables that have a row for each direction.
const (
	directionTitle = "Direction"
	delayTitle     = "One-Way Delay"
)

// countsOfPair lays out what became of the packets.
func countsOfPair(r *between.Report, p *between.Pair) *text.Grid {
	near, far := r.Label(p.Near), r.Label(p.Far)
	g := &text.Grid{Columns: []text.Column{{Title: directionTitle}}}
	for _, title := range []string{"Sent", "Arrived", "Lost", "Lost %", "Missed by " + near, "Missed by " + far, "Copied", "Reordered", "Changed", "Forged", "Unknown"} {
		g.Columns = append(g.Columns, text.Column{Title: title, Right: true})
	}
	for way := range p.Ways {
		w := &p.Ways[way]
		missedNear, missedFar, share := w.MissedSent, w.Missed, "-"
		if w.Sent > 0 {
			share = between.Share(w.Lost, w.Sent)
		}
		if way == 1 {
			missedNear, missedFar = missedFar, missedNear
		}
		g.Rows = append(g.Rows, []string{
			r.Direction(p, way), some(w.Sent), some(w.Arrived), some(w.Lost), share, some(missedNear), some(missedFar),
			some(w.Copied), some(w.Reordered), some(w.Changed), some(w.Forged), some(w.Unknown),
		})
	}
	return g
}

// delaysOfPair lays out the one-way delays.
func delaysOfPair(r *between.Report, p *between.Pair) *text.Grid {
	g := &text.Grid{Columns: []text.Column{
		{Title: delayTitle}, {Title: "Min", Right: true}, {Title: "Median", Right: true}, {Title: "90 %", Right: true}, {Title: "99 %", Right: true},
		{Title: "Max", Right: true}, {Title: "Bound", Right: true}, {Title: "Hops", Right: true},
	}}
	for way := range p.Ways {
		w := &p.Ways[way]
		d := &w.Delays
		if d.N == 0 {
			continue
		}
		g.Rows = append(g.Rows, []string{
			r.Direction(p, way), text.Human(d.Min), text.Human(d.Median), text.Human(d.P90), text.Human(d.P99), text.Human(d.Max),
			d.PlusMinus(), strconv.Itoa(w.Hops),
		})
	}
	return g
}

// changesOfPair lays out what was changed on the way.
func changesOfPair(r *between.Report, p *between.Pair) *text.Grid {
	g := &text.Grid{Columns: []text.Column{{Title: "Changed on the Way"}, {Title: "What"}, {Title: "Packets", Right: true}}}
	for way := range p.Ways {
		for _, change := range p.Ways[way].Changes {
			g.Rows = append(g.Rows, []string{r.Direction(p, way), between.ChangeWords[change.What], between.Number(change.Packets)})
		}
	}
	return g
}

// rewritingsOfPair lays out the addresses that were translated.
func rewritingsOfPair(r *between.Report, p *between.Pair) *text.Grid {
	near, far := r.Label(p.Near), r.Label(p.Far)
	g := &text.Grid{Columns: []text.Column{{Title: "Translated at " + near}, {Title: "To"}, {Title: "Becomes at " + far}, {Title: "To"}}}
	for i, w := range p.Rewritings {
		if i == shownRewritings && p.Rewritten > shownRewritings+1 {
			g.Rows = append(g.Rows, []string{fmt.Sprintf("and %s more", between.Number(p.Rewritten-i)), "", "", ""})
			break
		}
		g.Rows = append(g.Rows, []string{w.Near[0].String(), w.Near[1].String(), w.Far[0].String(), w.Far[1].String()})
	}
	return g
}

// worstOfPair lays out the connections that lost the most.
func worstOfPair(p *between.Pair) *text.Grid {
	g := &text.Grid{Columns: []text.Column{
		{Title: "Worst Connections"}, {Title: "Server"}, {Title: "Client Lost", Right: true}, {Title: "Of", Right: true}, {Title: "Server Lost", Right: true}, {Title: "Of", Right: true},
		{Title: "Delay from Client", Right: true}, {Title: "from Server", Right: true},
	}}
	median := func(d *between.Delays) string {
		if d.N == 0 {
			return "-"
		}
		return text.Human(d.Median)
	}
	for _, w := range p.Worst[:min(len(p.Worst), shownConnections)] {
		client, server := &w.Ways[0], &w.Ways[1]
		g.Rows = append(g.Rows, []string{
			w.Client.String(), w.Server.String(), some(client.Lost), between.Number(client.Sent), some(server.Lost), between.Number(server.Sent),
			median(&client.Delays), median(&server.Delays),
		})
	}
	return g
}
