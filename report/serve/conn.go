package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/ladder"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// grid is a table as the page draws it. Its cells are escaped.
type grid struct {
	Titles []string   `json:"titles"`
	Rows   [][]string `json:"rows"`
}

func gridOf(g *text.Grid) grid {
	rows := g.Rows
	if rows == nil {
		rows = [][]string{} // no null in JSON
	}
	return grid{g.Titles(), rows}
}

// conn answers with what is known of one connection of the newest frame.
func (s *Server) conn(w http.ResponseWriter, r *http.Request) {
	f := s.frame.Load()
	n, err := strconv.Atoi(r.PathValue("conn"))
	of := s.record(f, n)
	if err != nil || of == nil {
		http.Error(w, "this connection is not tracked: it has closed, was evicted, or never existed", http.StatusNotFound)
		return
	}
	s.drawing.Lock() // so that the tracker waits for one client at most
	s.mu.Lock()
	lines := s.recent.Open(of).Lines(of, ladder.Options{})
	s.mu.Unlock()
	s.drawing.Unlock()
	o := &s.opts.Report
	answer := struct {
		Heading string `json:"heading"`
		Since   string `json:"since"`
		History grid   `json:"history"`
		Ladder  string `json:"ladder"`
	}{
		lines[0],
		fmt.Sprintf("Idle for %s. Times are relative to %s.", text.Human(max(f.snapshot.Time.Sub(of.End), 0)), o.Time.Format(of.Start, f.snapshot.Summary.First)),
		gridOf(ladder.History(of)), strings.Join(lines[2:], "\n"),
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // strings: the only error is that nobody reads
}

// record returns a connection of the frame that the page may show, or nil.
func (s *Server) record(f *frame, conn int) *tracker.Record {
	for _, r := range f.snapshot.Records {
		if r.Conn == conn && s.opts.Report.Selects(r, false) {
			return r
		}
	}
	return nil
}
