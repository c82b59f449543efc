//go:build unix

// Command once runs a command, drops what it prints, and prints what it took:
// nanoseconds of CPU time, nanoseconds by the clock, and octets of memory at
// the peak.
//
// It is a program of its own because Linux counts to a process what the one
// that started it had of memory, and this one has little.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

func main() {
	c := exec.Command(os.Args[1], os.Args[2:]...)
	c.Stdin = os.Stdin
	begun := time.Now()
	err := c.Run()
	wall := time.Since(begun)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	peak := int64(c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
	if runtime.GOOS != "darwin" {
		peak <<= 10 // others count in KiB
	}
	cpu := c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	fmt.Println(cpu.Nanoseconds(), wall.Nanoseconds(), peak)
}
