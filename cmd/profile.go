package cmd

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"

	"github.com/spf13/cobra"
)

// For who works on tcpwatch every command has two flags that no help lists:
// --cpuprofile and --memprofile name the files to write what go tool pprof
// reads, of where the time went and of what was in memory at the end.

// profileFlags are these flags.
type profileFlags struct{ cpu, mem string }

// profiles adds the flags to the root command.
func profiles(root *cobra.Command) {
	var f profileFlags
	fl := root.PersistentFlags()
	fl.StringVar(&f.cpu, "cpuprofile", "", "write a CPU profile to `file`")
	fl.StringVar(&f.mem, "memprofile", "", "write a profile of the heap to `file`")
	for _, name := range []string{"cpuprofile", "memprofile"} {
		_ = fl.MarkHidden(name) // the flag exists, so this cannot fail
	}
	for _, c := range root.Commands() {
		if run := c.RunE; run != nil {
			c.RunE = func(c *cobra.Command, args []string) error {
				return f.around(func() error { return run(c, args) })
			}
		}
	}
}

// around runs what is to be profiled.
func (f *profileFlags) around(run func() error) (err error) {
	if f.cpu != "" {
		out, err := os.Create(f.cpu)
		if err != nil {
			return fmt.Errorf("writing the CPU profile: %w", err)
		}
		if err := pprof.StartCPUProfile(out); err != nil {
			return errors.Join(fmt.Errorf("writing the CPU profile: %w", err), out.Close())
		}
		defer func() {
			pprof.StopCPUProfile()
			if closeErr := out.Close(); err == nil && closeErr != nil {
				err = fmt.Errorf("writing the CPU profile: %w", closeErr)
			}
		}()
	}
	if f.mem == "" {
		return run()
	}
	out, err := os.Create(f.mem) // live makes no files at its end
	if err == nil {
		defer out.Close()
		if err := run(); err != nil {
			return err
		}
		runtime.GC() // what is garbage is not in use
		err = errors.Join(pprof.WriteHeapProfile(out), out.Close())
	}
	if err != nil {
		return fmt.Errorf("writing the memory profile: %w", err)
	}
	return nil
}
