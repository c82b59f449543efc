package record

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/tcpwatch/tcpwatch/report/between"
	"github.com/tcpwatch/tcpwatch/report/text"
)

// appendTaps appends the taps as they lie on the path, as an array. Each but the first
// has what happened between it and the one before.
func appendTaps(b []byte, r *between.Report) []byte {
	b = append(b, '[')
	for i := range r.Taps {
		t := &r.Taps[i]
		b = append(text.AppendComma(b), '{')
		b = text.AppendString(appendKey(b, "name"), t.Name)
		b = append(appendKey(b, "files"), '[')
		for _, file := range t.Files {
			b = text.AppendString(text.AppendComma(b), file)
		}
		b = append(b, ']')
		if i > 0 && i <= len(r.Pairs) {
			b = appendPair(b, r, &r.Pairs[i-1])
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

// appendPair appends what happened between two neighbours, without braces.
func appendPair(b []byte, r *between.Report, p *between.Pair) []byte {
	b = appendClock(b, &p.Clock)
	b = appendInt(appendKey(b, "connections"), p.Connections)
	b = appendInt(appendKey(b, "rewritten"), p.Rewritten)
	near, far := r.Taps[p.Near].Name, r.Taps[p.Far].Name
	b = appendWay(appendKey(b, "forward"), near, far, &p.Ways[0])
	b = appendWay(appendKey(b, "back"), far, near, &p.Ways[1])
	b = append(appendKey(b, "rewritings"), '[')
	for i := range p.Rewritings {
		w := &p.Rewritings[i]
		b = append(text.AppendComma(b), '{')
		for _, at := range []struct {
			key  string
			ends [2]netip.AddrPort
		}{{"near", w.Near}, {"far", w.Far}} {
			b = append(appendKey(b, at.key), '{')
			b = text.AppendString(appendKey(b, "client"), at.ends[0].String())
			b = append(text.AppendString(appendKey(b, "server"), at.ends[1].String()), '}')
		}
		b = append(b, '}')
	}
	b = append(appendKey(append(b, ']'), "worst"), '[')
	for i := range p.Worst {
		w := &p.Worst[i]
		b = append(text.AppendComma(b), '{')
		b = text.AppendString(appendKey(b, "client"), w.Client.String())
		b = text.AppendString(appendKey(b, "server"), w.Server.String())
		b = appendWay(appendKey(b, "from_client"), "", "", &w.Ways[0])
		b = append(appendWay(appendKey(b, "from_server"), "", "", &w.Ways[1]), '}')
	}
	return append(b, ']')
}

// appendClock appends how a clock runs, as it began, and its steps.
func appendClock(b []byte, c *between.Clock) []byte {
	for i := range c.Pieces {
		p := &c.Pieces[i]
		switch i {
		case 0:
			b = appendPiece(b, p)
			b = append(appendKey(b, "steps"), '[')
			continue
		}
		b = append(text.AppendComma(b), '{')
		b = appendInstant(appendKey(b, "ts"), p.From)
		b = text.AppendSeconds(appendKey(b, "by_seconds"), p.Step)
		b = append(appendPiece(b, p), '}')
	}
	if len(c.Pieces) > 0 {
		b = append(b, ']')
	}
	return b
}

func appendPiece(b []byte, p *between.Piece) []byte {
	b = text.AppendSeconds(appendKey(b, "ahead_seconds"), p.Offset)
	if p.Within != between.Unbounded {
		b = text.AppendSeconds(appendKey(b, "within_seconds"), p.Within)
	}
	return strconv.AppendFloat(appendKey(b, "drift_ppm"), p.Drift*1e6, 'f', 3, 64)
}

// appendWay appends what happened in one direction; of a connection without the names
// of the taps.
func appendWay(b []byte, from, to string, w *between.Way) []byte {
	b = append(b, '{')
	if from != "" {
		b = text.AppendString(appendKey(b, "from"), from)
		b = text.AppendString(appendKey(b, "to"), to)
	}
	for _, count := range []struct {
		key string
		n   int
	}{
		{"sent", w.Sent}, {"arrived", w.Arrived}, {"lost", w.Lost}, {"missed_from", w.MissedSent}, {"missed_to", w.Missed},
		{"copied", w.Copied}, {"reordered", w.Reordered}, {"changed", w.Changed}, {"forged", w.Forged}, {"unknown", w.Unknown},
	} {
		b = appendInt(appendKey(b, count.key), count.n)
	}
	if from != "" {
		b = append(appendKey(b, "changes"), '{')
		for _, c := range w.Changes {
			b = appendInt(appendKey(b, c.What), c.Packets)
		}
		b = appendInt(appendKey(append(b, '}'), "hops"), w.Hops)
	}
	if d := &w.Delays; d.N > 0 {
		b = appendInt(append(appendKey(b, "delay"), `{"count":`...), d.N)
		for _, at := range []struct {
			key string
			d   time.Duration
		}{{"min", d.Min}, {"p50", d.Median}, {"p90", d.P90}, {"p99", d.P99}, {"max", d.Max}, {"within", d.Within}} {
			if at.d != between.Unbounded {
				b = text.AppendSeconds(appendKey(b, at.key), at.d)
			}
		}
		b = append(b, '}')
	}
	return append(b, '}')
}
