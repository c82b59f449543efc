package kinds

import "testing"

func TestKindsAreChecked(t *testing.T) {
	for _, k := range list {
		if k.Many != (k.On == 0) || k.Many != (k.Check == nil) {
			t.Errorf("%s: a kind has a check and its triggers, or it is found in many connections or the whole capture", k.Name)
		}
	}
}
