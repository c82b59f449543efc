package run

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// clearCapabilities clears the capabilities of every thread, for good.
func clearCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var had, none [2]unix.CapUserData
	if err := unix.Capget(&header, &had[0]); err != nil {
		return fmt.Errorf("reading capabilities: %w", err)
	}
	_, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0) // all threads, with cgo too
	if errno == 0 && had != none {
		_, _, errno = psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none[0])), 0)
	}
	if errno != 0 {
		return fmt.Errorf("dropping capabilities: %w", errno)
	}
	return nil
}

// whoNeeds are the capabilities with which the sockets of all processes are found: to see
// the descriptors of other users' processes, and to enter network namespaces.
var whoNeeds = []int{unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH, unix.CAP_SYS_ADMIN}

// keepForWho becomes the user, as dropPrivileges does, and keeps of all rights whoNeeds.
func keepForWho(name string) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var had, keep [2]unix.CapUserData
	if err := unix.Capget(&header, &had[0]); err != nil {
		return fmt.Errorf("reading capabilities: %w", err)
	}
	for _, c := range whoNeeds {
		bit := uint32(1) << (c % 32)
		keep[c/32].Permitted |= had[c/32].Permitted & bit
		keep[c/32].Effective = keep[c/32].Permitted
	}
	if os.Geteuid() == 0 {
		uid, gid, err := lookupUser(name)
		if err != nil {
			return err
		}
		if uid == 0 {
			return nil
		}
		if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1, 0, 0, 0, 0); errno != 0 {
			return fmt.Errorf("keeping capabilities: %w", errno)
		}
		if err := becomeUser(name, uid, gid); err != nil {
			return err
		}
	}
	_, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	if errno == 0 {
		_, _, errno = psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&keep[0])), 0)
	}
	if errno != 0 {
		return fmt.Errorf("dropping capabilities: %w", errno)
	}
	if err := filterCalls(unix.SYS_SETNS); err != nil {
		return fmt.Errorf("restricting system calls: %w", err)
	}
	return nil
}

// handOver runs, in place of this process, the copy of tcpwatch that a package
// installs beside it (bin/tcpwatch, lib/tcpwatch/tcpwatch). The copy has the
// capability to capture, and only the members of its group can run it. A copy,
// because a file gives its capabilities to everyone who can run it, and
// everyone must be able to read captures.
//
// It returns if it could not: with the group that the user has to join, or ""
// if that would not help. The copy finds no copy beside itself, so it does not
// hand over again.
func handOver() (group string) {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	able := filepath.Join(filepath.Dir(self), "../lib/tcpwatch/tcpwatch")
	if err := syscall.Exec(able, os.Args, os.Environ()); !errors.Is(err, syscall.EACCES) {
		return ""
	}
	return groupOf(able)
}

// groupOf names the group of a file, or returns "".
func groupOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	id := strconv.Itoa(int(stat.Gid))
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}
