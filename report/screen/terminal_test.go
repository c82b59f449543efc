//go:build unix

package screen

import (
	"bytes"
	"context"
	"io"
	"os"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
	"golang.org/x/term"

	"github.com/tcpwatch/tcpwatch/report"
	"github.com/tcpwatch/tcpwatch/report/internal/played"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// A console is a terminal with somebody before it.
type console struct {
	t      *testing.T
	master *os.File // what one types into, and what one sees comes from
	tty    *os.File // what the program has
	before *term.State

	mu      sync.Mutex
	vt      vt10x.Terminal
	raw     bytes.Buffer  // all that was written
	changed chan struct{} // closed, and made anew, when something was written
}

func newConsole(t *testing.T, columns, rows int) *console {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Skipf("there is no pseudo-terminal: %v", err)
	}
	c := &console{t: t, master: master, tty: tty, changed: make(chan struct{})}
	c.vt = vt10x.New(vt10x.WithSize(columns, rows), vt10x.WithWriter(io.Discard))
	c.resize(columns, rows)
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
	c.see("what was there before")
	return c
}

// resize gives the terminal another size. The process is its own: nobody sends
// it a signal.
func (c *console) resize(columns, rows int) {
	if err := pty.Setsize(c.master, &pty.Winsize{Cols: uint16(columns), Rows: uint16(rows)}); err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	c.vt.Resize(columns, rows)
	c.mu.Unlock()
}

// patience is how long a test waits for what must come.
const patience = time.Minute

// see waits until the screen holds all the texts.
func (c *console) see(texts ...string) {
	c.t.Helper()
	late := time.After(patience)
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

// press types keys.
func (c *console) press(keys string) {
	if _, err := io.WriteString(c.master, keys); err != nil {
		c.t.Fatal(err)
	}
}

// isAsBefore fails unless the terminal is as it was.
func (c *console) isAsBefore() {
	c.t.Helper()
	c.see("what was there before")
	c.hasItsModes()
}

// hasItsModes fails unless the terminal has the modes that it had.
func (c *console) hasItsModes() {
	c.t.Helper()
	after, err := term.GetState(int(c.tty.Fd()))
	if err != nil {
		c.t.Fatal(err)
	}
	if !reflect.DeepEqual(after, c.before) {
		c.t.Errorf("the terminal's modes are %+v, were %+v", after, c.before)
	}
	io.WriteString(c.tty, "end of the test\r\n") // all before it was read when that is seen
	c.see("end of the test")
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

// start runs a Display on the terminal. The channel tells how Run ended.
func (c *console) start(ctx context.Context, o report.Options) (*Display, chan error) {
	c.t.Helper()
	d, err := New(Options{Report: o, In: c.tty, Out: c.tty})
	if err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	c.see("Waiting for packets.")
	return d, ended
}

// ends waits until Run returns.
func (c *console) ends(ended chan error) error {
	c.t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		c.t.Fatal("it does not end")
		return nil
	}
}

// A capture is played as if live: every refresh is waited for on the screen.
func TestShowsACaptureAsItGoesOn(t *testing.T) {
	c := newConsole(t, 80, 24)
	d, ended := c.start(t.Context(), report.Options{Color: true})
	refreshes := 0
	err := played.File("../../pcaps/rst-instead-of-ack.pcap", 100*time.Millisecond, d, d.Take, func(s *report.Snapshot) {
		o := report.Options{}
		c.see(o.TimeOf(s))
		if refreshes++; refreshes == 1 {
			c.see("10.9.0.1:40020", "ESTABLISHED", "10.9.0.2:7020")
			c.press("\r")
			c.see("ladder", "conn 1  10.9.0.1:40020")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if refreshes < 5 {
		t.Errorf("%d refreshes, want more", refreshes)
	}
	c.see("<CTL=RST>", "rst-instead-of-ack")
	c.press("\x1b")
	c.see("both ends")
	c.press("5")
	c.see("anomalies", "error  rst-instead-of-ack  RFC 9293")
	c.press("1/nobody")
	c.see("nothing")
	c.press("q\x15")
	c.see("10.9.0.2:7020")
	c.press("\rq")
	if err := c.ends(ended); err != nil {
		t.Error(err)
	}
	c.isAsBefore()
}

func TestLeavesTheTerminalAsItWas(t *testing.T) {
	for _, test := range []struct {
		name string
		quit func(c *console, d *Display, cancel func())
	}{
		{"q", func(c *console, _ *Display, _ func()) { c.press("q") }},
		{"Ctrl-C", func(c *console, _ *Display, _ func()) { c.press("\x03") }},
		{"the context ends", func(_ *console, _ *Display, cancel func()) { cancel() }},
		{"Close", func(_ *console, d *Display, _ func()) { d.Close() }},
		{"the tracker panics", func(_ *console, d *Display, _ func()) {
			defer func() { recover() }()
			defer d.Close()
			panic("the tracker")
		}},
		{"the tracker panics under an open ladder", func(c *console, d *Display, _ func()) {
			c.press("\r")
			c.see("segments from now on")
			defer func() { recover() }()
			defer d.Close()
			d.Take(nil)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newConsole(t, 80, 24)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			d, ended := c.start(ctx, report.Options{Color: true})
			d.Refresh(crowd(100))
			c.see("100 connections")
			test.quit(c, d, cancel)
			if err := c.ends(ended); err != nil {
				t.Errorf("Run returned %v", err)
			}
			c.isAsBefore()
			d.Refresh(crowd(1)) // nobody waits for it, and it waits for nobody
			d.Refresh(crowd(2))
			d.Event(&tracker.Event{})
			d.Close()
		})
	}
}

func TestResize(t *testing.T) {
	c := newConsole(t, 80, 24)
	d, ended := c.start(t.Context(), report.Options{})
	d.Refresh(crowd(100))
	c.see("10.9.0.1:1161 ") // in the last row of 19
	for _, size := range []struct {
		columns, rows int
		last          string
	}{{120, 40, "10.9.0.1:1145 "}, {40, 10, "10.9.0.1:1175 "}, {80, 24, "10.9.0.1:1161 "}} {
		c.resize(size.columns, size.rows)
		// The terminal is not that of the process, which would be told by the system.
		if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
			t.Fatal(err)
		}
		c.see(size.last, "? help")
	}
	c.press("q")
	if err := c.ends(ended); err != nil {
		t.Error(err)
	}
	c.hasItsModes() // vt10x loses what stood there when it gets smaller
}

// A panic of the screen is told of, by the library, on standard error.
func TestPanicOfTheScreen(t *testing.T) {
	c := newConsole(t, 80, 24)
	d, ended := c.start(t.Context(), report.Options{})
	quiet, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = quiet
	d.Refresh(&report.Snapshot{Records: []*tracker.Record{nil}})
	err = c.ends(ended)
	os.Stderr = stderr
	if err == nil {
		t.Error("Run returned no error")
	}
	c.isAsBefore()
}

// A terminal that nobody reads holds nobody up but itself.
func TestStuckTerminalHoldsNobodyUp(t *testing.T) {
	master, tty, err := pty.Open()
	if err != nil {
		t.Skipf("there is no pseudo-terminal: %v", err)
	}
	d, err := New(Options{In: tty, Out: tty})
	if err != nil {
		t.Fatal(err)
	}
	go d.Run(t.Context())
	for i := range 1000 {
		d.Refresh(crowd(i % 50))
	}
	master.Close() // so that Run ends
}

func TestTenThousandConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("it is slow under the race detector")
	}
	c := newConsole(t, 80, 24)
	d, ended := c.start(t.Context(), report.Options{})
	d.Refresh(crowd(10_000))
	c.see("10000 connections", "10.9.0.1:11079")
	c.press("G")
	c.see("10.9.0.1:1080 ")
	c.press("/:4321")
	c.see("10.9.0.1:4321")
	c.press("\r\x03")
	if err := c.ends(ended); err != nil {
		t.Error(err)
	}
	c.isAsBefore()
}
