package table

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A look is what cells depend on beside the record.
type look struct {
	opts  *record.Options
	time  text.TimeStyle
	first tcp.Time // of the capture
	now   tcp.Time // the moment that is shown
}

func newLook(o *record.Options, s *record.Summary) *look {
	return &look{opts: o, time: o.Time, first: s.First, now: cmp.Or(s.Now, s.Last)}
}

// addressColumn is the column of the addresses of one end.
func addressColumn(in tables, title string, end tcp.Endpoint) column {
	return column{in, text.Column{Title: title}, func(r *tracker.Record, l *look) string {
		return text.Address(&r.Ends[end], l.opts.Names)
	}}
}

// stateColumn is the column of the states of one end.
func stateColumn(in tables, end tcp.Endpoint, write func(*tracker.EndRecord) string) column {
	return colored(column{in, text.Column{Title: "State"}, func(r *tracker.Record, _ *look) string {
		return write(&r.Ends[end])
	}})
}

// wordColumn is the column of a field of the record.
func wordColumn(in tables, path string, drop int) column {
	title, write := record.Titled(path)
	return column{in, text.Column{Title: title, Drop: drop}, func(r *tracker.Record, l *look) string {
		return write(r, l.time, l.first)
	}}
}

// numberColumn is that of a field that is a number.
func numberColumn(in tables, path string, drop int) column {
	c := wordColumn(in, path, drop)
	c.Right = true
	return c
}

// colored colours a column of states.
func colored(c column) column {
	c.Color = text.StateColor
	return c
}

// stackColumn tells which stack an end has. One that is guessed is marked as an
// assumed state is.
func stackColumn(in tables, title string, e tcp.Endpoint) column {
	return column{in, text.Column{Title: title}, func(r *tracker.Record, _ *look) string {
		x := &r.Ends[e]
		switch x.StackCertainty {
		case tcp.StackUnknown:
			return "-"
		case tcp.StackGuessed:
			return x.Stack.Stack().Name + "?"
		}
		return x.Stack.Stack().Name
	}}
}

// hostColumn is a column of what the kernels of the ends' hosts say, of the client before
// that of the server: curl/812>nginx/90, or >nginx/90 if one is known. It has no blanks.
func hostColumn(title string, of func(*tcp.Socket) string) column {
	return column{everywhere, text.Column{Title: title, Drop: 6}, func(r *tracker.Record, _ *look) string {
		var said [2]string
		for e := range said {
			if s := r.Ends[e].Socket; s != nil {
				said[e] = text.HostName(of(s))
			}
		}
		if said == [2]string{} {
			return "-"
		}
		return said[0] + ">" + said[1]
	}}
}

// ownerColumn is one of whose the sockets are.
func ownerColumn(title string, of func(*tcp.Owner) string) column {
	return hostColumn(title, func(s *tcp.Socket) string { return of(&s.Owner) })
}

func protocolCell(r *tracker.Record, _ *look) string { return text.Protocol(r.Ends[tcp.Client].Addr) }

func idleCell(r *tracker.Record, l *look) string { return text.Human(max(l.now.Sub(r.End), 0)) }

func ageCell(r *tracker.Record, l *look) string { return text.Human(max(l.now.Sub(r.Start), 0)) }

// anomaliesCell names the anomalies of a connection, each once.
func anomaliesCell(r *tracker.Record, l *look) string {
	var kinds []string
	for a := range l.opts.Anomalies(r) {
		if !slices.Contains(kinds, a.Kind) {
			kinds = append(kinds, a.Kind)
		}
	}
	return text.JoinEscaped(kinds, ",")
}

// stateSetText is text.State with the states that remain possible.
func stateSetText(e *tracker.EndRecord) string {
	if e.Possible.Len() < 2 {
		return text.State(e)
	}
	var names []string
	for _, s := range e.Possible.List() {
		names = append(names, s.String())
	}
	return text.State(e) + "{" + strings.Join(names, ",") + "}"
}

// timersCell tells the timers that run: client:timewait,58sec.
func timersCell(r *tracker.Record, _ *look) string {
	var timers []string
	for i := range r.Ends {
		if t := r.Ends[i].Timer; t.Kind != "" {
			timers = append(timers, tcp.Endpoint(i).String()+":"+text.Timer(t))
		}
	}
	if len(timers) == 0 {
		return "-"
	}
	return strings.Join(timers, ";")
}
