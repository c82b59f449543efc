package record

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/report/internal/sample"
)

// Expressions see the fields of the jsonl record, all of them and no other,
// with what they hold there.
func TestEnvIsTheRecord(t *testing.T) {
	for _, r := range append(sample.Records(), *fullRecord(), *bareRecord()) {
		var object map[string]any
		if err := json.Unmarshal(new(skeletons).appendConnection(nil, &r), &object); err != nil {
			t.Fatal(err)
		}
		want, got := map[string]string{}, map[string]string{}
		flattenAll(want, "", object)
		flattenAll(got, "", plainOf(EnvOf(&r)))
		for path := range want {
			if got[path] != want[path] {
				t.Errorf("conn %d: %s is %q in an expression and %q in jsonl", r.Conn, path, got[path], want[path])
			}
			delete(got, path)
		}
		for path := range got {
			t.Errorf("conn %d: %s is not in jsonl", r.Conn, path)
		}
	}
}

// plainOf returns a value of an environment as JSON would be read.
func plainOf(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return plainOf(v.Elem())
	case reflect.Slice:
		if v.IsNil() {
			return nil
		}
		list := []any{}
		for i := range v.Len() {
			list = append(list, plainOf(v.Index(i)))
		}
		return list
	case reflect.Struct:
		if at, ok := v.Interface().(time.Time); ok {
			return at.Format("2006-01-02T15:04:05.000000000Z")
		}
		object := map[string]any{}
		for i, name := range EnvNames(v.Type()) {
			if item := plainOf(v.Field(i)); item != nil {
				object[name] = item
			}
		}
		return object
	case reflect.Int:
		return float64(v.Int())
	}
	return v.Interface()
}

// flattenAll puts the leaves of v into flat by their paths.
func flattenAll(flat map[string]string, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, item := range v {
			flattenAll(flat, strings.TrimPrefix(path+"."+k, "."), item)
		}
	case []any:
		flat[path] = fmt.Sprint(len(v))
		for i, item := range v {
			flattenAll(flat, fmt.Sprintf("%s[%d]", path, i), item)
		}
	default:
		flat[path] = fmt.Sprint(v)
	}
}

func TestWholeFields(t *testing.T) {
	names := WholeFields()
	for _, name := range []string{"bytes", "duration", "closed_by"} {
		if !slices.Contains(names, name) {
			t.Errorf("%s is not among %v", name, names)
		}
	}
	if slices.Contains(names, "state") || slices.Contains(names, "port") {
		t.Errorf("too many are among %v", names)
	}
}
