package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly/kinds"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// Schema returns the JSON Schema of a policy. It is made from the list of keys
// that the loader reads. What is in an expression it does not know.
func Schema() []byte {
	properties := map[string]any{}
	for _, k := range keys {
		property := map[string]any{"description": k.doc}
		for name, v := range k.schema {
			property[name] = v
		}
		properties[k.name] = property
	}
	var one []any
	for _, name := range asks() {
		if name != "deny" && name != "allow" {
			one = append(one, required(name))
		}
	}
	one = append(one, map[string]any{"anyOf": []any{required("deny"), required("allow")}})
	text, err := json.MarshalIndent(map[string]any{
		"$schema":              "https://json-schema.org/draft/2020-12/schema",
		"title":                "Policy of tcpwatch check",
		"type":                 "object",
		"additionalProperties": false,
		"required":             []string{"rules"},
		"properties": map[string]any{
			"rules": map[string]any{
				"type": "array", "minItems": 1, "maxItems": MaxRules,
				"items": map[string]any{
					"type": "object", "additionalProperties": false, "required": []string{"name"},
					"properties": properties, "oneOf": one,
				},
			},
		},
	}, "", "  ")
	if err != nil {
		panic("policy: " + err.Error()) // it is made of strings and numbers
	}
	return append(text, '\n')
}

func required(name string) map[string]any { return map[string]any{"required": []string{name}} }

// exprSchema is the schema of an expression. YAML reads true as no string.
var exprSchema = map[string]any{"type": []string{"string", "boolean"}, "minLength": 1, "maxLength": maxText}

// oneOrMore is the schema of an item or a list of items.
func oneOrMore(item map[string]any) map[string]any {
	return map[string]any{"oneOf": []any{item, map[string]any{"type": "array", "minItems": 1, "items": item}}}
}

func expectSchema() map[string]any {
	var states []string
	for _, s := range tcp.States() {
		states = append(states, s.String())
	}
	properties := map[string]any{}
	for _, end := range ends {
		properties[end] = oneOrMore(map[string]any{"enum": states})
	}
	return map[string]any{"type": "object", "additionalProperties": false, "minProperties": 1, "properties": properties}
}

func gradeSchema() map[string]any {
	grades := Severities()
	for _, k := range kinds.All() {
		grades = append(grades, k.Name)
	}
	return oneOrMore(map[string]any{"enum": grades})
}

// KeysMarkdown returns the keys of a rule as a table for GitHub.
func KeysMarkdown() []byte {
	var out bytes.Buffer
	out.WriteString("| key | what it is |\n| --- | --- |\n")
	for _, k := range keys {
		fmt.Fprintf(&out, "| `%s` | %s |\n", k.name, k.doc)
	}
	fmt.Fprintf(&out, "\nA rule has one of `%s`. Only `deny` and `allow` can be combined.\n", strings.Join(asks(), "`, `"))
	return out.Bytes()
}
