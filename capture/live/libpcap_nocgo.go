//go:build libpcap && !cgo && !windows

package live

// libpcap is C: without cgo a build that asks for it fails here, rather than
// be one with another tap.
var _ = the_build_tag_libpcap_needs_cgo
