package conn

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// sources parses the package, that of the ends, and those that look at its connections, without
// their tests.
func sources(t *testing.T) (*token.FileSet, map[string]*ast.File) {
	var paths []string
	for _, dir := range []string{"", "../endpoint/", "../../", "../../anomaly/", "../../crossflow/"} {
		list, err := filepath.Glob(dir + "*.go")
		if err != nil || len(list) == 0 {
			t.Fatalf("no sources found in %q: %v", dir, err)
		}
		paths = append(paths, list...)
	}
	fset, files := token.NewFileSet(), map[string]*ast.File{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files[path] = f
	}
	return fset, files
}

// The states of an end are written in states.go alone.
func TestOneFileWritesStates(t *testing.T) {
	states := map[string]bool{}
	fset, files := sources(t)
	ast.Inspect(files["../endpoint/states.go"], func(n ast.Node) bool {
		if f, ok := n.(*ast.StructType); ok {
			for _, field := range f.Fields.List {
				for _, name := range field.Names {
					states[name.Name] = true
				}
			}
		}
		return true
	})
	if len(states) != 3 {
		t.Fatalf("states.go has the fields %v, want three", states)
	}
	for path, f := range files {
		if path == "../endpoint/states.go" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			var written []ast.Expr
			switch n := n.(type) {
			case *ast.AssignStmt:
				written = n.Lhs
			case *ast.IncDecStmt:
				written = []ast.Expr{n.X}
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					written = []ast.Expr{n.X}
				}
			}
			for _, to := range written {
				if field, ok := to.(*ast.SelectorExpr); ok && (states[field.Sel.Name] || field.Sel.Name == "States") {
					t.Errorf("%v: %s is written outside states.go", fset.Position(n.Pos()), field.Sel.Name)
				}
			}
			return true
		})
	}
}
