package cmd

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pages returns the Markdown files of the repository, by their paths from its
// root.
func pages(t *testing.T) map[string][]byte {
	found := map[string][]byte{}
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return filepath.SkipDir
		case filepath.Ext(file) == ".md":
			text, err := os.ReadFile(file)
			found[strings.TrimPrefix(filepath.ToSlash(file), "../")] = text
			return err
		}
		return nil
	})
	if err != nil || found["README.md"] == nil {
		t.Fatalf("%d pages found: %v", len(found), err)
	}
	return found
}

var (
	mdFence   = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	mdCode    = regexp.MustCompile("`[^`\n]+`")
	mdHeading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	mdLink    = regexp.MustCompile(`\]\(([^)\s]*)\)`)
)

// anchorsOf returns the anchors that GitHub gives the headings of a page.
func anchorsOf(text []byte) map[string]bool {
	anchors := map[string]bool{}
	for _, heading := range mdHeading.FindAllSubmatch(mdFence.ReplaceAll(text, nil), -1) {
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
				return r
			}
			return -1
		}, strings.ToLower(string(heading[1])))
		name := slug
		for n := 1; anchors[name]; n++ {
			name = fmt.Sprintf("%s-%d", slug, n)
		}
		anchors[name] = true
	}
	return anchors
}

// linksOf returns where a page's links lead, pictures too.
func linksOf(text []byte) (targets []string) {
	text = mdCode.ReplaceAll(mdFence.ReplaceAll(text, nil), nil)
	for _, link := range mdLink.FindAllSubmatch(text, -1) {
		targets = append(targets, string(link[1]))
	}
	return targets
}

// reachable returns the files to which links lead from README.md, by way of
// other pages too.
func reachable(all map[string][]byte) map[string]bool {
	reached := map[string]bool{"README.md": true}
	for queue := []string{"README.md"}; len(queue) > 0; queue = queue[1:] {
		for _, target := range linksOf(all[queue[0]]) {
			file, _, _ := strings.Cut(target, "#")
			if to := path.Join(path.Dir(queue[0]), file); file != "" && !strings.Contains(target, "://") && !reached[to] {
				reached[to] = true
				queue = append(queue, to)
			}
		}
	}
	return reached
}

// Every link between pages leads somewhere; README.md links to every page, and
// every picture is shown. What lies in testdata is for who reads the tests.
func TestReadmeLinks(t *testing.T) {
	all := pages(t)
	reached, front := reachable(all), linksOf(all["README.md"])
	for name, text := range all {
		if name != "README.md" && !slices.Contains(front, name) && !strings.Contains(name, "testdata/") {
			t.Errorf("README.md has no link to %s", name)
		}
		for _, target := range linksOf(text) {
			if strings.Contains(target, "://") {
				continue
			}
			file, anchor, anchored := strings.Cut(target, "#")
			to := path.Join(path.Dir(name), file)
			if file == "" {
				to = name
			}
			if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(to))); err != nil {
				t.Errorf("%s links to %s, which is not there", name, target)
			} else if anchored && !anchorsOf(all[to])[anchor] {
				t.Errorf("%s links to %s, where no heading has that name", name, target)
			}
		}
	}
	pictures, err := filepath.Glob("../.pictures/*")
	if err != nil || len(pictures) == 0 {
		t.Fatalf("%d pictures found: %v", len(pictures), err)
	}
	for _, picture := range pictures {
		if name := strings.TrimPrefix(filepath.ToSlash(picture), "../"); !reached[name] {
			t.Errorf("no page shows %s", name)
		}
	}
}

// The anchors of headings are those that GitHub makes.
func TestReadmeAnchors(t *testing.T) {
	got := anchorsOf([]byte("# Is it true?\n```\n# a comment\n```\n## What `-o` is\n## Same\n### Same\n"))
	for _, want := range []string{"is-it-true", "what--o-is", "same", "same-1"} {
		if !got[want] {
			t.Errorf("no anchor %q in %v", want, got)
		}
	}
	if got["a-comment"] {
		t.Error("a comment in a block of code is taken for a heading")
	}
}

// The files that pages name are there: what stands in `code` and begins with a
// room is a path from the root of the repository.
func TestReadmePaths(t *testing.T) {
	named := regexp.MustCompile("`((?:tracker|capture|report|cmd|pcaps)/[^`\\s<{]*)`")
	n := 0
	for name, text := range pages(t) {
		for _, file := range named.FindAllSubmatch(mdFence.ReplaceAll(text, nil), -1) {
			n++
			if found, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(string(file[1])))); err != nil || len(found) == 0 {
				t.Errorf("%s names %s, which is not there", name, file[1])
			}
		}
	}
	if n < 40 {
		t.Errorf("%d paths found, want at least 40", n)
	}
}

// blockNames are the marks at which parts of pages begin that programs write.
var blockNames = regexp.MustCompile(`(?m)^<!-- (\w+) -->$`)

// Pages have no block that TestReadmeBlocks does not compare.
func TestReadmeBlocksAreCompared(t *testing.T) {
	for name, text := range pages(t) {
		for _, block := range blockNames.FindAllSubmatch(text, -1) {
			if readmeBlocks[string(block[1])] != name {
				t.Errorf("%s has a block %q, which no test compares", name, block[1])
			}
		}
	}
}

// README.md and CONTRIBUTING.md are read in one go: what is reference belongs in
// the rooms' pages.
func TestReadmeIsShort(t *testing.T) {
	for name, most := range map[string]int{"README.md": 16 << 10, "CONTRIBUTING.md": 6 << 10} {
		if n := len(pages(t)[name]); n > most || n == 0 {
			t.Errorf("%s has %d bytes, want at most %d", name, n, most)
		}
	}
}

// goTests are the calls of go test that pages show, with the packages and what
// they run of these.
var goTests = regexp.MustCompile(`go test((?: -tags \w+)?) (\./[\w./]+|\.)((?: -v)?(?: -run '?([\w^$]+))?)`)

// The tests that pages tell people to run are there: the packages are, and have a
// test of that name.
func TestReadmeTestsAreThere(t *testing.T) {
	n := 0
	for name, text := range pages(t) {
		for _, call := range goTests.FindAllSubmatch(text, -1) {
			n++
			dir, deep := strings.CutSuffix(string(call[2]), "/...")
			if dir == "." && !deep {
				continue // in a directory that the text names
			}
			if !hasTest(t, filepath.Join("..", filepath.FromSlash(dir)), deep, string(call[4])) {
				t.Errorf("%s: %q runs no test", name, call[0])
			}
		}
	}
	if n < 10 {
		t.Errorf("%d calls found, want at least 10", n)
	}
}

// hasTest reports whether a directory, or one in it, has a test whose name -run
// would select.
func hasTest(t *testing.T, dir string, deep bool, run string) (found bool) {
	tests := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	selects, err := regexp.Compile(run)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != dir && !deep:
			return filepath.SkipDir
		case !strings.HasSuffix(file, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(file)
		for _, f := range tests.FindAllSubmatch(text, -1) {
			found = found || run == "^$" || selects.Match(f[1])
		}
		return err
	})
	return err == nil && found
}
