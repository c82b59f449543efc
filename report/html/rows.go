package html

import (
	"cmp"
	"encoding/json"
	"strconv"

	"github.com/tcpwatch/tcpwatch/report/ladder"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// The data of a page, and the part of its script that reads it. A connection is
// an array, in the order of appendRow, which rowScript takes apart and has the
// columns of; names that repeat are numbers of a list. Times are microseconds,
// those of connections from the capture's first packet on.

// names are the lists of names.
type names struct{ hosts, kinds, events nameList }

// A nameList numbers names in the order in which they come.
type nameList struct {
	Names []string
	index map[string]int
}

// number returns the number of a name.
func (l *nameList) number(name string) int {
	i, known := l.index[name]
	if !known {
		if l.index == nil {
			l.index = make(map[string]int)
		}
		i = len(l.Names)
		l.index[name] = i
		l.Names = append(l.Names, name)
	}
	return i
}

// stepLetters are what a step's state and basis are written as, by the state
// times the number of bases, and the basis.
const stepLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_!$*()="

var _ [len(stepLetters) - int(tcp.NumStates)*int(tcp.NumBases)]struct{} // there are enough, or this does not compile

// encodeHistory writes the steps of an end: of each a letter, the number of
// its event, the time since the step before (of the first, since the
// connection's start), and the frames since (left out of a timer), as in
// "Q0.0.1 W1.2ye.1". Numbers have base 36.
func (h *page) encodeHistory(r *tracker.Record, e tcp.Endpoint) string {
	var b []byte
	at, packet := int64(0), 0
	for i := range r.Ends[e].History {
		s := &r.Ends[e].History[i]
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, stepLetters[int(tcp.NumBases)*int(s.State)+int(s.Basis)])
		b = strconv.AppendInt(b, int64(h.names.events.number(s.Inputs.String())), 36)
		t := s.Time.Sub(r.Start).Microseconds()
		b = strconv.AppendInt(append(b, '.'), t-at, 36)
		if at = t; s.Packet > 0 {
			b = strconv.AppendInt(append(b, '.'), int64(s.Packet-packet), 36)
			packet = s.Packet
		}
	}
	return string(b)
}

// encode returns the data of the page, and how many connections have a ladder.
func (h *page) encode(s *record.Summary) ([]byte, int) {
	rows := []byte("[")
	called := make(map[int][2]string) // names of the ends
	for _, row := range h.Rows {
		if history, listed := h.history[row.Conn]; listed {
			rows = h.appendRow(append(text.AppendComma(rows), '\n'), row.Record, history, s.First)
			if names := row.Record.Names(); h.opts.Names && names != [2]string{} {
				called[row.Conn] = [2]string{text.HostName(names[0]), text.HostName(names[1])}
			}
		}
	}
	rows = append(rows, "\n]"...)
	var states []string
	for _, state := range append([]tcp.State{tcp.Unknown}, tcp.States()...) {
		states = append(states, state.String())
	}
	var bases, closers, origins []string
	for b := tcp.BySending; b < tcp.NumBases; b++ {
		bases = append(bases, b.String())
	}
	for c := tcp.NotClosed; c < tcp.NumClosedBy; c++ {
		closers = append(closers, c.String())
	}
	for o := tcp.FromSYN; o <= tcp.FromMidstream; o++ {
		origins = append(origins, o.String())
	}
	var ladders map[int]*ladder.Page
	open := 0 // the ladder that is shown at first
	if h.ladders != nil {
		ladders, open = h.ladders.Pages(max(s.Last, s.Now))
	}
	data, err := json.Marshal(map[string]any{
		"span":   max(s.Last, s.Now).Sub(s.First).Microseconds(),
		"states": states, "bases": bases, "closers": closers, "origins": origins, "letters": stepLetters,
		"certainties": tcp.NumCertainties,
		"hosts":       h.names.hosts.Names, "kinds": h.names.kinds.Names, "events": h.names.events.Names,
		"ladders": ladders, "open": open,
	})
	if err != nil {
		panic("html: a page that cannot be encoded: " + err.Error())
	}
	data = data[:len(data)-1]
	if len(called) > 0 {
		names, err := json.Marshal(called)
		if err != nil {
			panic("html: names that cannot be encoded: " + err.Error())
		}
		data = append(append(data, `,"called":`...), names...)
	}
	data = append(data, `,"rows":`...)
	return append(append(data, escapeData(rows)...), '}'), len(ladders)
}

// appendRow appends a connection.
func (h *page) appendRow(b []byte, r *tracker.Record, history [2]string, first tcp.Time) []byte {
	b = strconv.AppendInt(append(b, '['), int64(r.Conn), 10)
	number := func(n int64) { b = strconv.AppendInt(append(b, ','), n, 10) }
	for e := range r.Ends {
		end := &r.Ends[e]
		number(int64(h.names.hosts.number(end.Addr.Addr().String())))
		number(int64(end.Addr.Port()))
		number(int64(tcp.NumCertainties)*int64(end.State) + int64(end.Certainty))
		number(int64(end.Bytes))
		number(int64(end.Packets))
		number(int64(end.Retransmits))
	}
	number(r.Start.Sub(first).Microseconds())
	number(r.End.Sub(r.Start).Microseconds())
	number(int64(r.ClosedBy))
	number(int64(r.Origin))
	b = append(b, ',', '[')
	for i := range r.Anomalies {
		b = strconv.AppendInt(text.AppendComma(b), int64(h.names.kinds.number(text.Escape(r.Anomalies[i].Kind))), 10)
		b = strconv.AppendInt(append(b, ','), r.Anomalies[i].Time.Sub(r.Start).Microseconds(), 10)
	}
	b = append(b, ']')
	for e := range r.Ends {
		b = text.AppendString(append(b, ','), history[e])
	}
	if c, s := r.Ends[0].Possible, r.Ends[1].Possible; cmp.Or(c, s) != 0 {
		number(int64(c))
		number(int64(s))
	}
	return append(b, ']')
}

// rowScript is what script.js has in the place of rowMark.
const rowScript = `// Connections, as html_rows.go packs them. There may be 100,000: what is asked
// of one is read from its array only then.

class End {
	constructor(row, at, history) { this.row = row; this.at = at; this.history = row[history]; }
	get host() { return data.hosts[this.row[this.at]]; }
	get addr() { return (this.host.includes(':') ? '[' + this.host + ']' : this.host) + ':' + this.row[this.at + 1]; }
	get name() { return data.called?.[this.row[0]]?.[this.at === 1 ? 0 : 1] || ''; }
	get label() { return this.addr + (this.name ? ' (' + this.name + ')' : ''); }
	get code() { return this.row[this.at + 2]; } // the state times the number of certainties, and the certainty
	get state() { return data.states[Math.floor(this.code / data.certainties)]; }
	get assumed() { return this.code % data.certainties === 0 && this.code > 0; } // state 0 is UNKNOWN
	get mark() { return this.state + (this.assumed ? '?' : ''); }
	get text() { return this.mark + this.more; }
	get more() { const p = this.possible; return p.length > 1 ? ' {' + p.join(', ') + '}' : ''; }
	get bytes() { return this.row[this.at + 3]; }
	get packets() { return this.row[this.at + 4]; }
	get again() { return this.row[this.at + 5]; }
	get possible() { return data.states.filter((_, i) => this.row[this.at === 1 ? 20 : 21] >> i & 1); }
}

class Connection {
	constructor(row) { this.row = row; this.client = new End(row, 1, 18); this.server = new End(row, 7, 19); }
	get conn() { return this.row[0]; }
	get start() { return this.row[13]; }
	get span() { return this.row[14]; }
	get closedBy() { return data.closers[this.row[15]]; }
	get origin() { return data.origins[this.row[16]]; }
	get odd() { // in pairs: the kind, and when
		return this.row[17].flatMap((kind, i, list) => i % 2 ? [] : [{kind: data.kinds[kind], at: list[i + 1]}]);
	}
	get kinds() { return this.row[17].length ? [...new Set(this.odd.map(a => a.kind))] : []; }
}

const all = data.rows.map(row => new Connection(row));
const find = conn => all.find(c => c.conn === conn);
const ladders = data.ladders || {};

// steps unpacks the history of an end: times are from the connection's start.
function steps(end) {
	let at = 0, packet = 0;
	return end.history === '' ? [] : end.history.split(' ').map((text, i, list) => {
		const code = data.letters.indexOf(text[0]), [event, dt, frames] = text.slice(1).split('.');
		at += parseInt(dt, 36);
		if (frames !== undefined) packet += parseInt(frames, 36);
		const basis = data.bases[code % data.bases.length];
		return {
			at, packet: frames === undefined ? 0 : packet, state: data.states[Math.floor(code / data.bases.length)], basis,
			event: data.events[parseInt(event, 36)],
			assumed: i === list.length - 1 ? end.assumed : basis === 'assumed',
		};
	});
}
const stepText = s => s.state + (s.assumed ? '?' : '');

// The table.

const columns = [
	{title: 'Conn', n: true, key: c => c.conn, cell: c => el('a', {href: '#conn=' + c.conn}, String(c.conn))},
	{title: 'Client', key: c => c.client.label},
	{title: 'State', key: c => c.client.code, cell: c => stateCell(c.client), text: c => c.client.text},
	{title: 'Server', key: c => c.server.label},
	{title: 'State', key: c => c.server.code, cell: c => stateCell(c.server), text: c => c.server.text},
	{title: 'Sent', n: true, key: c => c.client.bytes},
	{title: 'Received', n: true, key: c => c.server.bytes},
	{title: 'Retr', n: true, key: c => c.client.again + c.server.again},
	{title: 'Start', n: true, key: c => c.start, text: c => '+' + seconds(c.start)},
	{title: 'Duration', n: true, key: c => c.span, text: c => human(c.span)},
	{title: 'Closed by', key: c => c.closedBy},
	{title: 'Anomalies', key: c => c.kinds.join(' '), cell: c => el('span', {}, ...c.kinds.flatMap(k => [el('span', {class: 'kind'}, k), ' '])), wrap: true},
];
const textOf = (column, c) => column.text ? column.text(c) : column.n ? thousands(column.key(c)) : column.key(c);

`

const rowMark = "// Connections: rowScript of rows.go stands here.\n\n"
