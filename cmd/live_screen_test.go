//go:build unix

package cmd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/report/screen/console"
)

// onConsole has a shell run live on a terminal, and say how it ended. It returns
// the process.
func onConsole(t *testing.T, c *console.Console, args ...string) *os.Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tcpwatch, pid := filepath.Join(dir, "tcpwatch"), filepath.Join(dir, "pid")
	if err := os.Symlink(self, tcpwatch); err != nil { // by its name TestMain knows what it is
		t.Fatal(err)
	}
	const script = `sh -c 'echo $$ >"$0"; exec "$@"' "$0" "$@"; echo "it ended with $?"; read line`
	shell := exec.Command("sh", append([]string{"-c", script, pid, tcpwatch, "live", "--user", strconv.Itoa(os.Geteuid())}, args...)...)
	shell.Stdin, shell.Stdout, shell.Stderr = c.TTY, c.TTY, c.TTY
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	shell.Env = append(os.Environ(), "TERM=xterm-256color")
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		shell.Process.Kill()
		shell.Wait()
	})
	c.See("? help")
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { process.Kill() })
	return process
}

// On a terminal live fills the screen, heeds its keys and its size, and gives it
// back as it was, with the summary, however it is ended.
func TestLiveOnATerminal(t *testing.T) {
	for _, test := range []struct {
		name string
		quit func(c *console.Console, p *os.Process)
	}{
		{"Ctrl-C", func(c *console.Console, _ *os.Process) { c.Press("\x03") }},
		{"Ctrl-C under the help", func(c *console.Console, _ *os.Process) {
			c.Press("?")
			c.See("the connections in TIME_WAIT")
			c.Press("\x03")
		}},
		{"q under a ladder", func(c *console.Console, _ *os.Process) {
			c.Press("\r")
			c.See("conn 2  10.9.0.1:40002")
			c.Press("q")
		}},
		{"interrupted", func(_ *console.Console, p *os.Process) { p.Signal(os.Interrupt) }},
		{"terminated", func(_ *console.Console, p *os.Process) { p.Signal(syscall.SIGTERM) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			capture := newGrowing(t)
			c := console.New(t, 80, 24)
			p := onConsole(t, c, "--follow", capture.file.Name(), "--interval", "100ms")
			capture.write(opened(40001, when)...)
			capture.write(opened(40002, when)...)
			c.See("both ends", "2 connections", "10.9.0.1:40001", "10.9.0.1:40002", "ESTABLISHED", "? help")
			capture.write(closed(40001, when.Add(time.Second))...)
			c.See("TIME_WAIT")
			c.Press("/:40002\r")
			c.See("only :40002  1 row  ")
			test.quit(c, p)
			c.See("Totals: 9 packets", "it ended with 0")
			c.IsAsBefore()
		})
	}
}

// The screen has the size of the terminal, and the views of its keys.
func TestLiveOnATerminalOfAnotherSize(t *testing.T) {
	capture := newGrowing(t)
	c := console.New(t, 80, 24)
	onConsole(t, c, "--follow", capture.file.Name(), "--interval", "100ms")
	const connections = 50
	for i := range connections {
		capture.write(opened(uint16(40001+i), when)...)
	}
	capture.write(closed(40001, when.Add(time.Second))...)
	for _, size := range []struct {
		columns, rows int
		last          string
	}{{80, 24, "10.9.0.1:40033"}, {120, 40, "10.9.0.1:40017"}, {60, 12, "10.9.0.1:40045"}, {80, 24, "10.9.0.1:40033"}} {
		c.Resize(size.columns, size.rows)
		c.See("50 connections", size.last, "? help")
	}
	c.Press("4")
	c.See("TIME_WAIT", "10.9.0.1")
	c.Press("3")
	c.See("LISTEN", "10.9.0.2:7000")
	c.Press("\x03")
	c.See("it ended with 0")
	c.HasItsModes()
}
