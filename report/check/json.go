package check

import (
	"bufio"
	"encoding/json"
)

// jsonPrinter prints one object, with a line for each capture in it. Its keys are
// never renamed.
type jsonPrinter struct {
	out    *bufio.Writer
	o      *Options
	totals totals
}

type ruleJSON struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Asks        string `json:"asks"`
	File        string `json:"file,omitempty"`
	Line        int    `json:"line,omitempty"`
}

type captureJSON struct {
	Path        string         `json:"path"`
	Verdict     string         `json:"verdict"`
	Error       string         `json:"error,omitempty"`
	Packets     uint64         `json:"packets"`
	Connections int            `json:"connections"`
	Rules       []tallyJSON    `json:"rules"`
	Findings    []findingJSON  `json:"findings"`
	More        map[string]int `json:"more,omitempty"`
}

// tallyJSON is how often a rule was asked, of connections or of captures, and
// what came of it; of those that passed, assumed did by a state that is assumed.
type tallyJSON struct {
	Rule      string `json:"rule"`
	Verdict   string `json:"verdict"`
	Failed    int    `json:"failed"`
	Undecided int    `json:"undecided"`
	Passed    int    `json:"passed"`
	Assumed   int    `json:"assumed"`
}

func tallyOf(r *Rule, t *Tally) tallyJSON {
	return tallyJSON{r.Name, t.word(), t.Failed, t.Undecided, t.Passed, t.Assumed}
}

type findingJSON struct {
	Rule    string `json:"rule"`
	Verdict string `json:"verdict"`
	Conn    int    `json:"conn,omitempty"`
	Client  string `json:"client,omitempty"`
	Server  string `json:"server,omitempty"`
	Packets []int  `json:"packets"`
	Kind    string `json:"kind,omitempty"`
	Text    string `json:"text"`
}

type summaryJSON struct {
	Captures    int `json:"captures"`
	Connections int `json:"connections"`
	Failed      int `json:"failed"`
	Undecided   int `json:"undecided"`
	Unread      int `json:"not_read"`
	Passed      int `json:"passed"`
}

func newJSON(out *bufio.Writer, o *Options) Printer {
	p := &jsonPrinter{out: out, o: o}
	rules := []ruleJSON{}
	for _, r := range o.Rules {
		rules = append(rules, ruleJSON{r.Name, r.Description, r.Asks, r.File, r.Line})
	}
	out.WriteString(`{"rules":`)
	out.Write(compactJSON(rules))
	out.WriteString(",\n\"captures\":[")
	return p
}

// compactJSON encodes what cannot fail to be encoded.
func compactJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("check: " + err.Error())
	}
	return text
}

func (p *jsonPrinter) Capture(c *Capture) error {
	if p.totals.captures > 0 {
		p.out.WriteByte(',')
	}
	p.totals.add(c)
	line := captureJSON{Path: c.Path, Verdict: c.Verdict().String(), Packets: c.Packets, Connections: c.Conns, Rules: []tallyJSON{}, Findings: []findingJSON{}}
	if c.Err != nil {
		line.Verdict, line.Error = "error", c.Err.Error()
	} else {
		for i := range c.Tallies {
			line.Rules = append(line.Rules, tallyOf(&p.o.Rules[i], &c.Tallies[i]))
		}
	}
	for i := range c.Findings {
		f := &c.Findings[i]
		item := findingJSON{Rule: p.o.Rules[f.Rule].Name, Verdict: f.Verdict.String(), Conn: f.Conn, Packets: append([]int{}, f.Packets...), Kind: f.Kind, Text: f.Text}
		if f.Conn > 0 {
			item.Client, item.Server = f.Client.String(), f.Server.String()
		}
		line.Findings = append(line.Findings, item)
	}
	for i, n := range c.More {
		if n > 0 {
			if line.More == nil {
				line.More = make(map[string]int)
			}
			line.More[p.o.Rules[i].Name] = n
		}
	}
	p.out.WriteByte('\n')
	_, err := p.out.Write(compactJSON(line))
	return err
}

func (p *jsonPrinter) Close() error {
	t := &p.totals
	p.out.WriteString("],\n\"summary\":")
	p.out.Write(compactJSON(summaryJSON{t.captures, t.conns, t.failed, t.undecided, t.unread, t.passed()}))
	p.out.WriteString("}\n")
	return p.out.Flush()
}
