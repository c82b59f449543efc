//go:build !linux

package pages

// advise leaves it to the system.
func advise([]byte) {}
