package policy

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/kinds"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// An expression is compiled against the type of the record when it is read, so
// that a misspelt field, state or kind is an error then, with a caret under it.
//
// It may come from a stranger, so it is bounded: in length and nodes, in the
// functions that it may call (none that builds one value out of another again
// and again), and in what it takes (budget.go).

const (
	maxText  = 4096
	maxNodes = 1000
)

// functions are the builtins that may be called.
var functions = []string{
	"all", "any", "one", "none", "filter", "map", "find", "first", "last", "len", "count",
	"sum", "min", "max", "mean", "median", "abs", "ceil", "floor", "round", "int", "float", "lower", "upper", "date",
}

// Functions returns the names of the functions that an expression may call.
func Functions() []string { return slices.Clone(functions) }

// setName is the name of the set in a rule of the kind count.
const setName = "connections"

// setType is what an expression over the set sees.
var setType = reflect.StructOf([]reflect.StructField{{
	Name: "F0", Type: reflect.SliceOf(reflect.PointerTo(record.EnvType())), Tag: `expr:"connections"`,
}})

// An Expr is an expression that was compiled. It is for one goroutine.
type Expr struct {
	text    string
	program *vm.Program
	nodes   int
	names   map[string]bool // of fields that it mentions, and more: every string and identifier in it
	paths   []string        // of fields that it mentions, in their order
	budget  *budget
}

// A TextError is a fault in an expression.
type TextError struct {
	What   string
	Source string // the line of the expression
	Line   int    // of the expression, from 1
	Column int    // on that line, from 0
}

func (e *TextError) Error() string {
	return fmt.Sprintf("%s\n  %s\n  %s^", e.What, e.Source, strings.Repeat(" ", e.Column))
}

// A Condition is the expression of --where, over one connection. It is for one
// goroutine.
type Condition struct {
	x   *Expr
	err error
}

// Where compiles the expression of --where.
func Where(text string) (*Condition, error) {
	x, err := compile(text, record.EnvType(), newBudget())
	if err != nil {
		return nil, err
	}
	return &Condition{x: x}, nil
}

// Holds reports whether the condition is true of a connection.
func (c *Condition) Holds(r *tracker.Record) bool {
	if c.err != nil {
		return false
	}
	c.x.budget.more()
	ok, err := c.x.holds(record.EnvOf(r).Interface())
	if errors.Is(err, errTooLong) {
		c.err = err
	}
	return ok && err == nil
}

// Err says that the condition could not be asked of every connection.
func (c *Condition) Err() error { return c.err }

// compile compiles an expression over env, which must be true or false.
func compile(text string, env reflect.Type, b *budget) (*Expr, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("the expression is longer than %d bytes", maxText)
	}
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("the expression is empty")
	}
	patterns, fault := b.patternsOf(text)
	if fault != nil {
		return nil, explainError(fault.Bind(file.NewSource(text)), env)
	}
	x := &Expr{text: text, names: make(map[string]bool), budget: b}
	reader := &reader{names: x.names}
	options := append(b.options(),
		expr.Env(reflect.New(env).Elem().Interface()), expr.AsBool(), expr.Optimize(false), expr.MaxNodes(maxNodes),
		expr.DisableAllBuiltins(), expr.Patch(reader), expr.Patch(&meter{patterns: patterns}))
	for _, name := range functions {
		options = append(options, expr.EnableBuiltin(name))
	}
	program, err := expr.Compile(text, options...)
	if reader.fault != nil && (err == nil || !strings.HasPrefix(err.Error(), "unexpected")) {
		err = reader.fault.Bind(file.NewSource(text))
	}
	if err != nil {
		return nil, explainError(err, env)
	}
	x.paths, x.program, x.nodes = reader.paths, program, nodesOf(program.Node())
	return x, nil
}

// holds evaluates the expression. An error says why it is neither true nor
// false; errTooLong that it was cut short, an error of the context that it was
// to end.
func (x *Expr) holds(env any) (bool, error) {
	b := x.budget
	b.made = 0
	if err := b.take(x.nodes); err != nil {
		return false, err
	}
	out, err := b.vm.Run(x.program, env)
	if err == nil {
		return out.(bool), nil
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	switch {
	case b.ctx.Err() != nil:
		return false, b.ctx.Err()
	case errors.Is(err, errTooLong) || strings.Contains(text, "memory budget"):
		return false, errTooLong
	case strings.Contains(text, "nil"):
		return false, errors.New("it needs a field that the record lacks")
	}
	return false, errors.New(text)
}

// structText finds a struct in the messages of expr.
var structText = regexp.MustCompile(`(\*|\[\])*struct \{[^}]*\}?`)

// unknownField is what expr says of a field that does not exist.
var unknownField = regexp.MustCompile(`^type (.*) has no field (\S+)`)

// explainError says in our words what expr found.
func explainError(err error, env reflect.Type) error {
	var e *file.Error
	if !errors.As(err, &e) {
		if err.Error() == "expected bool, but got *bool" {
			return errors.New("a field that a record may lack is not a condition by itself; compare it: == true")
		}
		return err
	}
	what, _, _ := strings.Cut(e.Message, "\n")
	if m := unknownField.FindStringSubmatch(what); m != nil {
		fields := fieldsOf(env, m[1])
		what = unknown("field", m[2], fields, fields)
	} else if name, ok := strings.CutPrefix(what, "unknown name "); ok {
		fields := record.EnvNames(env)
		allowed := append(slices.Clone(fields), "states such as TIME_WAIT", "kinds such as rst_instead_of_ack", "and the functions "+strings.Join(functions, ", "))
		what = unknown("name", name, slices.Concat(fields, functions, slices.Sorted(maps.Keys(words))), allowed)
	} else {
		names := typeNames(env)
		outermost := slices.SortedFunc(maps.Keys(names), func(a, b string) int { return len(b) - len(a) })
		for _, t := range outermost {
			what = strings.ReplaceAll(what, t, names[t])
		}
		what = structText.ReplaceAllString(what, "a record")
	}
	if e.Line == 0 {
		return errors.New(what)
	}
	lines := strings.Split(err.Error(), "\n | ")
	source := ""
	if len(lines) > 1 {
		source = lines[1]
	}
	return &TextError{What: what, Source: text.Escape(source), Line: e.Line, Column: e.Column}
}

// unknown says that there is no such name, which of those that there are was
// probably meant, and what is allowed.
func unknown(what, name string, names, allowed []string) string {
	hint := ""
	if meant := text.Meant(name, names); len(meant) > 0 {
		hint = ", did you mean " + strings.Join(meant, ", ") + "?"
	}
	return fmt.Sprintf("unknown %s %q%s (%s)", what, name, hint, strings.Join(allowed, ", "))
}

// fieldsOf returns the fields of the struct in env that expr writes so.
func fieldsOf(env reflect.Type, text string) (names []string) {
	walkTypes(env, "", func(t reflect.Type, _ string) {
		if t.String() == text {
			names = record.EnvNames(t)
		}
	})
	return names
}

// typeNames returns what to call the structs in env.
func typeNames(env reflect.Type) map[string]string {
	names := make(map[string]string)
	walkTypes(env, "a record", func(t reflect.Type, path string) {
		if name, taken := names[t.String()]; taken && name != path {
			path = "an end"
		}
		names[t.String()] = path
	})
	return names
}

// walkTypes calls f with every struct in env.
func walkTypes(t reflect.Type, path string, f func(reflect.Type, string)) {
	switch t.Kind() {
	case reflect.Slice, reflect.Pointer:
		walkTypes(t.Elem(), path, f)
	case reflect.Struct:
		if names := record.EnvNames(t); len(names) > 0 {
			f(t, path)
			for i, name := range names {
				walkTypes(t.Field(i).Type, name, f)
			}
		}
	}
}

// A reader goes through an expression once: it puts the names of states and
// kinds in, and finds what is not allowed.
type reader struct {
	names map[string]bool
	paths []string
	fault *file.Error
}

// Visit takes one node; those inside it came before.
func (v *reader) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		v.names[n.Value] = true
		if word, ok := words[n.Value]; ok {
			v.patch(node, &ast.StringNode{Value: word})
		}
		v.path(n)
	case *ast.MemberNode:
		v.path(n)
	case *ast.StringNode:
		v.names[n.Value] = true
	case *ast.VariableDeclaratorNode:
		v.refuse(n, "let is not allowed")
	case *ast.BuiltinNode:
		if !slices.Contains(functions, n.Name) {
			v.refuse(n, "%s is not allowed (%s)", n.Name, strings.Join(functions, ", "))
		}
	case *ast.BinaryNode:
		v.binary(n)
	}
}

// path notes the path of a field.
func (v *reader) path(n ast.Node) {
	if path := pathOf(n); path != "" && !slices.Contains(v.paths, path) {
		v.paths = append(v.paths, path)
	}
}

// pathOf returns the path of a member, client.state; "" if it has none.
func pathOf(n ast.Node) string {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return n.Value
	case *ast.MemberNode:
		name, ok := n.Property.(*ast.StringNode)
		if of := pathOf(n.Node); ok && of != "" {
			return of + "." + name.Value
		}
	}
	return ""
}

func (v *reader) patch(node *ast.Node, by ast.Node) {
	by.SetLocation((*node).Location())
	*node = by
}

// refuse notes the first thing that is not allowed.
func (v *reader) refuse(n ast.Node, format string, args ...any) {
	if v.fault == nil {
		v.fault = &file.Error{Location: n.Location(), Message: fmt.Sprintf(format, args...)}
	}
}

// binary checks an operator and what stands on both sides of it.
func (v *reader) binary(n *ast.BinaryNode) {
	switch n.Operator {
	case "matches":
		if _, ok := n.Right.(*ast.StringNode); !ok {
			v.refuse(n, "matches needs a pattern in quotes")
		}
	case "==", "!=", "in":
		v.known(n.Left, n.Right)
		v.known(n.Right, n.Left)
	}
}

// known refuses words that a field never has, compared with it.
func (v *reader) known(field, with ast.Node) {
	var name string
	switch n := field.(type) {
	case *ast.IdentifierNode:
		name = n.Value
	case *ast.MemberNode:
		if s, ok := n.Property.(*ast.StringNode); ok {
			name = s.Value
		}
	}
	allowed := vocabulary[name]
	if allowed == nil {
		return
	}
	list := []ast.Node{with}
	if a, ok := with.(*ast.ArrayNode); ok {
		list = a.Nodes
	}
	for _, item := range list {
		if s, ok := item.(*ast.StringNode); ok && !slices.Contains(allowed, s.Value) {
			more := strings.Join(allowed, ", ")
			if len(allowed) > 20 {
				more = "tcpwatch anomalies lists them"
			}
			v.refuse(item, "%s is never %q (%s)", name, text.Escape(s.Value), more)
		}
	}
}

// words are the names of states and kinds as identifiers, with what they stand for.
var words = makeWords()

func makeWords() map[string]string {
	words := map[string]string{tcp.Unknown.String(): tcp.Unknown.String()}
	for _, s := range tcp.States() {
		words[s.String()] = s.String()
	}
	for _, k := range kinds.All() {
		words[strings.ReplaceAll(k.Name, "-", "_")] = k.Name
	}
	return words
}

// vocabulary is, by field, the words that it can have.
var vocabulary = makeVocabulary()

func makeVocabulary() map[string][]string {
	v := make(map[string][]string)
	for _, s := range append(tcp.States(), tcp.Unknown) {
		v["state"] = append(v["state"], s.String())
	}
	v["proved_state"] = v["state"]
	for _, k := range kinds.All() {
		v["kind"] = append(v["kind"], k.Name)
	}
	v["kind"] = append(v["kind"], timerKinds...)
	v["severity"] = Severities()
	for c := tcp.ByClient; c < tcp.NumClosedBy; c++ {
		v["closed_by"] = append(v["closed_by"], c.String())
	}
	for r := tcp.ResetByClient; r < tcp.NumResetBy; r++ {
		v["reset_by"] = append(v["reset_by"], r.String())
	}
	for o := tcp.FromSYN; o <= tcp.FromMidstream; o++ {
		v["origin"] = append(v["origin"], o.String())
	}
	v["stack"] = tcp.Stacks()
	for c := tcp.StackUnknown; c <= tcp.StackNamed; c++ {
		v["stack_certainty"] = append(v["stack_certainty"], c.String())
	}
	certainty := map[string]bool{anomaly.ConfidenceAmbiguous.String(): true}
	for c := range tcp.NumCertainties {
		certainty[c.String()] = true
	}
	v["certainty"] = slices.Sorted(maps.Keys(certainty))
	return v
}

// timerKinds are the kinds of timers; the field has the name of the one that
// has kinds of anomalies.
var timerKinds = []string{"2msl", "fin-wait-2", "syn", "syn-ack", "fin"}
