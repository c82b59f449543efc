package run

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// clearCapabilities clears the capabilities of every thread, for good.
func clearCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var had, none [2]unix.CapUserData
	if err := unix.Capget(&header, &had[0]); err != nil {
		return fmt.Errorf("reading capabilities: %w", err)
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0)
	if errno == 0 && had != none {
		_, _, errno = syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none[0])), 0)
	}
	switch {
	case errno == syscall.ENOTSUP && had == none:
		return nil // with cgo; they went with root
	case errno == syscall.ENOTSUP:
		return errKeepsRights
	case errno != 0:
		return fmt.Errorf("giving up capabilities: %w", errno)
	}
	return nil
}
