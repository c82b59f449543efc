package cmd

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// avoided are phrases that readers had to read twice, and what to write instead.
// A space in a pattern is any white space.
var avoided = []struct{ pattern, instead string }{
	{`but for`, "except"},
	{`(?:after|at most|capture|keep|were|are|every) so many`, "N, as in: stop after N packets"},
	{`which is what`, "a new sentence"},
	{`there cannot be (?:less|more)|time does not run back`, "must not be negative"},
	{`more than there can be`, "out of range"},
	{`told of`, "reported"},
	{`unless told otherwise`, "by default"},
	{`what is no \w+`, "a file that is not a capture"},
	{`octets?`, "bytes"},
	{`for want of`, "because there is no ..., or: to stay within --max-..."},
	{`giv(?:e|es|en) up (?:for|closed|connections)|beyond it are given up`, "evicted"},
	{`who asks|whoever asks`, "the client, or: require this token"},
	{`cannot be said`, "cannot evaluate"},
	{`leaves? tunnels closed`, "do not decapsulate tunnels"},
	{`choices of the endpoints`, "TCP stack profile"},
	{`says more than`, "supersedes"},
	{`row of files`, "series of files"},
	{`closed by refused`, "refused"},
	{`sent again|repeated (?:FIN|SYN|segment)s?`, "retransmitted"},
	{`not taken in`, "not accepted"},
	{`all the same`, "still"},
	{`of (?:its|their) own`, "separate"},
	{`of which`, "a new sentence"},
	{`(?:lest|save for|save that)`, "except, so that ... not"},
	{`mend(?:s|ed|ing)?`, "fix, repair"},
	{`is for \w+ to say`, "decides"},
	{`for who`, "for people who"},
	{`(?:below|beside|there|here) stands?|here begins`, "subject first: X is below"},
	{`(?:packet|capture|segment|history)s? tells?`, "shows"},
	{`exclude each other`, "cannot be used together"},
	{`as to (?:what|who|how|when)`, "about"},
}

// isNo is "X is no Y" of a thing that is quoted or printed. That there is no Y is
// good English.
const isNo = `(?:^|(?:%[a-z]|["'` + "`" + `]) )is no (?:[a-km-z]|l[^o])`

// unread are the files whose strings only people who develop tcpwatch see.
var unread = []string{"cmd/lab/", "cmd/bench/", "cmd/mutants/", "tracker/oracle/"}

// A passage is text that people read, and where it begins. One that is written
// in one line of source has no line breaks of the file in it.
type passage struct {
	file, text string
	line       int
	oneLine    bool
}

// Texts say it in plain English.
func TestPlainWords(t *testing.T) {
	found := passages(t)
	if len(found) < 1000 {
		t.Fatalf("only %d passages found", len(found))
	}
	for _, p := range found {
		for _, w := range poorWords(p.text) {
			line := p.line
			if !p.oneLine {
				line += strings.Count(p.text[:w.at], "\n")
			}
			t.Errorf("%s:%d: %q: write %q", p.file, line, w.phrase, w.instead)
		}
	}
}

// What is avoided is found, and what is good English is not.
func TestPoorWords(t *testing.T) {
	for text, want := range map[string]int{
		"all fields but\nfor the last": 1, "--at %q is no moment": 1, "is no size": 1, "So many octets": 1,
		"two packets, of which one is lost": 1, "What is no capture is refused": 1,
		"there is no listener": 0, "it is no longer open": 0, "%s is no longer there": 0, "its own segments": 0, "whole packets, not N bytes": 0,
	} {
		if got := poorWords(text); len(got) != want {
			t.Errorf("%q: found %v, want %d", text, got, want)
		}
	}
}

// A poorWord is a phrase at a place in a text.
type poorWord struct {
	at              int
	phrase, instead string
}

var patterns = func() (list []*regexp.Regexp) {
	for _, a := range avoided {
		list = append(list, regexp.MustCompile(`(?i)\b(?:`+strings.ReplaceAll(a.pattern, " ", `\s+`)+`)\b`))
	}
	return append(list, regexp.MustCompile(strings.ReplaceAll(isNo, " ", `\s+`)))
}()

func poorWords(text string) (list []poorWord) {
	for i, p := range patterns {
		instead := "not a valid ..."
		if i < len(avoided) {
			instead = avoided[i].instead
		}
		for _, at := range p.FindAllStringIndex(text, -1) {
			list = append(list, poorWord{at[0], text[at[0]:at[1]], instead})
		}
	}
	return list
}

var (
	jsComment = regexp.MustCompile(`(?m)(?:^|\s)//.*$`)
	htmlNote  = regexp.MustCompile(`\{\{/\*.*?\*/\}\}`)
)

// passages returns what people read: strings of more than one word, web pages and
// their scripts, and the text of the pages outside of code.
func passages(t *testing.T) (list []passage) {
	for name, text := range pages(t) {
		if strings.Contains(name, "testdata/") {
			continue
		}
		for _, code := range []*regexp.Regexp{mdFence, mdCode} {
			text = code.ReplaceAllFunc(text, func(b []byte) []byte { return []byte(strings.Repeat("\n", strings.Count(string(b), "\n"))) })
		}
		list = append(list, passage{file: name, text: string(text), line: 1})
	}
	for _, root := range []string{"cmd", "capture", "report", "tracker"} {
		err := filepath.WalkDir(filepath.Join("..", root), func(file string, d fs.DirEntry, err error) error {
			name := strings.TrimPrefix(filepath.ToSlash(file), "../")
			switch {
			case err != nil:
				return err
			case d.IsDir() && d.Name() == "testdata":
				return filepath.SkipDir
			case d.IsDir() || hasPrefix(name, unread) || strings.HasSuffix(name, "_test.go"):
				return nil
			}
			switch filepath.Ext(name) {
			case ".go":
				list = append(list, stringsOf(t, file, name)...)
			case ".html", ".js":
				text, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				list = append(list, passage{file: name, text: htmlNote.ReplaceAllString(jsComment.ReplaceAllString(string(text), ""), ""), line: 1})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// stringsOf returns the strings of a Go file that have a space between words.
func stringsOf(t *testing.T, file, name string) (list []passage) {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		text, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if strings.Contains(strings.TrimSpace(text), " ") {
			list = append(list, passage{name, text, set.Position(lit.Pos()).Line, lit.Value[0] == '"'})
		}
		return true
	})
	return list
}

func hasPrefix(name string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}
