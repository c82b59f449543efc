//go:build unix

package run

import "golang.org/x/sys/unix"

// maxDescriptors is how many files and sockets the process can have open.
func maxDescriptors() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 256 // what the system gives at least
	}
	return int(min(limit.Cur, 1<<20))
}
