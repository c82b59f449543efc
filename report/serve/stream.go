package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/tcpwatch/tcpwatch/report/findings"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/table"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

const (
	shownRows   = 500 // of the table, on the page
	shownGroups = 100 // services, and findings
	keptPoints  = 600 // in time: ten minutes, at a refresh a second
	MaxClients  = 64  // that are sent events at once
	mostMatch   = 100 // octets of the words that rows are to hold
)

// A frame is what is shown of one Snapshot.
type frame struct {
	snapshot *record.Snapshot
	states   [16][2]int // ends of the connections that are kept, by state
	points   []point    // the newest, up to this frame
	outdated chan struct{}

	once  sync.Once
	table []byte // for the page; made when the first client asks
}

// A point is how many ends were in which state at one moment.
type point struct {
	Time   int64          `json:"t"` // in milliseconds since the epoch
	States map[string]int `json:"states"`
}

// newFrame returns the frame of a Snapshot, in which the connections that are
// over are not kept any more, and which follows the points before it.
func newFrame(s *record.Snapshot, before []point) *frame {
	f := &frame{snapshot: s, outdated: make(chan struct{})}
	for _, r := range s.Records[s.Over:] {
		for e := range r.Ends {
			f.states[r.Ends[e].State][e]++
		}
	}
	if s.Time == 0 {
		return f // of no moment: nothing was captured yet
	}
	p := point{Time: s.Time.Std().UnixMilli(), States: make(map[string]int)}
	for state, n := range f.states {
		if sum := n[0] + n[1]; sum > 0 {
			p.States[tcp.State(state).String()] = sum
		}
	}
	if len(before) == 2*keptPoints {
		// A new array: clients may be reading the old one.
		before = append(make([]point, 0, 2*keptPoints), before[keptPoints:]...)
	}
	f.points = append(before, p)
	return f
}

// A found is a Finding as the page draws it.
type found struct {
	Cells []string `json:"cells"` // as findings.Grid has them
	Conns []int    `json:"conns"` // some of the connections
	Text  string   `json:"text"`  // what the newest says
}

// tableOf returns the tables of a frame in JSON; of the connections the rows that hold
// all the words of match.
func (s *Server) tableOf(f *frame, match string) []byte {
	if match != "" {
		s.drawing.Lock()
		defer s.drawing.Unlock()
		return s.drawTable(f, match)
	}
	f.once.Do(func() { f.table = s.drawTable(f, "") })
	return f.table
}

func (s *Server) drawTable(f *frame, match string) []byte {
	o := s.opts.Report
	l, err := table.NewList(table.BothEnds, f.snapshot, o, match)
	if err != nil {
		panic("serve: " + err.Error()) // New has tried it
	}
	totals, states := table.StatusLines(f.snapshot, o)
	odd := f.snapshot.Findings(&o)
	t := struct {
		Time     string     `json:"time"`
		Alarm    string     `json:"alarm"`
		Totals   string     `json:"totals"`
		States   string     `json:"states"`
		Titles   []string   `json:"titles"`
		Rows     [][]string `json:"rows"`
		All      int        `json:"all"`
		Findings []found    `json:"findings"`
		Services grid       `json:"services"`
		More     int        `json:"more"` // services that are not listed
	}{Alarm: odd.Alarm(false), Totals: totals, States: states, Titles: l.Titles(), Rows: [][]string{}, All: l.Len(), Findings: []found{}}
	if f.snapshot.Time != 0 {
		t.Time = o.TimeOf(f.snapshot)
	}
	for i := range min(l.Len(), shownRows) {
		t.Rows = append(t.Rows, l.Cells(i))
	}
	list := odd.List()
	list = list[:min(len(list), shownGroups)]
	for i, cells := range findings.Grid(list, f.snapshot.Time).Rows {
		conns := append([]int{}, list[i].Conns()...) // no null in JSON
		t.Findings = append(t.Findings, found{cells, conns, text.Escape(text.WithNext(list[i].Last.Text, list[i].Last.Next))})
	}
	services, more := table.ServiceGrid(&o, f.snapshot.Services(&o), shownGroups)
	t.Services, t.More = gridOf(services), more
	drawn, _ := json.Marshal(t) // strings and numbers: no error
	return drawn
}

// events sends the page what is new, until the client goes or the Server is
// shut down.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	if s.clients.Add(1) > MaxClients {
		s.clients.Add(-1)
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	defer s.clients.Add(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return
	}
	match := r.URL.Query().Get("match")
	match = match[:min(len(match), mostMatch)]
	to := http.NewResponseController(w)
	var sent int64 // time of the last point
	for {
		f := s.frame.Load()
		var b bytes.Buffer
		points := f.points[max(len(f.points)-keptPoints, 0):]
		for len(points) > 0 && points[0].Time <= sent {
			points = points[1:]
		}
		if len(points) > 0 {
			sent = points[len(points)-1].Time
			drawn, _ := json.Marshal(points) // strings and numbers: no error
			fmt.Fprintf(&b, "event: points\ndata: %s\n\n", drawn)
		}
		b.WriteString("event: table\ndata: ")
		_ = to.SetWriteDeadline(time.Now().Add(patience)) // a recorder of a test has none
		// The table is that of all clients: a copy for each would take 10 MB of memory.
		for _, part := range [][]byte{b.Bytes(), s.tableOf(f, match), []byte("\n\n")} {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
		if to.Flush() != nil {
			return
		}
		select {
		case <-f.outdated:
		case <-r.Context().Done():
			return
		case <-s.done:
			return
		}
	}
}
