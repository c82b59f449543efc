package policy

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// The schema that is shipped is the one that is printed. UPDATE=1 writes it.
func TestSchemaIsShipped(t *testing.T) {
	const path = "schema.json"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(Schema(), want) {
		t.Errorf("%s is not what --schema prints (%v)", path, err)
	}
}

// What the schema takes, the loader takes, and the other way round, but for what
// is in expressions and names.
func TestSchemaAgreesWithTheLoader(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	text, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiler.AddResource("policy.json", text); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("policy.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		policy string
		valid  bool
	}{
		{"rules: [{name: a, deny: error}]", true},
		{"rules: [{name: a, deny: [error, syn-timeout], allow: notice}]", true},
		{"rules: [{name: a, allow: [connection-refused]}]", true},
		{"rules: [{name: a, description: b, match: conn > 1, port: 80, require: conn > 1}]", true},
		{"rules: [{name: a, port: [80, 443], forbid: conn > 1}]", true},
		{"rules: [{name: a, tuple: '1.2.3.4:5-6.7.8.9:10', expect: {client: CLOSED, server: [CLOSED, TIME_WAIT]}}]", true},
		{"rules: [{name: a, count: len(connections) > 1}]", true},
		{"rules: [{name: a, require: true}]", true},
		{"rules: []", false},
		{"rules: {}", false},
		{"rules: [1]", false},
		{"{}", false},
		{"[]", false},
		{"rules: [{name: a}]", false},
		{"rules: [{deny: error}]", false},
		{"rules: [{name: '', deny: error}]", false},
		{"rules: [{name: 5, deny: error}]", false},
		{"rules: [{name: a, deny: error, denied: error}]", false},
		{"rules: [{name: a, deny: error, require: conn > 1}]", false},
		{"rules: [{name: a, forbid: conn > 1, require: conn > 1}]", false},
		{"rules: [{name: a, deny: []}]", false},
		{"rules: [{name: a, deny: errors}]", false},
		{"rules: [{name: a, deny: {error: 1}}]", false},
		{"rules: [{name: a, port: 0, deny: error}]", false},
		{"rules: [{name: a, port: 65536, deny: error}]", false},
		{"rules: [{name: a, port: http, deny: error}]", false},
		{"rules: [{name: a, port: [], deny: error}]", false},
		{"rules: [{name: a, tuple: [a], deny: error}]", false},
		{"rules: [{name: a, expect: {}}]", false},
		{"rules: [{name: a, expect: {client: closed}}]", false},
		{"rules: [{name: a, expect: {clients: CLOSED}}]", false},
		{"rules: [{name: a, expect: CLOSED}]", false},
		{"rules: [{name: a, require: 5}]", false},
		{"rules: [{name: a, require: ''}]", false},
		{"rules: [{name: a, require: [conn > 1]}]", false},
		{"rules: [{name: a, require: null}]", false},
		{"{rules: [{name: a, deny: error}], version: 1}", false},
	} {
		path := filepath.Join(t.TempDir(), "p.yaml")
		if err := os.WriteFile(path, []byte(test.policy), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := New(path, nil, nil)
		if (err == nil) != test.valid {
			t.Errorf("%s: the loader says %v", test.policy, err)
		}
		if err != nil && (strings.Count(err.Error(), "\n") > 0 || !strings.HasPrefix(err.Error(), path+":1: ")) {
			t.Errorf("%s: the error is %v", test.policy, err)
		}
		var v any
		if err := yaml.Unmarshal([]byte(test.policy), &v); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); (err == nil) != test.valid {
			t.Errorf("%s: the schema says %v", test.policy, err)
		}
	}
}
