//go:build unix

// Package console is a terminal with somebody before it, for tests of what
// fills the screen.
package console

import (
	"bytes"
	"io"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
	"golang.org/x/term"
)

// A Console is a pseudo-terminal.
type Console struct {
	TTY *os.File // what the program has

	t      *testing.T
	master *os.File // what one types into, and what one sees comes from
	before *term.State

	mu      sync.Mutex
	vt      vt10x.Terminal
	raw     bytes.Buffer  // all that was written
	changed chan struct{} // closed, and made anew, when something was written
}

// New returns a Console of that size, on which something stands already.
func New(t *testing.T, columns, rows int) *Console {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Skipf("there is no pseudo-terminal: %v", err)
	}
	c := &Console{t: t, master: master, TTY: tty, changed: make(chan struct{})}
	c.vt = vt10x.New(vt10x.WithSize(columns, rows), vt10x.WithWriter(io.Discard))
	c.Resize(columns, rows)
	if c.before, err = term.GetState(int(tty.Fd())); err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, err := master.Read(buf)
			if err != nil {
				return
			}
			c.mu.Lock()
			c.raw.Write(buf[:n])
			c.vt.Write(buf[:n])
			close(c.changed)
			c.changed = make(chan struct{})
			c.mu.Unlock()
		}
	}()
	// Both are left open: bubbletea's reader may outlive Run by a little.
	io.WriteString(tty, "what was there before\r\n")
	c.See("what was there before")
	return c
}

// Resize gives the terminal another size. Of that the system tells a process
// whose own terminal it is, and no other.
func (c *Console) Resize(columns, rows int) {
	c.mu.Lock() // what is written from now on is for the new size
	defer c.mu.Unlock()
	c.vt.Resize(columns, rows)
	if err := pty.Setsize(c.master, &pty.Winsize{Cols: uint16(columns), Rows: uint16(rows)}); err != nil {
		c.t.Fatal(err)
	}
}

// Patience is how long a test waits for what must come.
const Patience = time.Minute

// See waits until the screen holds all the texts.
func (c *Console) See(texts ...string) {
	c.t.Helper()
	late := time.After(Patience)
	for {
		c.mu.Lock()
		seen, changed := c.vt.String(), c.changed
		c.mu.Unlock()
		missing := ""
		for _, text := range texts {
			if !strings.Contains(seen, text) {
				missing = text
			}
		}
		if missing == "" {
			return
		}
		select {
		case <-changed:
		case <-late:
			c.t.Fatalf("no %q on the screen:\n%s", missing, seen)
		}
	}
}

// Press types keys.
func (c *Console) Press(keys string) {
	if _, err := io.WriteString(c.master, keys); err != nil {
		c.t.Fatal(err)
	}
}

// IsAsBefore fails unless the terminal is as it was.
func (c *Console) IsAsBefore() {
	c.t.Helper()
	c.See("what was there before")
	c.HasItsModes()
}

// HasItsModes fails unless the terminal has the modes that it had.
func (c *Console) HasItsModes() {
	c.t.Helper()
	after, err := term.GetState(int(c.TTY.Fd()))
	if err != nil {
		c.t.Fatal(err)
	}
	if !reflect.DeepEqual(after, c.before) {
		c.t.Errorf("the terminal's modes are %+v, were %+v", after, c.before)
	}
	io.WriteString(c.TTY, "end of the test\r\n") // all before it was read when that is seen
	c.See("end of the test")
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.vt.CursorVisible() {
		c.t.Error("the cursor is hidden")
	}
	for on, off := range map[string]string{"\x1b[?1049h": "\x1b[?1049l", "\x1b[?2004h": "\x1b[?2004l", "\x1b[?25l": "\x1b[?25h"} {
		raw := c.raw.String()
		if strings.Contains(raw, on) && strings.LastIndex(raw, on) > strings.LastIndex(raw, off) {
			c.t.Errorf("%q was not taken back", on)
		}
	}
}
