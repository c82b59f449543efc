//go:build !linux

package cmd

// clearCapabilities has nothing to clear: capabilities are Linux's.
func clearCapabilities() error { return nil }
