//go:build unix

package screen

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/tcpwatch/tcpwatch/report/internal/replaytest"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/report/screen/console"
	"github.com/tcpwatch/tcpwatch/tracker"
)

// start runs a Display on the terminal. The channel tells how Run ended.
func start(ctx context.Context, t *testing.T, c *console.Console, o record.Options) (*Display, chan error) {
	t.Helper()
	d, err := New(Options{Report: o, In: c.TTY, Out: c.TTY})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	c.See("Waiting for packets.")
	return d, ended
}

// ends waits until Run returns.
func ends(t *testing.T, ended chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(console.Patience):
		t.Fatal("it does not end")
		return nil
	}
}

// A capture is played as if live: every refresh is waited for on the screen.
func TestShowsACaptureAsItGoesOn(t *testing.T) {
	c := console.New(t, 80, 24)
	d, ended := start(t.Context(), t, c, record.Options{Color: true})
	refreshes := 0
	err := replaytest.File("../../pcaps/rst-instead-of-ack.pcap", 100*time.Millisecond, d, d.Take, func(s *record.Snapshot) {
		o := record.Options{}
		c.See(o.TimeOf(s))
		if refreshes++; refreshes == 1 {
			c.See("10.9.0.1:40020", "ESTABLISHED", "10.9.0.2:7020")
			c.Press("\r")
			c.See("ladder", "conn 1  10.9.0.1:40020")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if refreshes < 5 {
		t.Errorf("%d refreshes, want more", refreshes)
	}
	c.See("recv RST", "Times are relative to")
	c.Press("kkkkkkkkkkkkkkkkkk") // beyond what was odd about it
	c.See("<CTL=RST>")
	c.Press("\x1b")
	c.See("both ends")
	c.Press("5")
	c.See("anomalies", "error  rst-instead-of-ack  RFC 9293")
	c.Press("1/nobody")
	c.See("nothing")
	c.Press("q\x15")
	c.See("10.9.0.2:7020")
	c.Press("\rq")
	if err := ends(t, ended); err != nil {
		t.Error(err)
	}
	c.IsAsBefore()
}

func TestLeavesTheTerminalAsItWas(t *testing.T) {
	for _, test := range []struct {
		name string
		quit func(c *console.Console, d *Display, cancel func())
	}{
		{"q", func(c *console.Console, _ *Display, _ func()) { c.Press("q") }},
		{"Ctrl-C", func(c *console.Console, _ *Display, _ func()) { c.Press("\x03") }},
		{"the context ends", func(_ *console.Console, _ *Display, cancel func()) { cancel() }},
		{"Close", func(_ *console.Console, d *Display, _ func()) { d.Close() }},
		{"the tracker panics", func(_ *console.Console, d *Display, _ func()) {
			defer func() { recover() }()
			defer d.Close()
			panic("the tracker")
		}},
		{"the tracker panics under an open ladder", func(c *console.Console, d *Display, _ func()) {
			c.Press("\r")
			c.See("ladder")
			defer func() { recover() }()
			defer d.Close()
			d.Take(nil)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := console.New(t, 80, 24)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			d, ended := start(ctx, t, c, record.Options{Color: true})
			d.Refresh(crowd(100))
			c.See("100 connections")
			test.quit(c, d, cancel)
			if err := ends(t, ended); err != nil {
				t.Errorf("Run returned %v", err)
			}
			c.IsAsBefore()
			d.Refresh(crowd(1)) // nobody waits for it, and it waits for nobody
			d.Refresh(crowd(2))
			d.Event(&tracker.Event{})
			d.Close()
		})
	}
}

func TestResize(t *testing.T) {
	c := console.New(t, 80, 24)
	d, ended := start(t.Context(), t, c, record.Options{})
	d.Refresh(crowd(100))
	c.See("10.9.0.1:1162 ") // in the last row of 18
	for _, size := range []struct {
		columns, rows int
		last          string
	}{{120, 40, "10.9.0.1:1146 "}, {40, 10, "10.9.0.1:1176 "}, {80, 24, "10.9.0.1:1162 "}} {
		c.Resize(size.columns, size.rows)
		// The terminal is not that of the process, which would be told by the system.
		if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
			t.Fatal(err)
		}
		c.See(size.last, "? help")
	}
	c.Press("q")
	if err := ends(t, ended); err != nil {
		t.Error(err)
	}
	c.HasItsModes() // vt10x loses what stood there when it gets smaller
}

// A panic of the screen is told of, by the library, on standard error.
func TestPanicOfTheScreen(t *testing.T) {
	c := console.New(t, 80, 24)
	d, ended := start(t.Context(), t, c, record.Options{})
	quiet, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = quiet
	d.Refresh(&record.Snapshot{Records: []*tracker.Record{nil}})
	err = ends(t, ended)
	os.Stderr = stderr
	if err == nil {
		t.Error("Run returned no error")
	}
	c.IsAsBefore()
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
	c := console.New(t, 80, 24)
	d, ended := start(t.Context(), t, c, record.Options{})
	d.Refresh(crowd(10_000))
	c.See("10000 connections", "10.9.0.1:11079")
	c.Press("G")
	c.See("10.9.0.1:1080 ")
	c.Press("/:4321")
	c.See("10.9.0.1:4321")
	c.Press("\r\x03")
	if err := ends(t, ended); err != nil {
		t.Error(err)
	}
	c.IsAsBefore()
}
