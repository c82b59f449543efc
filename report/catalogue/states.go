// Package catalogue prints what the tracker runs on: the table of transitions,
// as a table and in pictures, and the kinds of anomalies that it knows.
package catalogue

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// StatesFormats returns the names of what the transition table is drawn as.
func StatesFormats() []string { return []string{"table", "dot", "mermaid", "svg"} }

// WriteStates prints the transition table in the named format.
func WriteStates(w io.Writer, format string, colors bool) error {
	switch format {
	case "table":
		return writeTable(w, colors)
	case "dot":
		_, err := w.Write(StatesDot())
		return err
	case "mermaid":
		_, err := w.Write(StatesMermaid())
		return err
	case "svg":
		_, err := w.Write(StatesSVG())
		return err
	}
	return fmt.Errorf("unknown output format %q (%s)", text.Escape(format), strings.Join(StatesFormats(), ", "))
}

// writeTable prints the transition table, a row a line.
func writeTable(w io.Writer, colors bool) error {
	g := &text.Grid{Color: colors, Columns: []text.Column{
		{Title: "In State", Color: text.StateColor}, {Title: "On"}, {Title: "Goes To", Color: text.StateColor}, {Title: "RFC 9293"},
	}}
	for _, state := range tcp.States() {
		for _, row := range tcp.Transitions() {
			if row.From == state {
				g.Rows = append(g.Rows, []string{row.From.String(), row.On.String(), row.To.String(), "§" + row.RFC})
			}
		}
	}
	out := bufio.NewWriter(w)
	if err := g.Print(out); err != nil {
		return err
	}
	return out.Flush()
}

// meanings say what it is to be in a state.
var meanings = map[tcp.State]string{
	tcp.Closed:      "no connection: before it, or after it",
	tcp.Listen:      "a server that waits for a SYN",
	tcp.SynSent:     "it has sent a SYN; the SYN is not answered yet",
	tcp.SynReceived: "it has answered a SYN and waits for the ACK",
	tcp.Established: "open: data can flow both ways",
	tcp.FinWait1:    "it has closed first; its FIN is not acknowledged yet",
	tcp.FinWait2:    "it has closed first and waits for the other end to close",
	tcp.CloseWait:   "the other end has closed; its own application has not",
	tcp.Closing:     "both have closed; its FIN is not acknowledged yet",
	tcp.LastAck:     "it has closed second; its FIN is not acknowledged yet",
	tcp.TimeWait:    "both have closed; it keeps the ports for late segments",
}

// StatesText says for a terminal what each state is, and what leads from it.
func StatesText(width int) string {
	var short []string // what cuts a connection short
	return strings.Join(text.Lines(func(w *bufio.Writer) {
		for _, state := range tcp.States() {
			text.WriteLine(w, fmt.Sprintf("  %-13s%s", state, meanings[state]))
			var moves []string
			for _, row := range tcp.Transitions() {
				switch on := row.On.String(); {
				case row.From == state && orderly(row):
					moves = append(moves, on+" -> "+row.To.String())
				case row.From == state && !slices.Contains(short, on):
					short = append(short, on)
				}
			}
			if len(moves) > 0 {
				text.WriteParts(w, strings.Repeat(" ", 17), moves, width)
			}
		}
		text.WriteLine(w, "")
		text.WriteLine(w, "An aborted connection goes to CLOSED, by:")
		text.WriteParts(w, "  ", short, width)
	}), "\n") + "\n"
}

// StatesMarkdown draws the transition table as a GitHub table, a row a state.
func StatesMarkdown() []byte {
	var b bytes.Buffer
	b.WriteString("| in state | on | goes to | RFC 9293 |\n| --- | --- | --- | --- |\n")
	for _, state := range tcp.States() {
		name := state.String()
		for _, row := range tcp.Transitions() {
			if row.From == state {
				fmt.Fprintf(&b, "| %s | %v | %v | §%s |\n", name, row.On, row.To, row.RFC)
				name = ""
			}
		}
	}
	return b.Bytes()
}

// StatesMermaid draws the transition table as a Mermaid state diagram. Moves
// to CLOSED by reset, by a timer or for want of a connection are left out:
// nearly every state has them, and the table lists them.
func StatesMermaid() []byte {
	id := func(s tcp.State) string {
		var b strings.Builder
		for _, word := range strings.Split(s.String(), "_") {
			b.WriteString(word[:1] + strings.ToLower(word[1:]))
		}
		return b.String()
	}
	var b bytes.Buffer
	b.WriteString("stateDiagram-v2\n")
	for _, s := range tcp.States() {
		fmt.Fprintf(&b, "    %s : %v\n", id(s), s)
	}
	for _, row := range tcp.Transitions() {
		if orderly(row) {
			fmt.Fprintf(&b, "    %s --> %s : %v\n", id(row.From), id(row.To), row.On)
		}
	}
	return b.Bytes()
}

// orderly reports whether a row is part of opening or closing a connection, as
// opposed to cutting it short.
func orderly(row tcp.Transition) bool {
	return row.To != tcp.Closed || row.On == tcp.RcvAckOfFIN || row.On == tcp.Timeout2MSL
}

// StatesDot draws the whole transition table for Graphviz. How a connection is
// cut short is drawn thin.
func StatesDot() []byte {
	var b bytes.Buffer
	b.WriteString("digraph tcp {\n" +
		"    node [shape=box, style=rounded, fontname=\"sans-serif\"];\n" +
		"    edge [fontname=\"sans-serif\", fontsize=10];\n")
	for _, s := range tcp.States() {
		fmt.Fprintf(&b, "    %v;\n", s)
	}
	for _, row := range tcp.Transitions() {
		style := ""
		if !orderly(row) {
			style = ", color=gray, fontcolor=gray"
		}
		fmt.Fprintf(&b, "    %v -> %v [label=%q, tooltip=\"RFC 9293 §%s\"%s];\n", row.From, row.To, row.On.String(), row.RFC, style)
	}
	b.WriteString("}\n")
	return b.Bytes()
}
