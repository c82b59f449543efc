// Package pages makes memory that is large, and looked at here and there.
package pages

import "unsafe"

// Large is how many octets are worth large pages.
const Large = 16 << 10

// Make returns a slice of n zeros, as make does. If it is large it lies in large pages,
// where the system gives them: what was not touched before then comes 512 times as much
// at once, and where it lies is quickly found. A flood of SYNs takes two thirds of the
// time.
func Make[T any](n int) []T {
	list := make([]T, n)
	if size := uintptr(n) * unsafe.Sizeof(*new(T)); size >= Large {
		advise(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(list))), size))
	}
	return list
}
