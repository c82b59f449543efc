package report

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/tcpwatch/tcpwatch/tracker"
)

// Pictures of the tracker's transition table and catalogue. They are drawn
// from the values that the tracker itself runs on.

// StatesMarkdown draws the transition table as a GitHub table, a row a state.
func StatesMarkdown() []byte {
	var b bytes.Buffer
	b.WriteString("| in state | on | goes to | RFC 9293 |\n| --- | --- | --- | --- |\n")
	for _, state := range tracker.States() {
		name := state.String()
		for _, row := range tracker.Transitions() {
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
	id := func(s tracker.State) string {
		var b strings.Builder
		for _, word := range strings.Split(s.String(), "_") {
			b.WriteString(word[:1] + strings.ToLower(word[1:]))
		}
		return b.String()
	}
	var b bytes.Buffer
	b.WriteString("stateDiagram-v2\n")
	for _, s := range tracker.States() {
		fmt.Fprintf(&b, "    %s : %v\n", id(s), s)
	}
	for _, row := range tracker.Transitions() {
		orderly := row.To != tracker.Closed || row.On == tracker.RcvAckOfFIN || row.On == tracker.Timeout2MSL
		if orderly {
			fmt.Fprintf(&b, "    %s --> %s : %v\n", id(row.From), id(row.To), row.On)
		}
	}
	return b.Bytes()
}

// KindsMarkdown draws the catalogue of anomalies as a GitHub table.
func KindsMarkdown() []byte {
	var b bytes.Buffer
	b.WriteString("| kind | severity | what it is | RFC |\n| --- | --- | --- | --- |\n")
	for _, k := range tracker.Kinds() {
		fmt.Fprintf(&b, "| `%s` | %v | %s | %s |\n", k.Name, k.Severity, k.Title, k.RFC)
	}
	return b.Bytes()
}
