package text

import (
	"slices"
	"testing"
)

func TestMeant(t *testing.T) {
	words := []string{"table", "wide", "json", "jsonl", "csv", "TIME_WAIT", "FIN_WAIT_1", "FIN_WAIT_2", "max-connections"}
	for _, test := range []struct {
		typed string
		want  []string
	}{
		{"jsno", []string{"json"}},
		{"jsonll", []string{"jsonl"}},
		{"TABLES", []string{"table"}},
		{"timewai", []string{"TIME_WAIT"}},
		{"fin-wait", []string{"FIN_WAIT_1", "FIN_WAIT_2"}},
		{"max-con", []string{"max-connections"}},
		{"xml", nil},
		{"c", nil},
		{"", nil},
	} {
		if got := Meant(test.typed, words); !slices.Equal(got, test.want) {
			t.Errorf("Meant(%q) = %q, want %q", test.typed, got, test.want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"state", "state", 0},
		{"stat", "state", 1}, {"jsno", "json", 1}, {"linx", "linux", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 1}, {"abcd", "badc", 2},
	} {
		if got := Distance(test.a, test.b); got != test.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}
