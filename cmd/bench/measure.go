//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"

	"github.com/tcpwatch/tcpwatch/capture/pktgen"
)

// A cost is what reading a file took.
type cost struct {
	cpu, wall time.Duration
	peak      int64 // octets of memory
}

// A row is a line of the table.
type row struct {
	kind    pktgen.TrafficKind
	tool    string
	packets int // that were read, about
	cost    cost
	failed  string // why there is no cost; "" if there is
	base    *row   // of the same file; nil without tcpdump
}

// measure has every tool read a file.
func (s *settings) measure(kind pktgen.TrafficKind, path string, tools []tool, progress io.Writer) []row {
	var rows []row
	var used []tool
	for _, t := range tools {
		if t.only != "" && t.only != kind {
			continue
		}
		packets := s.packets(kind)
		if t.share > 0 {
			packets = min(packets, t.share)
		}
		used = append(used, t)
		rows = append(rows, row{kind: kind, tool: t.name, packets: packets})
	}
	for n := range s.runs {
		fmt.Fprintf(progress, "%s: run %d of %d\n", kind, n+1, s.runs)
		for i, t := range used {
			r := &rows[i]
			if r.failed != "" {
				continue
			}
			c, err := s.read(t, path)
			if err != nil {
				r.failed = strings.TrimSpace(err.Error() + " " + t.bound)
				continue
			}
			if n > 0 {
				c = cost{min(c.cpu, r.cost.cpu), min(c.wall, r.cost.wall), min(c.peak, r.cost.peak)}
			}
			r.cost = c
		}
	}
	for i := range rows {
		if rows[0].tool == baseline && rows[0].failed == "" {
			rows[i].base = &rows[0]
		}
	}
	return rows
}

// read has the tool read the file.
func (s *settings) read(t tool, path string) (cost, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	c := exec.CommandContext(ctx, s.once)
	for _, a := range t.command {
		if a == file {
			a = path
		}
		c.Args = append(c.Args, a)
	}
	c.Env = append(os.Environ(), t.env...)
	if t.stdin != "" {
		f, err := os.Open(t.stdin)
		if err != nil {
			return cost{}, err
		}
		defer f.Close()
		c.Stdin = f
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) } // and what it runs
	said, err := c.Output()
	if ctx.Err() != nil {
		return cost{}, fmt.Errorf("given up after %v", s.patience)
	}
	if err != nil {
		return cost{}, errors.New(strings.TrimSpace(string(said)))
	}
	var took cost
	if _, err := fmt.Sscan(string(said), (*int64)(&took.cpu), (*int64)(&took.wall), &took.peak); err != nil {
		return cost{}, fmt.Errorf("once: %w", err)
	}
	return took, nil
}

// readStdin has a command read the file as its standard input.
func (s *settings) readStdin(command []string, path string) (cost, error) {
	return s.read(tool{command: command, stdin: path}, "")
}

// writeTable prints the rows in Markdown. Times are compared by packet.
func writeTable(out io.Writer, rows []row) error {
	table := tablewriter.NewTable(out,
		tablewriter.WithRenderer(renderer.NewMarkdown()),
		tablewriter.WithConfig(tablewriter.Config{
			Header: tw.CellConfig{Formatting: tw.CellFormatting{AutoFormat: tw.Off}},
		}),
		tablewriter.WithAlignment(tw.Alignment{tw.AlignLeft, tw.AlignRight, tw.AlignLeft, tw.AlignRight, tw.AlignRight, tw.AlignRight, tw.AlignRight, tw.AlignRight, tw.AlignRight}),
	)
	table.Header("traffic", "packets", "program", "CPU s", "x tcpdump", "wall s", "x tcpdump", "peak MB", "x tcpdump")
	for _, r := range rows {
		line := []string{string(r.kind), fmt.Sprint(r.packets), r.tool}
		if r.failed != "" {
			line = append(line, r.failed, "", "", "", "", "")
		} else {
			line = append(line, r.cells()...)
		}
		if err := table.Append(line); err != nil {
			return err
		}
	}
	return table.Render()
}

// cells returns what was measured, and each in relation to tcpdump.
func (r *row) cells() []string {
	cells := []string{seconds(r.cost.cpu), "", seconds(r.cost.wall), "", fmt.Sprintf("%.0f", float64(r.cost.peak)/1e6), ""}
	if b := r.base; b != nil {
		perPacket := float64(b.packets) / float64(r.packets)
		cells[1] = ratio(perPacket * float64(r.cost.cpu) / float64(b.cost.cpu))
		cells[3] = ratio(perPacket * float64(r.cost.wall) / float64(b.cost.wall))
		cells[5] = ratio(float64(r.cost.peak) / float64(b.cost.peak))
	}
	return cells
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

// ratio prints two digits, or the whole number.
func ratio(x float64) string {
	if x < 9.95 {
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.0f", x)
}
