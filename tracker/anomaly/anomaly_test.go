package anomaly

import "testing"

func TestKindsAreChecked(t *testing.T) {
	for _, k := range kinds {
		if k.Many != (k.on == 0) || k.Many != (k.check == nil) {
			t.Errorf("%s: a kind has a check and its triggers, or it is found in many connections or the whole capture", k.Name)
		}
	}
}
