package cmd

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/oracle"
)

// The rules of the rooms. They are a statement of policy: what breaks one is
// moved, the rule is not.

const module = "github.com/tcpwatch/tcpwatch/"

// A sourceFile is a source of the module that is no test.
type sourceFile struct {
	room string // its directory, from the root of the module
	path string
	file *ast.File
}

// sourceFiles parses the module, without its tests and without the labs, which
// are tests too.
func sourceFiles(t *testing.T) (fset *token.FileSet, files []sourceFile) {
	fset = token.NewFileSet()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch room := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), "../")); {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "lab" || d.Name() == ".git"):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
			f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
			if err != nil {
				return err
			}
			files = append(files, sourceFile{room, path, f})
		}
		return nil
	})
	if err != nil || len(files) < 100 {
		t.Fatalf("%d sources found: %v", len(files), err)
	}
	return fset, files
}

// within reports whether a package lies in a room, or in one of its own.
func within(path, room string) bool { return path == room || strings.HasPrefix(path, room+"/") }

// mayImport says which rooms each room may use, of this module, and which other
// modules. The first row that fits counts. All may use the standard library.
var mayImport = []struct {
	room  string
	rooms []string
	std   bool // nothing but the standard library besides
	why   string
}{
	{"tracker/tcp", nil, true, "all others speak its terms"},
	{"tracker/internal/strict", nil, true, "it is a switch"},
	{"tracker/internal/template", nil, true, "it puts words together, and knows nothing of connections"},
	{"tracker/internal/flow", []string{"tracker/tcp", "tracker/internal/pages"}, true, "it names flows and finds them, and knows nothing of connections"},
	{"tracker/internal/duplicates", []string{"tracker/tcp", "tracker/internal/flow"}, true, "it compares packets, and knows nothing of connections"},
	{"tracker/internal/listeners", []string{"tracker/internal/flow"}, true, "it knows ports, and no connections"},
	{"tracker/internal/health", []string{"tracker/tcp", "tracker/internal/duplicates"}, true, "it watches the capture, and knows nothing of connections"},
	{"tracker/internal/recent", []string{"tracker/tcp"}, true, "it remembers segments, and moves nothing"},
	{"tracker/internal/history", []string{"tracker/tcp", "tracker/internal/pool"}, true, "it holds steps, and walks none"},
	{"tracker/internal/stalls", []string{"tracker/tcp"}, true, "it remembers trouble, and looks for none"},
	{"tracker/internal/halfclosed", []string{"tracker/tcp"}, true, "it counts, and knows ends by their numbers"},
	{"tracker/internal/triggers", nil, true, "it is names, for who asks and who is asked"},
	{"tracker/internal/gate", []string{"tracker/tcp"}, true, "it is the words of a verdict, and passes none"},
	{"tracker/internal/rst", []string{"tracker/tcp", "tracker/internal/endpoint"}, true, "it knows the rules of stacks, and no connection"},
	{"tracker/internal/holes", []string{"tracker/tcp"}, true, "it is numbers, of any end"},
	{"tracker/internal/alarms", []string{"tracker/tcp"}, true, "it wakes connections, and knows nothing of them"},
	{"tracker/internal/order", []string{"tracker/tcp"}, true, "it orders connections, and knows nothing of them"},
	{"tracker/internal/pages", nil, true, "it is memory, of anything"},
	{"tracker/internal/pool", []string{"tracker/internal/pages"}, true, "it is memory, of anything"},
	{"tracker/internal/learned", nil, true, "it is memory, of anything"},
	{"tracker/internal/endpoint", []string{"tracker/tcp", "tracker/internal/recent"}, true, "it knows one end, and no connection"},
	{"tracker/internal/conn", []string{"tracker/tcp", "tracker/internal/endpoint", "tracker/internal/learned", "tracker/internal/history", "tracker/internal/stalls", "tracker/internal/rst", "tracker/internal/gate", "tracker/internal/triggers", "tracker/internal/flow", "tracker/internal/duplicates", "tracker/internal/listeners", "tracker/internal/health", "tracker/internal/recent", "tracker/internal/holes", "tracker/internal/alarms", "tracker/internal/order", "tracker/internal/pool"}, true, "it moves the ends, and says nothing"},
	{"tracker/internal/certain", []string{"tracker/tcp", "tracker/internal/endpoint", "tracker/internal/history", "tracker/internal/conn"}, true, "it says what is sure, and moves nothing"},
	{"tracker/internal/tampering", []string{"tracker/tcp", "tracker/internal/endpoint", "tracker/internal/triggers", "tracker/internal/conn", "tracker/internal/recent"}, true, "it looks at what happened, and finds nothing"},
	{"tracker/internal/reuse", []string{"tracker/tcp", "tracker/internal/endpoint", "tracker/internal/triggers", "tracker/internal/history", "tracker/internal/conn", "tracker/internal/recent"}, true, "it looks at what happened, and finds nothing"},
	{"tracker/anomaly/many", []string{"tracker/anomaly"}, true, "it is words and numbers, and finds nothing"},
	{"tracker/anomaly/kinds", []string{"tracker/anomaly", "tracker/anomaly/opening", "tracker/anomaly/closing", "tracker/anomaly/timewait", "tracker/anomaly/resets", "tracker/anomaly/established", "tracker/anomaly/captures", "tracker/anomaly/between", "tracker/anomaly/many"}, true, "it lists what the families have"},
	{"tracker/anomaly", []string{"tracker/anomaly", "tracker/tcp", "tracker/internal/endpoint", "tracker/internal/gate", "tracker/internal/triggers", "tracker/internal/conn", "tracker/internal/health", "tracker/internal/history", "tracker/internal/holes", "tracker/internal/recent", "tracker/internal/rst", "tracker/internal/stalls", "tracker/internal/reuse", "tracker/internal/tampering", "tracker/internal/strict", "tracker/internal/template", "tracker/internal/halfclosed"}, true, "it looks at what happened, and moves nothing"},
	{"tracker/crossflow", []string{"tracker", "tracker/tcp", "tracker/anomaly", "tracker/anomaly/many", "tracker/internal/flow", "tracker/internal/pages"}, true, "it knows of connections what their events say"},
	{"tracker/oracle", []string{"tracker", "tracker/tcp", "tracker/anomaly", "capture", "capture/taps", "capture/taps/skew"}, true, "it judges the tracker by captures, for tests"},
	{"tracker", []string{"tracker/tcp", "tracker/internal/certain", "tracker/internal/endpoint", "tracker/internal/conn", "tracker/internal/halfclosed", "tracker/internal/health", "tracker/internal/history", "tracker/internal/listeners", "tracker/anomaly", "tracker/anomaly/kinds", "tracker/anomaly/captures"}, true, "it reads no clock, no file and no wire"},
	{"capture/internal/frames", nil, true, "it is numbers, of any packet"},
	{"capture/internal/inet", nil, true, "it is numbers, for all rooms of capture"},
	{"capture/pcap", []string{"tracker/tcp"}, false, "it knows files and their records, and looks into no packet"},
	{"capture/filter", []string{"capture/pcap", "capture/internal/inet"}, false, "it asks packets, whatever they come from"},
	{"capture/decode", []string{"capture/pcap", "capture/internal/inet", "tracker/tcp"}, false, "it takes packets apart, whatever they come from"},
	{"capture/live", []string{"capture/pcap", "capture/filter", "capture/internal/inet", "tracker/tcp"}, false, "it takes packets from the system, and looks into none"},
	{"capture/wire", []string{"tracker/tcp"}, false, "it knows segments, and not what they come from"},
	{"capture/hub", []string{"capture", "capture/wire", "capture/internal/frames", "tracker/tcp"}, false, "it carries segments, and knows nothing of connections"},
	{"capture/taps", []string{"capture", "capture/internal/frames", "tracker/tcp"}, true, "it joins captures, and knows neither files nor headers"},
	{"capture/pktgen", []string{"capture/pcap", "capture/internal/inet", "tracker/tcp"}, false, "it makes packets, and reads none"},
	{"capture", []string{"capture", "tracker/tcp"}, false, "it turns bytes into segments, and knows nothing of connections"},
	{"report/internal/replaytest", []string{"report/findings", "report/record", "report/services", "tracker", "tracker/tcp", "tracker/anomaly", "capture", "cmd/watch"}, false, "it plays captures to displays, for tests"},
	{"report/internal/scratch", nil, true, "it is octets, of any format"},
	{"report/text", []string{"tracker", "tracker/tcp", "tracker/anomaly"}, false, "it writes words, and knows no format"},
	{"report/between", []string{"report/text", "tracker/tcp"}, true, "it has words for what happened between captures, and no format"},
	{"report/catalogue", []string{"report/text", "tracker", "tracker/tcp", "tracker/anomaly", "tracker/anomaly/kinds"}, false, "it prints what the tracker runs on, and no connection"},
	{"report/check", []string{"report/text"}, true, "it prints findings, and judges nothing"},
	{"report/findings", []string{"report/text", "tracker", "tracker/tcp", "tracker/anomaly"}, true, "it groups anomalies, and knows no format"},
	{"report/services", []string{"tracker", "tracker/tcp", "tracker/anomaly"}, true, "it counts, and prints nothing"},
	{"report/record", []string{"report/internal/scratch", "report/text", "report/between", "report/findings", "report/services", "tracker", "tracker/tcp", "tracker/anomaly", "tracker/anomaly/kinds"}, false, "all formats print what it has"},
	{"report/table", []string{"report/text", "report/between", "report/findings", "report/services", "report/record", "tracker", "tracker/tcp", "tracker/anomaly"}, false, "it prints records"},
	{"report/ladder", []string{"report/internal/scratch", "report/text", "report/record", "tracker", "tracker/tcp", "tracker/anomaly"}, false, "it draws segments, and knows no other format"},
	{"report/html", []string{"report/text", "report/findings", "report/record", "report/table", "report/ladder", "report/check", "report/catalogue", "tracker", "tracker/tcp", "tracker/anomaly", "tracker/anomaly/kinds"}, false, "it draws what the others know"},
	{"report", []string{"report", "tracker", "tracker/tcp", "tracker/anomaly", "tracker/anomaly/kinds"}, false, "it turns events into what people read"},
	{"cmd/watch", []string{"capture", "capture/taps", "capture/hub", "capture/who", "tracker", "tracker/tcp", "tracker/anomaly", "tracker/anomaly/kinds", "tracker/crossflow"}, false, "it joins the rooms, and a program without commands can use it"},
	{"cmd/run", []string{"cmd/watch", "capture", "capture/taps", "capture/hub", "capture/who", "tracker", "tracker/tcp", "tracker/anomaly", "report", "report/text", "report/between", "report/record", "report/table", "report/ladder", "report/html", "report/check", "report/policy", "report/screen", "report/serve", "report/findings", "report/services"}, false, "it does what commands ask for, and knows no flag"},
	{"cmd", []string{"cmd", "capture", "tracker", "report"}, false, ""},
	{"..", []string{"cmd"}, false, ""},
}

// onlyIn says where another module is used, and nowhere else.
var onlyIn = map[string][]string{
	"github.com/google/gopacket": {"capture/decode", "capture/live"},
	"github.com/spf13/cobra":     {"cmd"},
	"github.com/nats-io":         {"capture/hub"},
}

func TestImports(t *testing.T) {
	fset, files := sourceFiles(t)
	for _, f := range files {
		for _, spec := range f.file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			for name, rooms := range onlyIn {
				if within(path, name) && !slices.ContainsFunc(rooms, func(room string) bool { return within(f.room, room) }) {
					t.Errorf("%v: %s is used in %v alone", fset.Position(spec.Pos()), name, rooms)
				}
			}
			if (within(f.room, "cmd/watch") || within(f.room, "cmd/run")) && within(path, "github.com/spf13/cobra") {
				t.Errorf("%v: %s has no commands", fset.Position(spec.Pos()), f.room)
			}
			if path == module+"tracker/oracle" {
				t.Errorf("%v: tests alone use it", fset.Position(spec.Pos()))
			}
			for _, rule := range mayImport {
				if !within(f.room, rule.room) {
					continue
				}
				own, local := strings.CutPrefix(path, module)
				ok := !local && (!rule.std || !strings.Contains(path, "."))
				for _, room := range rule.rooms {
					ok = ok || local && (own == room || room == rule.room && within(own, room) || rule.room == "cmd" && within(own, room))
				}
				if !ok {
					t.Errorf("%v: %s may not import %s: %s", fset.Position(spec.Pos()), f.room, path, rule.why)
				}
				break
			}
		}
	}
}

// mostLines is how many lines of code a package may have, comments and blank
// lines apart.
const mostLines = 5000

func TestPackagesAreSmall(t *testing.T) {
	fset, files := sourceFiles(t)
	lines := map[string]int{}
	for _, f := range files {
		code := map[int]bool{}
		ast.Inspect(f.file, func(n ast.Node) bool {
			switch n.(type) {
			case nil, *ast.Comment, *ast.CommentGroup:
				return false
			}
			code[fset.Position(n.Pos()).Line], code[fset.Position(n.End()-1).Line] = true, true
			return true
		})
		lines[f.room] += len(code)
	}
	for room, n := range lines {
		if n > mostLines {
			t.Errorf("%s has %d lines of code, want at most %d", room, n, mostLines)
		}
	}
}

// mostPaths is how complex a function may be: one, and one more for each
// condition in it. tooComplex are those that pass it, and why.
const mostPaths = 25

var tooComplex = map[string]string{
	"conn.triggersOf": "a list of independent questions, one line each, asked of every segment",
	"conn.fit":        "to be cut where connections are found",
	"conn.send":       "a case for each control that is sent, in the order of RFC 9293 §3.10.7",
	"conn.keepStalls": "to be cut with what is kept of stalls",
}

func TestFunctionsAreSimple(t *testing.T) {
	fset, files := sourceFiles(t)
	known := oracle.NewExceptions(tooComplex)
	for _, f := range files {
		for _, d := range f.file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			paths := 1
			ast.Inspect(fn, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
					paths++
				case *ast.CaseClause:
					if n.List != nil {
						paths++
					}
				case *ast.CommClause:
					if n.Comm != nil {
						paths++
					}
				case *ast.BinaryExpr:
					if n.Op == token.LAND || n.Op == token.LOR {
						paths++
					}
				}
				return true
			})
			if paths > mostPaths && known.Reason(f.file.Name.Name+"."+fn.Name.Name) == "" {
				t.Errorf("%v: %s has %d paths, want at most %d", fset.Position(fn.Pos()), fn.Name.Name, paths, mostPaths)
			}
		}
	}
	for _, name := range known.Stale() {
		t.Errorf("%s is simple: it need not be excepted", name)
	}
}
