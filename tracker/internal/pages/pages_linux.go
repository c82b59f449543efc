package pages

import (
	"syscall"
	"unsafe"
)

// arena is the size in which Go takes address space from most systems, and to which that
// is aligned.
const arena = 64 << 20

// advise asks for large pages for the octets, and for what lies around them: where one
// thing grows others do. That there are none changes no answer.
func advise(octets []byte) {
	from := uintptr(unsafe.Pointer(unsafe.SliceData(octets)))
	to := from + uintptr(len(octets))
	from, to = from&^(arena-1), (to+arena-1)&^(arena-1)
	_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_HUGEPAGE)
}
