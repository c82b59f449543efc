//go:build unix

package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
)

// A mutant is one fault: other text in place of some text of a function.
type mutant struct {
	name     string // package, function, and what becomes of which text
	file     string // from the root of the repository
	at       token.Position
	from, to int // offsets in the file
	text     string

	first, last int // its lines in the file that holds all mutants
}

// A function is a body with its mutants. Functions within it belong to it.
type function struct {
	open, end int  // offsets of the braces
	bare      bool // a return without results is allowed
	mutants   []*mutant
}

// finder looks for mutants in one file.
type finder struct {
	fset  *token.FileSet
	src   []byte
	file  string
	scope string // package and function
	names map[string]int
	asked map[ast.Expr]bool // conditions that were set to true or false already
	found []*mutant
}

// find returns the functions of the file. Those with labels are left out: a
// label can stand once in a function, and every mutant needs its own.
func find(file, pkg string, src []byte, names map[string]int) ([]function, error) {
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, file, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f := &finder{fset: fset, src: src, file: file, names: names, asked: map[ast.Expr]bool{}}
	var functions []function
	take := func(scope string, typ *ast.FuncType, body *ast.BlockStmt) {
		f.scope, f.found = pkg+"."+scope, nil
		f.walk(body, typ.Results)
		bare := typ.Results == nil || len(typ.Results.List[0].Names) > 0
		if len(f.found) > 0 && !hasLabel(body) {
			functions = append(functions, function{f.offset(body.Lbrace), f.offset(body.Rbrace), bare, f.found})
		}
	}
	for _, decl := range parsed.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Body == nil {
				continue
			}
			scope := decl.Name.Name
			if decl.Recv != nil {
				scope = "(" + f.textOf(decl.Recv.List[0].Type) + ")." + scope
			}
			take(scope, decl.Type, decl.Body)
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				ast.Inspect(spec, func(n ast.Node) bool {
					lit, ok := n.(*ast.FuncLit)
					if ok {
						take(spec.(*ast.ValueSpec).Names[0].Name, lit.Type, lit.Body)
					}
					return !ok
				})
			}
		}
	}
	return functions, nil
}

func hasLabel(body ast.Node) (has bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		_, is := n.(*ast.LabeledStmt)
		has = has || is
		return true
	})
	return has
}

func (f *finder) offset(p token.Pos) int { return f.fset.Position(p).Offset }

func (f *finder) textOf(n ast.Node) string {
	return string(f.src[f.offset(n.Pos()):f.offset(n.End())])
}

// put adds the mutant that has the text in place of the node. The name shows
// the node around it, and what is put there.
func (f *finder) put(around, n ast.Node, text, shown string) {
	from, to := f.offset(n.Pos()), f.offset(n.End())
	name := fmt.Sprintf("%s: %s -> %s", f.scope, oneLine(f.textOf(around)), shown)
	f.names[name]++
	if times := f.names[name]; times > 1 {
		name = fmt.Sprintf("%s (%d)", name, times)
	}
	f.found = append(f.found, &mutant{name: name, file: f.file, at: f.fset.Position(n.Pos()), from: from, to: to, text: text})
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// set makes the condition true or false. It is still evaluated, so that its
// variables stay in use.
func (f *finder) set(cond ast.Expr, to bool) {
	f.asked[cond] = true
	by := " && false)"
	if to {
		by = " || true)"
	}
	f.put(cond, cond, "(("+f.textOf(cond)+")"+by, fmt.Sprint(to))
}

var (
	negated = map[token.Token]string{token.EQL: "!=", token.NEQ: "==", token.LSS: ">=", token.LEQ: ">", token.GTR: "<=", token.GEQ: "<"}
	shifted = map[token.Token]string{token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">"}
	swapped = map[token.Token]string{token.ADD: "-", token.SUB: "+", token.ADD_ASSIGN: "-=", token.SUB_ASSIGN: "+="}
	bounds  = map[string]string{"Before": "AtMost", "AtMost": "Before"} // < and <= of sequence numbers
)

// operator puts another operator in place of the one at the position.
func (f *finder) operator(around ast.Node, at token.Pos, op token.Token, by map[token.Token]string) {
	if text, ok := by[op]; ok {
		f.put(around, &ast.BasicLit{ValuePos: at, Value: op.String()}, text, text)
	}
}

// walk finds the mutants of a body whose function has the results.
//
// There is no swap of && and ||: with one operand set to true, or false, a test
// that tells them apart has less to go by, and so it sees the swap as well. Nor
// is a comparison negated that is set to both.
func (f *finder) walk(body *ast.BlockStmt, results *ast.FieldList) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			f.walk(n.Body, n.Type.Results)
			return false
		case *ast.BlockStmt:
			f.drop(n.List)
		case *ast.CaseClause:
			f.drop(n.Body)
		case *ast.IfStmt:
			if op := operatorOf(n.Cond); op != token.LAND {
				f.set(n.Cond, true)
			}
			if op := operatorOf(n.Cond); op != token.LOR {
				f.set(n.Cond, false)
			}
		case *ast.SwitchStmt:
			for _, clause := range n.Body.List {
				for _, cond := range clause.(*ast.CaseClause).List {
					if n.Tag == nil {
						f.set(cond, false)
					}
				}
			}
		case *ast.ReturnStmt:
			f.zero(n, results)
		case *ast.BinaryExpr:
			for _, operand := range []ast.Expr{n.X, n.Y} {
				if n.Op == token.LAND || n.Op == token.LOR {
					if operatorOf(operand) != n.Op {
						f.set(operand, n.Op == token.LAND)
					}
				}
			}
			if !f.asked[n] {
				f.operator(n, n.OpPos, n.Op, negated)
			}
			f.operator(n, n.OpPos, n.Op, shifted)
			f.operator(n, n.OpPos, n.Op, swapped)
		case *ast.AssignStmt:
			f.operator(n, n.TokPos, n.Tok, swapped)
		case *ast.CallExpr:
			if method, ok := n.Fun.(*ast.SelectorExpr); ok && bounds[method.Sel.Name] != "" {
				f.put(n, method.Sel, bounds[method.Sel.Name], bounds[method.Sel.Name])
			}
		}
		return true
	})
}

func operatorOf(x ast.Expr) token.Token {
	if paren, ok := x.(*ast.ParenExpr); ok {
		return operatorOf(paren.X)
	}
	if binary, ok := x.(*ast.BinaryExpr); ok {
		return binary.Op
	}
	return token.ILLEGAL
}

// drop leaves out each call and assignment of the list.
func (f *finder) drop(list []ast.Stmt) {
	for _, s := range list {
		assign, ok := s.(*ast.AssignStmt)
		_, call := s.(*ast.ExprStmt)
		_, step := s.(*ast.IncDecStmt)
		if call || step || ok && assign.Tok != token.DEFINE {
			f.put(s, s, "", "nothing")
		}
	}
}

// zero returns nothing but zero values, and true instead of another bool.
func (f *finder) zero(n *ast.ReturnStmt, results *ast.FieldList) {
	if len(n.Results) == 0 {
		return
	}
	var types []string
	for _, field := range results.List {
		for range max(1, len(field.Names)) {
			types = append(types, f.textOf(field.Type))
		}
	}
	isZero := true
	for _, result := range n.Results {
		isZero = isZero && strings.Contains(" nil false 0 \"\" ", " "+f.textOf(result)+" ")
	}
	if len(types) == 1 && types[0] == "bool" {
		if result := n.Results[0]; f.textOf(result) != "true" && operatorOf(result) != token.LAND {
			f.set(result, true)
		}
		f.asked[n.Results[0]] = true
	}
	if !isZero {
		f.put(n, n, "return *new("+strings.Join(types, "), *new(")+")", "zero")
	}
}

// together returns the file with every mutant beside the function that it
// mutates, to be chosen by the variable mutantOn, which is the number of one, and
// notes in each mutant where it stands.
func together(src []byte, functions []function, number func(*mutant) int) []byte {
	var out bytes.Buffer
	at, line := 0, 1
	write := func(text []byte) {
		out.Write(text)
		line += bytes.Count(text, []byte("\n"))
	}
	for _, fn := range functions {
		write(src[at : fn.open+1])
		write([]byte("\nswitch mutantOn {\n"))
		for _, m := range fn.mutants {
			write(fmt.Appendf(nil, "case %d:\n", number(m)))
			m.first = line
			write(src[fn.open+1 : m.from])
			write([]byte(m.text))
			write(src[m.to:fn.end])
			if fn.bare {
				write([]byte("\nreturn"))
			}
			m.last = line
			write([]byte("\n"))
		}
		write([]byte("}\n"))
		at = fn.open + 1
	}
	write(src[at:])
	return out.Bytes()
}
