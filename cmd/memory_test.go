package cmd

import "testing"

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1000000": 1_000_000, "512b": 512,
		"2GB": 2_000_000_000, "2g": 2_000_000_000, "512MiB": 512 << 20, "512 Mi": 512 << 20, "1.5k": 1500, "1TiB": 1 << 40,
		"": -1, "MiB": -1, "-1MB": -1, "1XB": -1, "1e9": -1, "99999999TB": -1, "1 MB of it": -1,
	} {
		if got, err := parseSize(text); got != max(want, 0) || (err != nil) != (want < 0) {
			t.Errorf("parseSize(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
}
