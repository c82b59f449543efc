package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/tcpwatch/tcpwatch/report/internal/golden"
)

func TestGoldens(t *testing.T) {
	golden.Test(t, []golden.Output{
		{Name: "text", Text: func(t testing.TB) []byte { return printCheck(t, "text") }},
		{Name: "text-narrow", Text: func(t testing.TB) []byte { return printWith(t, "text", 40, true) }},
		{Name: "json", Text: func(t testing.TB) []byte { return printCheck(t, "json") }},
		{Name: "junit", Text: func(t testing.TB) []byte { return printCheck(t, "junit") }},
		{Name: "sarif", Text: func(t testing.TB) []byte { return printCheck(t, "sarif") }},
		{Name: "github", Text: func(t testing.TB) []byte { return printCheck(t, "github") }},
	})
}

// checked is a run in which there is everything that can be found.
func checked() (Options, []*Capture) {
	o := Options{Version: "v1.2.3", Rules: []Rule{
		{Name: "no <leaks> & \x1b[31m", Asks: "forbid server.state == CLOSE_WAIT", File: "a b/tcpwatch.yaml", Line: 3, Description: "Sockets are closed."},
		{Name: "--deny error", Asks: "deny error"},
		{Name: "never asked", Asks: "count true", Whole: true},
	}}
	a, b := netip.MustParseAddrPort("10.9.0.1:40000"), netip.MustParseAddrPort("[2001:db8::2]:80")
	failed := Finding{Rule: 0, Verdict: Failed, Conn: 1, Client: a, Server: b, Packets: []int{5, 7}, Text: "100% true: a,b\nand \"more\" ]]> \x1b[2J"}
	undecided := Finding{Rule: 1, Verdict: Undecided, Conn: 2, Client: a, Server: b, Packets: []int{9}, Kind: "forged-rst", Text: "forged-rst, but it is ambiguous: so"}
	both := undecided
	both.Verdict = Failed
	return o, []*Capture{
		{Path: "pcaps/fine.pcap", Conns: 3, Packets: 30, Verdicts: make([]Verdict, 3), More: make([]int, 3), Tallies: []Tally{{Passed: 3, Assumed: 1}, {Passed: 3}, {}}},
		{Path: "dir one/50%,é:x.pcap", Conns: 2, Packets: 20, Verdicts: []Verdict{Failed, Undecided, Passed}, More: []int{17, 0, 0}, Tallies: []Tally{{Failed: 1, Passed: 1}, {Undecided: 1, Passed: 1}, {}}, Findings: []Finding{failed, undecided}, Ladder: "a ladder\n"},
		{Path: "both.pcap", Conns: 1, Packets: 20, Verdicts: []Verdict{Passed, Failed, Passed}, More: make([]int, 3), Tallies: []Tally{{Passed: 1}, {Failed: 1}, {}}, Findings: []Finding{both, undecided}},
		{Path: "open.pcap", Verdicts: []Verdict{Passed, Undecided, Passed}, More: make([]int, 3), Tallies: []Tally{{}, {Undecided: 1}, {}}, Findings: []Finding{{Rule: 1, Verdict: Undecided, Text: "cut off"}}},
		{Path: "none", Verdicts: make([]Verdict, 3), More: make([]int, 3), Tallies: make([]Tally, 3), Err: errors.New("none: no such \x07 file")},
	}
}

// printCheck prints the run.
func printCheck(t testing.TB, format string) []byte {
	t.Helper()
	return printWith(t, format, 0, false)
}

// printWith prints the run for a terminal.
func printWith(t testing.TB, format string, width int, color bool) []byte {
	t.Helper()
	o, captures := checked()
	o.Width, o.Color = width, color
	var out bytes.Buffer
	p, err := New(format, &out, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range captures {
		if err := p.Capture(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// What is printed is in the goldens check-*.
func TestCheckFormats(t *testing.T) {
	for _, format := range formats {
		got := printCheck(t, format.name)
		if !bytes.Contains(got, []byte("undecided")) || !bytes.Contains(got, []byte("10.9.0.1:40000")) || !bytes.Contains(got, []byte("[2001:db8::2]:80")) {
			t.Errorf("%s: it does not say undecided, or name both ends", format.name)
		}
		if bytes.ContainsAny(got, "\x1b\x07") {
			t.Errorf("%s: a control character is in the output", format.name)
		}
	}
	if _, err := New("yaml", nil, Options{}); err == nil || !strings.Contains(err.Error(), "(text, json, junit, sarif, github, html)") {
		t.Errorf("an unknown format: %v", err)
	}
}

func TestCheckJSONIsJSON(t *testing.T) {
	var v struct {
		Rules, Captures []any
		Summary         struct{ Captures, Failed, Undecided, Passed int }
	}
	if err := json.Unmarshal(printCheck(t, "json"), &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Rules) != 3 || len(v.Captures) != 5 || v.Summary.Captures != 5 || v.Summary.Failed != 2 || v.Summary.Undecided != 1 || v.Summary.Passed != 1 {
		t.Errorf("got %+v", v)
	}
}

// SARIF is valid by the schema of OASIS, with results or without any.
func TestSARIFIsValid(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("testdata/schemas/sarif-schema-2.1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	var empty bytes.Buffer
	p, _ := New("sarif", &empty, Options{})
	p.Close()
	for _, text := range [][]byte{printCheck(t, "sarif"), empty.Bytes()} {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Error(err)
		}
	}
	// The schema refuses what is wrong, or it would prove nothing.
	wrong := bytes.Replace(printCheck(t, "sarif"), []byte(`"level":"error"`), []byte(`"level":"bad"`), 1)
	v, _ := jsonschema.UnmarshalJSON(bytes.NewReader(wrong))
	if schema.Validate(v) == nil {
		t.Error("a level that does not exist is valid")
	}
}

// JUnit's XML is valid by the schema that Jenkins published, asked through
// libxml2.
func TestJUnitIsValid(t *testing.T) {
	if _, err := exec.LookPath("xmllint"); err != nil {
		t.Skip("xmllint (libxml2) is not installed")
	}
	valid := func(text []byte) error {
		cmd := exec.Command("xmllint", "--nonet", "--noout", "--schema", "testdata/schemas/junit-4.xsd", "-")
		cmd.Stdin = bytes.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			return errors.New(string(out))
		}
		return nil
	}
	text := printCheck(t, "junit")
	if err := valid(text); err != nil {
		t.Error(err)
	}
	if valid(bytes.Replace(text, []byte("classname="), []byte("class="), 1)) == nil {
		t.Error("an attribute that does not exist is valid")
	}
}
