// Package html prints the format html: one page that needs nothing else,
// neither a network nor a file beside it. What does not change while it is read (the anomalies, the
// states over time, TIME_WAIT, the transition diagram) is written here; the
// table, the timelines and the ladders are drawn by script.js from the data that
// the page carries.
//
//	page.go     the page
//	rows.go     its data: a connection, with the history of both ends, and the columns of its table
//	pictures.go the states over time, and how often each move was made
//
// The data of ladders is that of ladder.Page. They need the segments, which a
// Printer does not get. Whoever can read the capture again asks LaddersOf, after
// the tracker is closed and before Close, and plays it once more; without that
// the page says that it has no ladders.
//
// A page stays small enough to be sent: what is left out is said in it.
package html

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/kinds"

	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/check"
	"github.com/tcpwatch/tcpwatch/report/findings"
	"github.com/tcpwatch/tcpwatch/report/ladder"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/table"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

const (
	MostRows     = 100_000 // connections that are listed
	mostOfKind   = 100     // findings of one kind
	mostServices = 100     // services that are listed
	MostSegments = 10_000  // segments that are drawn, of all ladders
	mostOfLadder = 2_000   // and of one, before what tells nothing is folded
)

//go:embed page.html
var pageTemplate string

//go:embed style.css
var style string

//go:embed script.js
var scriptFile string

var script = strings.Replace(scriptFile, rowMark, rowScript, 1)

var filled = template.Must(template.New("page").Funcs(template.FuncMap{
	"thousands": func(n int) string { return text.Thousands(uint64(n)) },
}).Parse(pageTemplate))

// A Ruling is what a check says of a rule.
type Ruling struct {
	Verdict check.Verdict
	Rule    string // as it was given
	Text    string // what broke it, or how often it passed
	Conn    int    // 0: no one connection
	Ends    string // both ends of the connection; "": no one connection
	Packet  int    // 0: no one frame
}

// Judge puts what a check says at the head of a page. Of other formats it does
// nothing. It is called before Close.
func Judge(p record.Printer, rulings []Ruling) {
	h := pageOf(p)
	if h == nil {
		return
	}
	h.judged, h.rulings = true, slices.Clone(rulings)
	// Those of one rule stay together, as they came.
	slices.SortStableFunc(h.rulings, func(a, b Ruling) int { return int(b.Verdict) - int(a.Verdict) })
	for i := range h.rulings {
		r := &h.rulings[i]
		r.Rule, r.Text, r.Ends = text.Escape(r.Rule), text.Escape(r.Text), text.Escape(r.Ends)
	}
}

// Outcome says how many rulings are of which verdict.
func (v *view) Outcome() string {
	n := make(map[check.Verdict]uint64)
	for _, r := range v.Rulings {
		n[r.Verdict]++
	}
	said := "All rules hold."
	switch {
	case n[check.Failed] > 0:
		said = text.Plural(n[check.Failed], "violation", "violations")
	case n[check.Undecided] > 0:
		said = "No rule is broken."
	}
	if n := n[check.Undecided]; n > 0 {
		said = strings.TrimSuffix(said, ".") + fmt.Sprintf(", %d undecided", n)
	}
	return said
}

// LaddersOf returns what draws the ladders of the page, or nil where the format
// draws none. They are given the segments and the events of the same tracking
// once more; Close of the Printer closes them.
func LaddersOf(p record.Printer) *ladder.Printer {
	h := pageOf(p)
	if h == nil {
		return nil
	}
	if h.ladders == nil {
		h.ladders = ladder.New(nil, h.wanted(), ladder.Options{Absolute: h.opts.Absolute, All: h.opts.All, Whole: mostOfLadder, Most: h.mostRungs()})
	}
	return h.ladders
}

// pageOf returns the page that p prints, or nil.
func pageOf(p record.Printer) *page {
	h, _ := record.FormatOf(p).(*page)
	return h
}

// page prints the page.
type page struct {
	table.Connections
	out     *bufio.Writer
	opts    *record.Options
	names   names
	found   findings.Counts
	unsure  int               // ends with more than one possible state
	history map[int][2]string // by connection, encoded
	changes []stateChange
	moves   moveCounts
	ladders *ladder.Printer
	judged  bool
	rulings []Ruling
}

// New makes the format html.
func New(out *bufio.Writer, o *record.Options, by record.Order) record.Format {
	return &page{out: out, opts: o, Connections: table.Connections{By: by, Memory: o.Memory / 4}, history: make(map[int][2]string), moves: make(moveCounts)}
}

func (h *page) Connection(r *tracker.Record) error {
	h.Connections.Connection(r)
	if h.Left == 0 && len(h.Rows) <= MostRows {
		h.history[r.Conn] = [2]string{h.encodeHistory(r, tcp.Client), h.encodeHistory(r, tcp.Server)}
	}
	h.opts.Find(&h.found, r)
	for e := range r.Ends {
		if r.Ends[e].Possible.Len() > 1 {
			h.unsure++
		}
		if h.Left == 0 {
			h.changes = appendChanges(h.changes, r.Ends[e].History)
		}
		h.moves.count(r.Ends[e].History)
	}
	return nil
}

// Many takes an anomaly over many connections.
func (h *page) Many(a *anomaly.Anomaly) error {
	h.found.Anomaly(a, nil)
	return nil
}

// wanted returns the connections that get a ladder, as many as there is room
// for: the worst first, then the first.
func (h *page) wanted() []*tracker.Record {
	var list []*tracker.Record
	for _, row := range h.Rows {
		list = append(list, row.Record)
	}
	most := uint64(mostOfLadder)
	if h.opts.All {
		most = MostSegments
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
	room := uint64(MostSegments)
	for i, r := range list {
		n := min(r.Ends[tcp.Client].Packets+r.Ends[tcp.Server].Packets, most)
		if n > room {
			return list[:i]
		}
		room -= n
	}
	return list
}

// mostRungs is how many rungs of a ladder the page has at most; of more those in the
// middle are folded.
func (h *page) mostRungs() int {
	if h.opts.All {
		return MostSegments
	}
	return 2 * mostOfLadder
}

// view is what the template is given.
type view struct {
	Policy, Style, Script, Data any

	Name, Nothing, Totals string
	Alarm, Undecided      string
	Judged                bool
	Rulings               []Ruling
	States                []stateCount
	Groups                []kindGroup
	Listed, Rows          int
	Left                  bool // for want of memory
	Drawn                 int
	Ladders               bool
	Segments              int
	OverTime              overTime
	Between               []betweenTwo
	Services              shownTable
	Servers, Clients      shownTable
	Machine               template.HTML
	Moves                 []moveRow
}

// stateCount is how many ends are in a state.
type stateCount struct {
	State                 string
	Client, Server, Total int
}

// kindGroup is the findings of one kind.
type kindGroup struct {
	Kind, Severity, RFC, Title string
	Count                      int // of anomalies
	List                       []finding
	Hidden                     int // findings that are not in List
}

// A finding is anomalies that say the same, with what the newest of them says.
type finding struct {
	Count     int
	Place     string
	Conns     []int // the first
	Conn      int   // of the newest
	Ambiguous bool
	Facts     []string
	Text      string
}

// shownTable is a table of which not all may be shown.
type shownTable struct {
	Caption string
	Titles  []string
	Rows    [][]string
	More    int    // rows that are not shown
	Note    string // what the table cannot say
}

func (h *page) Close(s *record.Summary, t *record.Tally) error {
	h.Sort()
	v := &view{
		Name: text.Escape(h.opts.Name), Totals: record.TotalsLine(s, t), Judged: h.judged, Rulings: h.rulings,
		Listed: t.Listed, Rows: min(len(h.Rows), MostRows), Left: h.Left > 0, Ladders: h.ladders != nil, Segments: MostSegments,
		Groups: h.kindGroups(s), Moves: h.moves.rows(), Machine: template.HTML(machineSVG(h.moves)),
	}
	if len(v.Groups) > 0 {
		v.Alarm = h.found.Alarm(false)
	}
	v.Undecided = h.undecided()
	if t.Listed == 0 {
		v.Nothing = record.Nothing(s, t, h.opts)
	}
	for _, state := range t.States.Frequent() {
		n := t.States[state]
		v.States = append(v.States, stateCount{state.String(), n[tcp.Client], n[tcp.Server], t.States.Total(state)})
	}
	v.OverTime = drawOverTime(h.changes, s.First, max(s.Last, s.Now))
	v.Between = h.betweenTaps(s)
	v.Services = h.serviceTable(t)
	v.Servers, v.Clients = h.timeWaitTables(s)
	var data []byte
	data, v.Drawn = h.encode(s)
	v.Style, v.Script, v.Data = template.CSS(style), template.JS(script), template.JS(data)
	v.Policy = fmt.Sprintf("default-src 'none'; style-src %s; script-src %s; base-uri 'none'; form-action 'none'",
		policyHash(style), policyHash(script))
	return filled.Execute(h.out, v)
}

// policyHash names text in a Content-Security-Policy.
func policyHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// undecided tells what the capture leaves open; "" where that is nothing.
func (h *page) undecided() string {
	var parts []string
	if h.unsure > 0 {
		parts = append(parts, text.Plural(uint64(h.unsure), "end has", "ends have")+" more than one possible state")
	}
	n := 0
	for _, f := range h.found.List() {
		if f.Confidence == anomaly.ConfidenceAmbiguous {
			n += f.Count
		}
	}
	if n > 0 {
		parts = append(parts, text.Plural(uint64(n), "anomaly is", "anomalies are")+" ambiguous: the same packets have other explanations")
	}
	if parts == nil {
		return ""
	}
	return "Undecided: " + strings.Join(parts, ", ") + "."
}

// kindGroups are the findings as the page lists them.
func (h *page) kindGroups(s *record.Summary) (list []kindGroup) {
	titles := make(map[string]string)
	for _, k := range kinds.All() {
		titles[k.Name] = k.Title
	}
	for _, g := range h.found.Groups(mostOfKind) {
		of := kindGroup{Kind: text.Escape(g.Kind), Severity: g.Severity.String(), RFC: text.Escape(g.RFC), Title: titles[g.Kind], Count: g.Count, Hidden: len(g.More)}
		for _, f := range g.List {
			facts := table.FactsOf(&f.Last, h.opts.Time, s.First)[1:] // where is told apart
			of.List = append(of.List, finding{f.Count, f.Place(), f.Conns(), f.Last.Conn, f.Confidence == anomaly.ConfidenceAmbiguous, facts, text.Escape(text.WithNext(f.Last.Text, f.Last.Next))})
		}
		list = append(list, of)
	}
	return list
}

// betweenTwo is what happened between two neighbours on the path.
type betweenTwo struct {
	Lines  []string
	Tables []shownTable
}

// betweenTaps tells what happened between captures of several places, as compare does.
func (h *page) betweenTaps(s *record.Summary) (list []betweenTwo) {
	r := s.Between
	if r == nil {
		return nil
	}
	verdict, clocks := r.Verdict(), r.Clocks(h.opts.Time, s.First)
	for i := range r.Pairs {
		of := betweenTwo{Lines: verdict[i : i+1]}
		if i == 0 {
			of.Lines = append(of.Lines[:1:1], clocks...)
		}
		for _, g := range table.BetweenGrids(r, &r.Pairs[i]) {
			of.Tables = append(of.Tables, shownTable{Caption: g.Columns[0].Title, Titles: g.Titles(), Rows: g.Rows, Note: g.Note})
		}
		list = append(list, of)
	}
	return list
}

// serviceTable is the table of package table.
func (h *page) serviceTable(t *record.Tally) shownTable {
	g, more := table.ServiceGrid(h.opts, t.Services, mostServices)
	return shownTable{Caption: table.ServicesTitle(h.opts), Titles: g.Titles(), Rows: g.Rows, More: more}
}

// timeWaitTables are the tables of package table.
func (h *page) timeWaitTables(s *record.Summary) (byServer, byClient shownTable) {
	for i, g := range h.TimeWaits(h.opts, s) {
		table := []*shownTable{&byServer, &byClient}[i]
		table.Caption = []string{"Servers", "Clients"}[i]
		for _, c := range g.Columns {
			table.Titles = append(table.Titles, c.Title)
		}
		table.Rows, table.More = g.Rows, g.More
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
