//go:build unix

package run

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// dropPrivileges gives up all rights, in all threads: as root it becomes the
// named user, and whatever capabilities there are on Linux, those of a file among
// them, are cleared. What is open stays open. Root stays root if that is the name.
func dropPrivileges(name string) error {
	if os.Geteuid() == 0 {
		uid, gid, err := lookupUser(name)
		if err != nil {
			return err
		}
		if uid == 0 {
			return nil
		}
		if err := becomeUser(name, uid, gid); err != nil {
			return err
		}
	} else if name != DefaultUser && name != currentUser() {
		return fmt.Errorf("--user %s: only root can switch to another user", name)
	}
	return clearCapabilities()
}

// becomeUser switches to a user, in all threads.
func becomeUser(name string, uid, gid int) error {
	if err := errors.Join(syscall.Setgroups([]int{gid}), syscall.Setgid(gid), syscall.Setuid(uid)); err != nil {
		return fmt.Errorf("switching to user %s: %w", name, err)
	}
	return nil
}

// lookupUser finds a user by name or number.
func lookupUser(name string) (uid, gid int, err error) {
	const nobody = 65534
	u, err := user.Lookup(name)
	if err != nil {
		u, err = user.LookupId(name)
	}
	if err != nil {
		if n, e := strconv.Atoi(name); e == nil && n >= 0 {
			return n, n, nil
		}
		if name == DefaultUser {
			return nobody, nobody, nil // a system with no list of users
		}
		return 0, 0, fmt.Errorf("--user %s: no such user", name)
	}
	if uid, err = strconv.Atoi(u.Uid); err == nil {
		gid, err = strconv.Atoi(u.Gid)
	}
	return uid, gid, err
}
