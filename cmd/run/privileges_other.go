//go:build !linux

package run

// clearCapabilities has nothing to clear: capabilities are Linux's.
func clearCapabilities() error { return nil }
