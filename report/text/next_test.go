package text

import (
	"testing"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
)

func TestWithNext(t *testing.T) {
	for _, test := range []struct{ next, want string }{
		{"", "A fact."},
		{"Do this.", "A fact. Next: Do this."},
	} {
		if got := WithNext(&anomaly.Anomaly{Text: "A fact.", Next: test.next}); got != test.want {
			t.Errorf("next %q: %q, want %q", test.next, got, test.want)
		}
	}
}
