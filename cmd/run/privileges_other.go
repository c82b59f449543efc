//go:build !linux

package run

// clearCapabilities has nothing to clear: capabilities are Linux's.
func clearCapabilities() error { return nil }

// keepForWho has nothing to keep: nobody is asked but Linux.
func keepForWho(string) error { return nil }

// handOver has nobody to hand over to: packages for Linux alone install a copy
// that may capture.
func handOver() (group string) { return "" }
