package run

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"time"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Once everything is open, live needs little of the system: to read and write what
// is open, to begin the next file of -w, and to answer who asks for the page. The
// rest is given up for good, so that somebody who takes the process over by a packet
// can do little with it: Landlock bounds the files and ports, a seccomp filter the
// system calls. A kernel that has one of these not is not an error.

// confine gives up the rest in all threads. More files are made in the folder, unless
// it is "". Who sends to a hub has to connect to it again when it was lost.
func confine(folder string, connects bool) error {
	_ = time.Local.String() // reads its file when it is first asked for
	rules := []landlock.Rule{
		// What the metrics tell of the process.
		landlock.RODirs("/proc/self").IgnoreIfMissing(), landlock.ROFiles("/proc/stat").IgnoreIfMissing(),
		// What the screen may not have opened yet.
		landlock.RWFiles("/dev/tty", "/dev/null").WithIoctlDev().IgnoreIfMissing(),
		landlock.RODirs("/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo").IgnoreIfMissing(),
	}
	if folder != "" {
		rules = append(rules, landlock.RWDirs(folder))
	}
	restrict, needed := landlock.V5.BestEffort().Restrict, []uint32(nil)
	if connects {
		needed = []uint32{unix.SYS_CONNECT}
		restrict = landlock.V5.BestEffort().RestrictPaths
		rules = append(rules, landlock.ROFiles("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf").IgnoreIfMissing())
	}
	if err := restrict(rules...); err != nil {
		return fmt.Errorf("restricting files: %w", err)
	}
	if err := filterCalls(needed...); err != nil {
		return fmt.Errorf("restricting system calls: %w", err)
	}
	return nil
}

// folderOf is the folder in which a run makes more files; "" if there are none.
func (l *Live) folderOf() string {
	if l.Save.Path == "" || !l.Save.Rotates() {
		return ""
	}
	return filepath.Dir(l.Save.Path)
}

// forbidden are the system calls that run other programs, reach into other processes
// or hosts, or change the system.
var forbidden = []uint32{
	unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD,
	unix.SYS_CONNECT, unix.SYS_LISTEN, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_OPEN_BY_HANDLE_AT,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_FSOPEN, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_SETNS, unix.SYS_UNSHARE,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF,
	unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID, unix.SYS_SETRESGID, unix.SYS_SETGROUPS,
}

// architectures are those whose numbers of system calls the build has, by GOARCH.
var architectures = map[string]uint32{
	"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64, "386": unix.AUDIT_ARCH_I386, "arm": unix.AUDIT_ARCH_ARM,
	"riscv64": unix.AUDIT_ARCH_RISCV64, "ppc64le": unix.AUDIT_ARCH_PPC64LE, "s390x": unix.AUDIT_ARCH_S390X, "loong64": unix.AUDIT_ARCH_LOONGARCH64,
}

// filterCalls has every thread fail in what is forbidden, except these calls, as in what
// it has no permission for, and in all calls by numbers of another architecture.
func filterCalls(except ...uint32) error {
	architecture, known := architectures[runtime.GOARCH]
	if !known {
		return nil
	}
	const number, arch, x32 = 0, 4, 1 << 30 // in struct seccomp_data; the numbers of amd64's other architecture
	deny, allow := bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: arch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: architecture, SkipTrue: 1}, deny,
		bpf.LoadAbsolute{Off: number, Size: 4},
	}
	if runtime.GOARCH == "amd64" {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: x32, SkipTrue: 1}, deny)
	}
	for _, call := range forbidden {
		if slices.Contains(except, call) {
			continue
		}
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: call, SkipTrue: 1}, deny)
	}
	raw, err := bpf.Assemble(append(program, allow))
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	runtime.LockOSThread() // the two calls are of one thread; the second takes the others along
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})))
	switch {
	case errno == unix.ENOSYS, errno == unix.EINVAL:
		return nil // the kernel has no such filters
	case errno != 0:
		return errno
	case thread != 0:
		return errors.New("a thread has another filter")
	}
	return nil
}
