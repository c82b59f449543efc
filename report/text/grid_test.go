package text

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
)

// TestTwoWritersOneLook: tablewriter and the plain writer draw the same bytes.
func TestTwoWritersOneLook(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	cells := []string{"", "-", "0", "tcp", "TIME_WAIT?", "[2001:db8::1]:443", "1234567", "a,b,c", "two words", "§", `\x1b[0m`, "%d", "UNKNOWN{CLOSED,FIN_WAIT_2}"}
	for range 300 {
		g := &Grid{NoHeader: random.IntN(3) == 0}
		for i := range 1 + random.IntN(6) {
			g.Columns = append(g.Columns, Column{Title: fmt.Sprintf("Title of %d", i*random.IntN(1000)), Right: random.IntN(2) == 0})
		}
		for range 1 + random.IntN(20) {
			var row []string
			for range g.Columns {
				row = append(row, cells[random.IntN(len(cells))])
			}
			g.Rows = append(g.Rows, row)
		}
		compareWriters(t, g)
	}
}

// compareWriters draws g with both writers, and compares what is drawn.
func compareWriters(t *testing.T, g *Grid) {
	t.Helper()
	var want, got bytes.Buffer
	if err := g.drawTablewriter(&want); err != nil {
		t.Fatal(err)
	}
	g.drawPlain(&got, g.widths())
	if got.String() != want.String() {
		t.Fatalf("plain:\n%q\ntablewriter:\n%q", got.String(), want.String())
	}
}

// TestLongGrids: the step from one writer to the other shows nowhere.
func TestLongGrids(t *testing.T) {
	for _, n := range []int{tablewriterRows, tablewriterRows + 1} {
		g := &Grid{Columns: []Column{{Title: "Row", Right: true}, {Title: "State"}}}
		for i := range n {
			g.Rows = append(g.Rows, []string{strconv.Itoa(i), "OPEN"})
		}
		lines := Lines(func(out *bufio.Writer) { g.Print(out) })
		if len(lines) != n+1 || lines[0] != " Row  State" || lines[2] != "   1  OPEN" || lines[n] != fmt.Sprintf("%4d  OPEN", n-1) {
			t.Errorf("%d rows: got %d lines, %q, %q ... %q", n, len(lines), lines[0], lines[2], lines[n])
		}
	}
}
