package policy

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp/syntax"
	"slices"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// What the expressions of a policy take is counted in steps: a node of an
// expression that is evaluated is one, in a predicate for each item anew, and so
// is an item of a list, or 64 bytes of a text, where an operator looks at all of
// them. A regular expression takes one for 8 of its instructions at each byte. A
// step is 50 ns at most.
//
// A run may take maxSteps, which its captures share, each at least leastSteps,
// and moreSteps for every connection. So the time is bounded by the number of
// captures and connections, whatever the expressions are.
const (
	maxSteps   = 20_000_000
	leastSteps = 1_000_000
	moreSteps  = 20_000

	maxItems   = 1_000_000 // of the lists that one evaluation makes
	maxMade    = 1 << 20   // bytes of the texts that it makes
	maxMadeOne = 4096      // bytes of one of them

	MaxPatterns     = 100  // regular expressions of a policy
	maxPattern      = 256  // bytes of one
	maxInstructions = 2000 // that one is compiled to

	stepsOfDate = 64
)

// errTooLong says that an expression was cut short.
var errTooLong = errors.New("it takes too many steps or too much memory")

// A budget is what the expressions of a policy may take. They share it, and the
// memory that they are evaluated in.
type budget struct {
	ctx      context.Context // when it is done, so is the evaluation
	vm       vm.VM
	steps    int // that are left
	made     int // bytes of texts that the evaluation at hand has made
	patterns int // regular expressions, so far
}

func newBudget() *budget {
	return &budget{ctx: context.Background(), vm: vm.VM{MemoryBudget: maxItems}, steps: maxSteps}
}

// begin begins one of several captures.
func (b *budget) begin(ctx context.Context, captures int) {
	b.ctx, b.steps = ctx, max(maxSteps/max(captures, 1), leastSteps)
}

// more allows for another connection.
func (b *budget) more() { b.steps = min(b.steps+moreSteps, maxSteps) }

// take takes steps.
func (b *budget) take(n int) error {
	const often = 1 << 10 // steps between two looks at the context
	before := b.steps
	if b.steps -= n; b.steps < 0 {
		return errTooLong
	}
	if before/often != b.steps/often {
		return b.ctx.Err()
	}
	return nil
}

// match takes the steps of looking for a regular expression in a value.
func (b *budget) match(instructions int, v any) error {
	s, _ := v.(string)
	return b.take(1 + len(s)*instructions/8)
}

// weigh takes the steps of looking at all of a value.
func (b *budget) weigh(v any) error {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return b.take(1 + len(v)/64)
	case []any: // as expressions make them: lists in lists, the same ones several times
		for _, item := range v {
			if err := b.weigh(item); err != nil {
				return err
			}
		}
		return b.take(1)
	}
	return b.take(sizeOf(reflect.ValueOf(v)))
}

// sizeOf is how many words a value has, without what its fields refer to.
func sizeOf(v reflect.Value) int {
	words := func(t reflect.Type) int {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		return 1 + int(t.Size()/8)
	}
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
		return 1 + v.Len()*words(v.Type().Elem())
	}
	return words(v.Type())
}

// keep takes what it takes to make a value.
func (b *budget) keep(v any) error {
	if s, ok := v.(string); ok {
		if b.made += len(s); len(s) > maxMadeOne || b.made > maxMade {
			return errTooLong
		}
	}
	return b.weigh(v)
}

// Names of functions that nobody can type.
const (
	takeName  = "take "
	matchName = "match "
	weighName = "weigh "
	keepName  = "keep "
)

// options are the functions that have an expression take from the budget.
func (b *budget) options() []expr.Option {
	return []expr.Option{
		expr.Function(takeName, func(args ...any) (any, error) { return 0, b.take(args[0].(int)) }, new(func(int) int)),
		expr.Function(matchName, func(args ...any) (any, error) { return 0, b.match(args[0].(int), args[1]) }, new(func(int, any) int)),
		expr.Function(weighName, func(args ...any) (any, error) { return 0, b.weigh(args[0]) }, new(func(any) int)),
		expr.Function(keepName, func(args ...any) (any, error) { return 0, b.keep(args[0]) }, new(func(any) int)),
	}
}

// A meter goes through an expression once, and has what it evaluates taken from
// the budget.
type meter struct {
	values   int            // that have a name
	patterns map[string]int // instructions, by regular expression
}

// Visit takes one node; those inside it came before.
func (m *meter) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.PredicateNode:
		n.Node = before(call(takeName, &ast.IntegerNode{Value: nodesOf(n.Node)}), n.Node)
	case *ast.BuiltinNode:
		m.builtin(node, n)
	case *ast.BinaryNode:
		switch n.Operator {
		case "matches":
			if p, ok := n.Right.(*ast.StringNode); ok {
				n.Left = m.named(n.Left, func(name ast.Node) ast.Node {
					return call(matchName, &ast.IntegerNode{Value: m.patterns[p.Value]}, name)
				})
			}
		case "in":
			n.Right = m.weighed(n.Right)
		case "==", "!=":
			if !isPlain(n.Left) && !isPlain(n.Right) {
				n.Left = m.weighed(n.Left)
			}
		case "+":
			if !isNumber(n) {
				*node = m.kept(n)
			}
		case "..":
			*node = m.kept(n)
		}
	}
}

// builtin meters a call. With a predicate that is done already.
func (m *meter) builtin(node *ast.Node, n *ast.BuiltinNode) {
	isPredicate := func(a ast.Node) bool { _, ok := a.(*ast.PredicateNode); return ok }
	switch {
	case slices.ContainsFunc(n.Arguments, isPredicate):
	case n.Name == "lower", n.Name == "upper":
		*node = m.kept(n)
	case n.Name == "date":
		*node = before(call(takeName, &ast.IntegerNode{Value: stepsOfDate}), n)
	case !slices.Contains([]string{"len", "first", "last"}, n.Name): // these do not look at the items
		for i, a := range n.Arguments {
			n.Arguments[i] = m.weighed(a)
		}
	}
}

// weighed has a value weighed before it is used.
func (m *meter) weighed(n ast.Node) ast.Node {
	if isPlain(n) {
		return n
	}
	return m.named(n, func(name ast.Node) ast.Node { return call(weighName, name) })
}

// kept has a value that is made counted.
func (m *meter) kept(n ast.Node) ast.Node {
	return m.named(n, func(name ast.Node) ast.Node { return call(keepName, name) })
}

// named gives a value a name, does something with it, and returns it.
func (m *meter) named(n ast.Node, first func(name ast.Node) ast.Node) ast.Node {
	m.values++
	name := fmt.Sprintf("value %d", m.values)
	is := func() ast.Node { return &ast.IdentifierNode{Value: name} }
	let := &ast.VariableDeclaratorNode{Name: name, Value: n, Expr: before(first(is()), is())}
	let.SetLocation(n.Location())
	return let
}

// before evaluates one node before the other, and returns that.
func before(first, n ast.Node) ast.Node {
	seq := &ast.SequenceNode{Nodes: []ast.Node{first, n}}
	seq.SetLocation(n.Location())
	return seq
}

func call(name string, args ...ast.Node) ast.Node {
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: args}
}

// isPlain reports whether a value is sure to have no items and to be short.
func isPlain(n ast.Node) bool {
	t := n.Type()
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t != nil && (t.Kind() == reflect.String || isScalar(t)) || isNil(n)
}

func isNil(n ast.Node) bool { _, ok := n.(*ast.NilNode); return ok }

// isNumber reports whether a value is sure to be a number, or a time.
func isNumber(n ast.Node) bool {
	t := n.Type()
	return t != nil && (isScalar(t) || t.Kind() == reflect.Struct)
}

func isScalar(t reflect.Type) bool {
	return t.Kind() >= reflect.Bool && t.Kind() <= reflect.Float64
}

// nodesOf counts the nodes of an expression.
func nodesOf(n ast.Node) int {
	c := new(counter)
	ast.Walk(&n, c)
	return c.n
}

type counter struct{ n int }

func (c *counter) Visit(*ast.Node) { c.n++ }

// patternsOf finds the regular expressions in an expression, with how many
// instructions they are compiled to. They are found before the expression is
// compiled, which compiles them. The fault is in the expression.
func (b *budget) patternsOf(text string) (map[string]int, *file.Error) {
	tree, err := parser.Parse(text)
	if err != nil {
		return nil, nil // compiling says what is wrong
	}
	f := &patternFinder{b: b, sizes: make(map[string]int)}
	ast.Walk(&tree.Node, f)
	return f.sizes, f.fault
}

type patternFinder struct {
	b     *budget
	sizes map[string]int
	fault *file.Error
}

// Visit takes one node.
func (f *patternFinder) Visit(node *ast.Node) {
	n, ok := (*node).(*ast.BinaryNode)
	if !ok || n.Operator != "matches" || f.fault != nil {
		return
	}
	pattern, ok := n.Right.(*ast.StringNode)
	if !ok {
		return
	}
	refuse := func(format string, args ...any) {
		f.fault = &file.Error{Location: pattern.Location(), Message: fmt.Sprintf(format, args...)}
	}
	if len(pattern.Value) > maxPattern {
		refuse("a regular expression must not be longer than %d bytes", maxPattern)
		return
	}
	if f.b.patterns++; f.b.patterns > MaxPatterns {
		refuse("there must not be more than %d regular expressions", MaxPatterns)
		return
	}
	parsed, err := syntax.Parse(pattern.Value, syntax.Perl)
	if err != nil {
		return // compiling says so
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return
	}
	if f.sizes[pattern.Value] = len(program.Inst); len(program.Inst) > maxInstructions {
		refuse("the regular expression is too large: %d instructions, at most %d are allowed", len(program.Inst), maxInstructions)
	}
}
