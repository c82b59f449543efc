package text

import "testing"

func TestWithNext(t *testing.T) {
	for _, test := range []struct{ next, want string }{
		{"", "A fact."},
		{"Do this.", "A fact. Next: Do this."},
	} {
		if got := WithNext("A fact.", test.next); got != test.want {
			t.Errorf("next %q: %q, want %q", test.next, got, test.want)
		}
	}
}
