package report

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker"
)

// The format html: one page that needs nothing else, neither a network nor a
// file beside it. What does not change while it is read (the anomalies, the
// states over time, TIME_WAIT, the transition diagram) is written here; the
// table, the timelines and the ladders are drawn by html/script.js from the
// data that the page carries.
//
//	html.go          the page
//	html_rows.go     its data: a connection, with the history of both ends
//	html_ladder.go   its data: a ladder
//	html_loss.go     which segments did not arrive, as far as a ladder tells
//	html_pictures.go the states over time, and how often each arrow was taken
//
// Ladders need the segments, which a Printer does not get. Whoever can read the
// capture again asks LaddersOf, after the tracker is closed and before Close,
// and plays it once more; without that the page says that it has no ladders.
//
// A page stays small enough to be sent: what is left out is said in it.

const (
	htmlRows     = 100_000 // connections that are listed
	htmlOfKind   = 100     // sentences of one kind
	htmlSegments = 10_000  // segments that are drawn, of all ladders
	htmlOfLadder = 2_000   // and of one, before what tells nothing is folded
)

//go:embed html/page.html
var htmlTemplate string

//go:embed html/style.css
var htmlStyle string

//go:embed html/script.js
var htmlScript string

var htmlPage = template.Must(template.New("page").Funcs(template.FuncMap{
	"thousands": func(n int) string { return thousands(uint64(n)) },
}).Parse(htmlTemplate))

// A Failure is a rule of a check that a capture breaks.
type Failure struct {
	Rule   string // as it was given
	Text   string // what broke it
	Conn   int    // 0: no one connection
	Packet int    // 0: no one frame
}

// Fail puts the failures of a check at the head of a page; without any it says
// that all rules hold. Of other formats it does nothing. It is called before
// Close.
func Fail(p Printer, failures []Failure) {
	if h := htmlOf(p); h != nil {
		h.judged, h.failures = true, slices.Clone(failures)
		for i := range h.failures {
			f := &h.failures[i]
			f.Rule, f.Text = Escape(f.Rule), Escape(f.Text)
		}
	}
}

// LaddersOf returns the ladders that the page draws, or nil where the format
// draws none. They are given the segments and the events of the same tracking
// once more; Close of the Printer closes them.
func LaddersOf(p Printer) *Ladders {
	h := htmlOf(p)
	if h == nil {
		return nil
	}
	if h.ladders == nil {
		h.ladders = NewLadders(nil, h.wanted(), LadderOptions{Absolute: h.opts.Absolute, All: h.opts.All, whole: htmlOfLadder})
	}
	return h.ladders
}

// htmlOf returns the page that p prints, or nil.
func htmlOf(p Printer) *html {
	h, _ := formatOf(p).(*html)
	return h
}

// html prints the page.
type html struct {
	quiet
	connections
	out      *bufio.Writer
	opts     *Options
	names    htmlNames
	history  map[int][2]string // by connection, encoded
	changes  []stateChange
	arrows   arrowCounts
	ladders  *Ladders
	judged   bool
	failures []Failure
}

func newHTML(out *bufio.Writer, o *Options, by order) format {
	return &html{out: out, opts: o, connections: connections{by: by}, history: make(map[int][2]string), arrows: make(arrowCounts)}
}

func (h *html) connection(r *tracker.Record) error {
	h.keep(r)
	if len(h.rows) <= htmlRows {
		h.history[r.Conn] = [2]string{h.encodeHistory(r, tracker.Client), h.encodeHistory(r, tracker.Server)}
	}
	for e := range r.Ends {
		h.changes = appendChanges(h.changes, r.Ends[e].History)
		h.arrows.count(r.Ends[e].History)
	}
	return nil
}

func (h *html) many(a *tracker.Anomaly) error {
	h.keepMany(a)
	return nil
}

// wanted returns the connections that get a ladder, as many as there is room
// for: the worst first, then the first.
func (h *html) wanted() []*tracker.Record {
	var list []*tracker.Record
	for _, row := range h.rows {
		list = append(list, row.rec)
	}
	worst := func(r *tracker.Record) (n int) {
		for i := range r.Anomalies {
			n = max(n, 1+int(r.Anomalies[i].Severity))
		}
		return n
	}
	slices.SortFunc(list, func(a, b *tracker.Record) int {
		return cmp.Or(worst(b)-worst(a), a.Conn-b.Conn)
	})
	room := uint64(htmlSegments)
	for i, r := range list {
		n := min(r.Ends[tracker.Client].Packets+r.Ends[tracker.Server].Packets, htmlOfLadder)
		if n > room {
			return list[:i]
		}
		room -= n
	}
	return list
}

// htmlView is what the template is given.
type htmlView struct {
	Policy, Style, Script, Data any

	Name, Nothing, Totals string
	Judged                bool
	Failures              []Failure
	States                []htmlCount
	Groups                []htmlGroup
	Listed, Rows          int
	Drawn                 int
	Ladders               bool
	Segments              int
	OverTime              overTime
	Servers, Clients      htmlTable
	Machine               template.HTML
	Arrows                []arrowRow
}

// htmlCount is how many ends are in a state.
type htmlCount struct {
	State                 string
	Client, Server, Total int
}

// htmlGroup is the anomalies of one kind.
type htmlGroup struct {
	Kind, Severity, RFC, Title string
	Count, Hidden              int
	List                       []htmlAnomaly
}

// htmlAnomaly is an anomaly with its sentence.
type htmlAnomaly struct {
	Conn  int
	Facts []string
	Text  string
}

// htmlTable is a table of which not all may be shown.
type htmlTable struct {
	Caption string
	Titles  []string
	Rows    [][]string
	More    int
}

func (h *html) close(s *Summary, t *tally) error {
	h.sort()
	v := &htmlView{
		Name: Escape(h.opts.Name), Totals: totalsLine(s, t), Judged: h.judged, Failures: h.failures,
		Listed: t.listed, Rows: min(t.listed, htmlRows), Ladders: h.ladders != nil, Segments: htmlSegments,
		Groups: h.htmlGroups(s), Arrows: h.arrows.rows(), Machine: template.HTML(machineSVG(h.arrows)),
	}
	if t.listed == 0 {
		v.Nothing = nothing(s, t, h.opts)
	}
	for _, state := range t.states.frequent() {
		n := t.states[state]
		v.States = append(v.States, htmlCount{state.String(), n[tracker.Client], n[tracker.Server], t.states.total(state)})
	}
	v.OverTime = drawOverTime(h.changes, s.First, max(s.Last, s.Now))
	v.Servers, v.Clients = h.timeWaitTables(s)
	var data []byte
	data, v.Drawn = h.encode(s)
	v.Style, v.Script, v.Data = template.CSS(htmlStyle), template.JS(htmlScript), template.JS(data)
	v.Policy = fmt.Sprintf("default-src 'none'; style-src %s; script-src %s; base-uri 'none'; form-action 'none'",
		policyHash(htmlStyle), policyHash(htmlScript))
	return htmlPage.Execute(h.out, v)
}

// policyHash names text in a Content-Security-Policy.
func policyHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// htmlGroups are the anomalies as the page lists them.
func (h *html) htmlGroups(s *Summary) []htmlGroup {
	titles := make(map[string]string)
	for _, k := range tracker.Kinds() {
		titles[k.Name] = k.Title
	}
	var list []htmlGroup
	for _, g := range h.groups(htmlOfKind) {
		out := htmlGroup{
			Kind: Escape(g.kind), Severity: g.severity.String(), RFC: Escape(g.rfc), Title: titles[g.kind],
			Count: len(g.list) + g.hidden, Hidden: g.hidden,
		}
		for _, a := range g.list {
			told := facts(a, h.opts.Time, s.First)
			if a.Conn > 0 {
				told = told[1:]
			}
			out.List = append(out.List, htmlAnomaly{a.Conn, told, Escape(a.Text)})
		}
		list = append(list, out)
	}
	return list
}

// timeWaitTables are the tables of timewait.go.
func (h *html) timeWaitTables(s *Summary) (byServer, byClient htmlTable) {
	for i, g := range h.timeWaitGrids(h.opts, s) {
		table := []*htmlTable{&byServer, &byClient}[i]
		table.Caption = []string{"Servers", "Clients"}[i]
		for _, c := range g.columns {
			table.Titles = append(table.Titles, c.title)
		}
		table.Rows, table.More = g.rows, g.more
	}
	return byServer, byClient
}

// escapeData makes JSON safe inside of a script element: nothing in it can end
// the element or begin a comment.
func escapeData(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("<"), []byte(`\u003c`))
	b = bytes.ReplaceAll(b, []byte(">"), []byte(`\u003e`))
	return bytes.ReplaceAll(b, []byte("&"), []byte(`\u0026`))
}
