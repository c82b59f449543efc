package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/capture/decode"
	"github.com/tcpwatch/tcpwatch/capture/pcap"
	"github.com/tcpwatch/tcpwatch/report/catalogue"
	"github.com/tcpwatch/tcpwatch/report/policy"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/serve"
)

// readmeBlocks says which page has which block: the part between "<!-- name -->"
// and "<!-- /name -->", which is what the program prints, or what a file has.
var readmeBlocks = map[string]string{
	"sample":    "README.md",
	"compare":   "README.md",
	"explain":   "report/README.md",
	"fields":    "report/README.md",
	"ladder":    "CONTRIBUTING.md",
	"story":     "cmd/lab/README.md",
	"check":     "report/policy/README.md",
	"policy":    "report/policy/README.md",
	"states":    "tracker/README.md",
	"diagram":   "tracker/README.md",
	"anomalies": "tracker/README.md",
	"metrics":   "report/README.md",
	"linktypes": "capture/README.md",
	"headers":   "capture/README.md",
}

// The blocks of the pages are what they say. UPDATE=1 writes them anew.
func TestReadmeBlocks(t *testing.T) {
	sample, _ := replayed(t, "replay", "../pcaps/rst-instead-of-ack.pcap")
	compared, _ := replayed(t, "compare", "../pcaps/final-ack-lost/client.pcap", "../pcaps/final-ack-lost/server.pcap")
	ladder, _ := replayed(t, "explain", "../pcaps/time-wait-assassination.pcap")
	story, err := os.ReadFile("lab/testdata/stories/final-ack-lost-once.txt")
	if err != nil {
		t.Fatal(err)
	}
	abort, err := os.ReadFile("../tracker/testdata/anomaly/abort-after-fin.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := pages(t)
	fenced := func(language string, text []byte) []byte {
		return fmt.Appendf(nil, "```%s\n%s```\n", language, text)
	}
	texts := map[string][]byte{
		"sample":    fenced("", sample),
		"compare":   fenced("", compared),
		"explain":   fenced("", ladder),
		"fields":    record.FieldsMarkdown(),
		"ladder":    fenced("", abort),
		"story":     fenced("", story),
		"check":     fenced("", violated(t, all[readmeBlocks["check"]])),
		"policy":    policy.KeysMarkdown(),
		"states":    catalogue.StatesMarkdown(),
		"diagram":   fenced("mermaid", catalogue.StatesMermaid()),
		"anomalies": catalogue.KindsMarkdown(),
		"metrics":   serve.MetricsMarkdown(),
		"linktypes": linkTypes(t),
		"headers":   headers(),
	}
	for name, page := range readmeBlocks {
		begin, end := []byte("<!-- "+name+" -->\n"), []byte("<!-- /"+name+" -->\n")
		before, rest, ok1 := bytes.Cut(all[page], begin)
		got, after, ok2 := bytes.Cut(rest, end)
		if !ok1 || !ok2 || texts[name] == nil {
			t.Errorf("%s has no block %q, or nothing says what it has", page, name)
			continue
		}
		if bytes.Equal(got, texts[name]) {
			continue
		}
		if os.Getenv("UPDATE") == "" {
			t.Errorf("the block %q of %s differs from what the program prints:\n%s", name, page, texts[name])
			continue
		}
		all[page] = bytes.Join([][]byte{before, begin, texts[name], end, after}, nil)
		if err := os.WriteFile(filepath.Join("..", page), all[page], 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// headers lists the headers that are read, and what each follows.
func headers() []byte {
	list := []byte("| header | it follows |\n| --- | --- |\n")
	for name, follows := range decode.Headers() {
		if len(follows) > 6 { // the queues of one tunnel
			follows = []string{follows[0], "...", follows[len(follows)-1]}
		}
		list = fmt.Appendf(list, "| %s | %s |\n", name, strings.Join(follows, ", "))
	}
	return list
}

// linkTypes lists the link types that are read, by their names in filters and
// messages, and what their constants say of them.
func linkTypes(t *testing.T) []byte {
	f, err := parser.ParseFile(token.NewFileSet(), "../capture/pcap/linktype.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	list := []byte("| name | number | a packet begins with |\n| --- | --- | --- |\n")
	ast.Inspect(f, func(n ast.Node) bool {
		c, ok := n.(*ast.ValueSpec)
		if !ok || c.Type == nil || c.Type.(*ast.Ident).Name != "LinkType" {
			return true
		}
		number, err := strconv.Atoi(c.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		list = fmt.Appendf(list, "| `%v` | %d | %s |\n", pcap.LinkType(number), number, strings.TrimSpace(c.Comment.Text()))
		return true
	})
	if bytes.Count(list, []byte("\n")) < 20 {
		t.Fatalf("few link types found:\n%s", list)
	}
	return list
}

// The commands in the pages that begin with "go run . " do what they say they
// do: all print something, and those that say "exits 1" exit 1.
func TestReadmeTours(t *testing.T) {
	var tours [][][]byte
	for _, text := range pages(t) {
		tours = append(tours, regexp.MustCompile(`(?m)^go run \. (.*?)(?: > \S+)?(?:\s+# (.*))?$`).FindAllSubmatch(text, -1)...)
	}
	if len(tours) < 20 {
		t.Errorf("%d commands found, want at least 20", len(tours))
	}
	for _, tour := range tours {
		t.Run(string(tour[1]), func(t *testing.T) {
			shell := exec.Command("sh", "-c", "tcpwatch "+string(tour[1]))
			shell.Dir = ".."
			out, err := shell.Output()
			var exit *exec.ExitError
			if fails := strings.Contains(string(tour[2]), "exits 1"); fails != (errors.As(err, &exit) && exit.ExitCode() == exitViolation) || !fails && err != nil {
				t.Errorf("%v, which is not what the page says", err)
			}
			if len(out) == 0 {
				t.Error("it prints nothing")
			}
		})
	}
}

// violated returns what check prints of the capture that breaks the policy that
// the page shows. The other captures that it names pass.
func violated(t *testing.T, page []byte) []byte {
	_, rest, ok1 := bytes.Cut(page, []byte("cat > tcpwatch.yaml <<'END'\n"))
	text, _, ok2 := bytes.Cut(rest, []byte("END\n"))
	if !ok1 || !ok2 {
		t.Fatal("the page shows no policy")
	}
	path := filepath.Join(t.TempDir(), "tcpwatch.yaml")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	t.Run("policy", func(t *testing.T) {
		t.Chdir("..") // the names of the captures are printed
		for _, args := range [][]string{{"check", "pcaps/close-wait-leak.pcap"}, {"check", "--policy", path, "pcaps/normal-close.pcap"}} {
			if _, stderr := replayed(t, args...); stderr != "" {
				t.Errorf("%v: standard error has %q", args, stderr)
			}
		}
		if status := execute(t.Context(), []string{"check", "--policy", path, "pcaps/close-wait-leak.pcap"}, &out, io.Discard); status != exitViolation {
			t.Errorf("exit status %d, want %d", status, exitViolation)
		}
	})
	return bytes.ReplaceAll(out.Bytes(), []byte(path), []byte("tcpwatch.yaml"))
}

// The samples are what their policy says.
func TestPolicyOfSamples(t *testing.T) {
	captures, err := filepath.Glob("../pcaps/*.pcap")
	if err != nil || len(captures) < 15 {
		t.Fatalf("%d captures found, want at least 15: %v", len(captures), err)
	}
	if _, stderr := replayed(t, append([]string{"check", "--policy", "../pcaps/tcpwatch.yaml"}, captures...)...); stderr != "" {
		t.Errorf("standard error has %q, want nothing", stderr)
	}
}
