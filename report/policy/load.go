package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tcpwatch/tcpwatch/report/check"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/text"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
	"go.yaml.in/yaml/v3"
)

const (
	MaxSize  = 256 << 10 // octets of a policy
	MaxRules = 1000
)

// An Error is what is wrong with a policy, and where.
type Error struct {
	File string
	Line int // 0: of the whole file
	Err  error
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// at is an error at a node.
func at(n *yaml.Node, format string, args ...any) error {
	return &Error{Line: n.Line, Err: fmt.Errorf(format, args...)}
}

// A key is one that a rule can have.
type key struct {
	name   string
	doc    string
	schema map[string]any
	read   func(p *Policy, r *rule, n *yaml.Node) error
	ask    ask // what a rule with it asks
}

// keys are the keys of a rule. The loader and the schema read this list.
var keys = []key{
	{name: "name", doc: "the name of the rule in reports; must be unique", schema: map[string]any{"type": "string", "minLength": 1},
		read: func(_ *Policy, r *rule, n *yaml.Node) (err error) { r.Name, err = textOf(n); return err }},
	{name: "description", doc: "a sentence for the reader of the report", schema: map[string]any{"type": "string"},
		read: func(_ *Policy, r *rule, n *yaml.Node) (err error) { r.Description, err = textOf(n); return err }},
	{name: "match", doc: "an expression over the connection record; selects the connections that the rule checks; without it, all", schema: exprSchema,
		read: func(p *Policy, r *rule, n *yaml.Node) (err error) { r.match, err = p.expression(n, false); return err }},
	{name: "port", doc: "a server port, or a list of them: only connections to it", schema: oneOrMore(map[string]any{"type": "integer", "minimum": 1, "maximum": 65535}),
		read: func(_ *Policy, r *rule, n *yaml.Node) (err error) { r.ports, err = list(n, port); return err }},
	{name: "tuple", doc: "the two ends of a connection, A:P-B:Q, in either order: only connections between them", schema: map[string]any{"type": "string"},
		read: func(_ *Policy, r *rule, n *yaml.Node) (err error) {
			s, err := textOf(n)
			if err != nil {
				return err
			}
			if r.tuple, err = record.ParseTuple(s); err != nil {
				return at(n, "%w (10.0.0.1:40034-10.0.0.2:443, [2001:db8::1]:40034-[2001:db8::2]:443)", err)
			}
			return nil
		}},
	{name: "require", ask: askRequire, doc: "an expression that must be true for every connection", schema: exprSchema, read: readExpr},
	{name: "forbid", ask: askForbid, doc: "an expression that must not be true for any connection", schema: exprSchema, read: readExpr},
	{name: "count", ask: askCount, doc: "an expression over connections, the list of all connections of one capture; must be true", schema: exprSchema,
		read: func(p *Policy, r *rule, n *yaml.Node) (err error) { r.expr, err = p.expression(n, true); return err }},
	{name: "expect", ask: askExpect, doc: "the states that the ends must be in when the capture ends", schema: expectSchema(), read: readExpect},
	{name: "deny", ask: askKinds, doc: "forbidden anomalies: kinds, or severities (each means it and above)", schema: gradeSchema(),
		read: func(_ *Policy, r *rule, n *yaml.Node) (err error) { r.deny, err = list(n, gradeOf); return err }},
	{name: "allow", ask: askKinds, doc: "anomalies that no rule's deny forbids: kinds, or severities (each means it and below)", schema: gradeSchema(),
		read: func(_ *Policy, r *rule, n *yaml.Node) (err error) { r.allow, err = list(n, gradeOf); return err }},
}

// asks are the names of the keys of which a rule has one; deny and allow may
// stand together.
func asks() (names []string) {
	for _, k := range keys {
		if k.ask != askNothing {
			names = append(names, k.name)
		}
	}
	return names
}

// load reads a policy.
func (p *Policy) load(path string) error {
	err := p.loadFile(path)
	var e *Error
	if errors.As(err, &e) {
		e.File = text.Escape(path)
		return e
	}
	if err != nil {
		return &Error{File: text.Escape(path), Err: err}
	}
	return nil
}

func (p *Policy) loadFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return pathless(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return pathless(err)
	}
	if len(data) > MaxSize {
		return fmt.Errorf("a policy must not be larger than %d KiB", MaxSize>>10)
	}
	return p.parse(data, path)
}

// parse reads the text of a policy.
func (p *Policy) parse(data []byte, path string) error {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := decoder.Decode(&doc); err == io.EOF {
		return errors.New("the policy is empty (allowed: rules)")
	} else if err != nil {
		return yamlError(err)
	}
	var more yaml.Node
	if err := decoder.Decode(&more); err == nil {
		return at(&more, "a second document; only one is allowed")
	} else if err != io.EOF {
		return yamlError(err)
	}
	return p.document(doc.Content[0], path)
}

// pathless returns the error of the system without the path, which stands
// before it already.
func pathless(err error) error {
	var e *os.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

// yamlError is an error of the YAML itself.
func yamlError(err error) error {
	said := err.Error()
	if m := yamlLine.FindStringSubmatch(said); m != nil {
		line, _ := strconv.Atoi(m[1])
		return &Error{Line: line, Err: fmt.Errorf("not valid YAML: %s", text.Escape(said[len(m[0]):]))}
	}
	return fmt.Errorf("not valid YAML: %s", text.Escape(strings.TrimPrefix(said, "yaml: ")))
}

// document reads the top of the policy.
func (p *Policy) document(n *yaml.Node, path string) error {
	var rules *yaml.Node
	err := pairs(n, "a policy", []string{"rules"}, func(_, value *yaml.Node) error {
		rules = value
		return nil
	})
	switch {
	case err != nil:
		return err
	case rules == nil:
		return at(n, "the policy has no rules (allowed: rules)")
	case rules.Kind != yaml.SequenceNode || len(rules.Content) == 0:
		return at(rules, "rules must be a list of at least one rule, each with %s", strings.Join(names(), ", "))
	case len(rules.Content) > MaxRules:
		return at(rules, "a policy must not have more than %d rules", MaxRules)
	}
	for _, item := range rules.Content {
		r := &rule{Rule: check.Rule{File: path, Line: item.Line}}
		if err := p.rule(r, item); err != nil {
			return err
		}
		p.rules = append(p.rules, r)
	}
	return nil
}

// names are the names of the keys of a rule.
func names() (list []string) {
	for _, k := range keys {
		list = append(list, k.name)
	}
	return list
}

// rule reads one rule.
func (p *Policy) rule(r *rule, n *yaml.Node) error {
	var asked []string
	err := pairs(n, "a rule", names(), func(name, value *yaml.Node) error {
		k := &keys[slices.IndexFunc(keys, func(k key) bool { return k.name == name.Value })]
		if k.ask != askNothing {
			if len(asked) > 0 && (k.ask != askKinds || r.ask != askKinds) {
				return at(name, "a rule must have only one of %s, but this one already has %s (deny and allow can be combined)", strings.Join(asks(), ", "), asked[0])
			}
			r.ask, r.Whole = k.ask, k.ask == askCount
			asked = append(asked, k.name)
			r.Asks = k.name + " " + plainText(value)
		}
		err := k.read(p, r, value)
		var e *Error
		if errors.As(err, &e) {
			e.Err = fmt.Errorf("%s: %w", k.name, e.Err)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case r.Name == "":
		return at(n, "a rule has no name (allowed: %s)", strings.Join(names(), ", "))
	case r.ask == askNothing:
		return at(n, "rule %q checks nothing (allowed: %s)", text.Escape(r.Name), strings.Join(asks(), ", "))
	}
	for _, other := range p.rules {
		if other.Name == r.Name {
			return at(n, "rule %q has the same name as the one in line %d", text.Escape(r.Name), other.Line)
		}
	}
	return nil
}

// plainText writes a value on one line, for reports.
func plainText(n *yaml.Node) string {
	switch n.Kind {
	case yaml.ScalarNode:
		return strings.Join(strings.Fields(n.Value), " ")
	case yaml.SequenceNode:
		var items []string
		for _, c := range n.Content {
			items = append(items, plainText(c))
		}
		return strings.Join(items, ", ")
	}
	var items []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		items = append(items, plainText(n.Content[i])+": "+plainText(n.Content[i+1]))
	}
	return strings.Join(items, ", ")
}

// pairs calls f for every key of a mapping and its value, each of them allowed
// and there once.
func pairs(n *yaml.Node, what string, allowed []string, f func(name, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return at(n, "%s is a mapping of %s", what, strings.Join(allowed, ", "))
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i]
		if name.Kind != yaml.ScalarNode || !slices.Contains(allowed, name.Value) {
			return at(name, "unknown key %q in %s (allowed: %s)", text.Escape(plainText(name)), what, strings.Join(allowed, ", "))
		}
		if line := seen[name.Value]; line > 0 {
			return at(name, "%s is already in line %d", name.Value, line)
		}
		seen[name.Value] = name.Line
		if err := f(name, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// textOf reads a string.
func textOf(n *yaml.Node) (string, error) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || strings.TrimSpace(n.Value) == "" {
		return "", at(n, "must be text; quote it if YAML would read it as something else")
	}
	return n.Value, nil
}

// list reads one item, or a list of them.
func list[T any](n *yaml.Node, read func(*yaml.Node) (T, error)) ([]T, error) {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	if len(items) == 0 {
		return nil, at(n, "the list is empty")
	}
	var list []T
	for _, item := range items {
		v, err := read(item)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func port(n *yaml.Node) (uint16, error) {
	v, err := strconv.ParseUint(n.Value, 10, 16)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil || v == 0 {
		return 0, at(n, "%q is not a valid port (1 to 65535, or a list of them)", text.Escape(plainText(n)))
	}
	return uint16(v), nil
}

func gradeOf(n *yaml.Node) (grade, error) {
	s, err := textOf(n)
	if err != nil {
		return grade{}, err
	}
	g, err := parseGrade(s)
	if err != nil {
		return grade{}, at(n, "%w", err)
	}
	return g, nil
}

func stateOf(n *yaml.Node) (tcp.State, error) {
	s, err := textOf(n)
	if err != nil {
		return 0, err
	}
	for _, state := range tcp.States() {
		if state.String() == s {
			return state, nil
		}
	}
	return 0, at(n, "%q is not a valid state (%s)", text.Escape(s), strings.Join(vocabulary["state"][:len(tcp.States())], ", "))
}

// ends are the keys of expect.
var ends = []string{tcp.Client.String(), tcp.Server.String()}

func readExpect(_ *Policy, r *rule, n *yaml.Node) error {
	err := pairs(n, "the end states", ends, func(name, value *yaml.Node) (err error) {
		r.expect[slices.Index(ends, name.Value)], err = list(value, stateOf)
		return err
	})
	if err == nil && len(n.Content) == 0 {
		return at(n, "no end is given (allowed: %s)", strings.Join(ends, ", "))
	}
	return err
}

func readExpr(p *Policy, r *rule, n *yaml.Node) (err error) {
	r.expr, err = p.expression(n, false)
	return err
}

// expression compiles an expression, over the set or one connection.
func (p *Policy) expression(n *yaml.Node, set bool) (*Expr, error) {
	s := n.Value
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return nil, at(n, "must be an expression")
	}
	env := record.EnvType()
	if set {
		env = setType
	}
	x, err := compile(s, env, p.budget)
	if err == nil {
		return x, nil
	}
	e := &Error{Line: n.Line, Err: err}
	var fault *TextError
	if errors.As(err, &fault) {
		e.Line += fault.Line - 1
		if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			e.Line++ // the text begins on the line after the | or >
		}
	}
	return nil, e
}
