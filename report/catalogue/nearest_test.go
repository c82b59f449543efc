package catalogue

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"connection-refused", "time-wait-reuse", "rst-instead-of-ack", "retransmission"}
	for _, test := range []struct{ typed, want string }{
		{"rst_instead_of_ack", "rst-instead-of-ack"},
		{"refused", "connection-refused"},
		{"retransmit", "retransmission"},
		{"TIMEWAIT-REUSE", "time-wait-reuse"},
	} {
		if got := nearest(test.typed, names); got[0] != test.want || len(got) != 3 {
			t.Errorf("nearest to %s: got %v, want %s first of three", test.typed, got, test.want)
		}
	}
}
