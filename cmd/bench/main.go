//go:build unix

// Command bench measures tcpwatch beside the other programs that read captures
// and are installed: CPU time, wall time and peak memory on the same files.
//
//	go run ./cmd/bench             # a tenth of the size, about two minutes
//	go run ./cmd/bench -scale 1    # the table in the README beside this
//	go run ./cmd/bench attacks     # what hostile captures cost, and whether that is bounded
//
// Every program reads every file -runs times, by turns, so that a busy moment
// of the machine meets all of them; the least of each quantity counts. The
// files are made once, and kept if -dir says where.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/pktgen"
)

// sizes are the files, and their packets at scale 1.
var sizes = []struct {
	kind    pktgen.TrafficKind
	packets int
}{
	{pktgen.LongFlows, 5_000_000},
	{pktgen.ShortConnections, 5_000_000},
	{pktgen.SYNs, 3_000_000},
	{pktgen.FullPayloads, 500_000},
	{pktgen.Mixed, 500_000},
}

// settings are the flags.
type settings struct {
	scale    float64
	runs     int
	share    int           // of a file that slow programs read, in packets
	patience time.Duration // with one run of a program
	dir      string
	only     string
	program  string        // the tcpwatch that is measured
	once     string        // the program that runs the others
	start    time.Duration // of CPU time that tcpwatch takes to start; of attacks only
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "attacks" {
		if err := attackMain(os.Args[2:], os.Stdout, os.Stderr); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %v\n", err)
			os.Exit(1)
		}
		return
	}
	var s settings
	flag.Float64Var(&s.scale, "scale", 0.1, "size of the files; 1 is 5 million packets of long flows, 500,000 short connections, 3 million SYNs")
	flag.IntVar(&s.runs, "runs", 3, "how often each program reads each file")
	flag.IntVar(&s.share, "share", 200_000, "packets of a file that tshark reads")
	flag.DurationVar(&s.patience, "patience", 5*time.Minute, "after which a run is given up")
	flag.StringVar(&s.dir, "dir", "", "where to keep the files; without it they are removed")
	flag.StringVar(&s.only, "only", "", "the one `kind` of traffic to read")
	flag.StringVar(&s.program, "tcpwatch", "", "the `program` to measure; without it one is built")
	flag.Parse()
	if err := s.run(os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// run makes what is missing, measures, and prints the table to out.
func (s *settings) run(out, progress io.Writer) error {
	if s.scale <= 0 || s.runs < 1 || s.share < 1 {
		return errors.New("-scale, -runs and -share are more than 0")
	}
	remove, err := s.prepare()
	if err != nil {
		return err
	}
	defer remove()
	tools, missing := s.tools()
	var rows []row
	for _, f := range sizes {
		if s.only != "" && s.only != string(f.kind) {
			continue
		}
		path := s.path(f.kind)
		if _, err := os.Stat(path); err != nil {
			fmt.Fprintf(progress, "making %s\n", path)
			if err := s.makeFile(f.kind); err != nil {
				return err
			}
		}
		rows = append(rows, s.measure(f.kind, path, tools, progress)...)
	}
	if len(rows) == 0 {
		return fmt.Errorf("there is no traffic of kind %q", s.only)
	}
	if err := writeTable(out, rows); err != nil {
		return err
	}
	if len(missing) > 0 {
		fmt.Fprintf(out, "\nNot installed, and so not measured: %s.\n", strings.Join(missing, ", "))
	}
	return nil
}

// prepare builds what is missing, in a directory that remove removes if it is none
// that was asked for.
func (s *settings) prepare() (remove func(), err error) {
	remove = func() {}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "bench"); err != nil {
			return remove, err
		}
		remove = func() { os.RemoveAll(s.dir) }
	} else if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return remove, err
	}
	s.once = filepath.Join(s.dir, "once")
	if err := build(s.once, module+"/cmd/bench/once"); err != nil {
		return remove, err
	}
	if s.program == "" {
		s.program = filepath.Join(s.dir, "tcpwatch")
		err = build(s.program, module)
	}
	return remove, err
}

const module = "github.com/tcpwatch/tcpwatch"

// build builds a program of the module.
func build(program, pkg string) error {
	if out, err := exec.Command("go", "build", "-o", program, pkg).CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// packets returns how many packets the file of a kind has, about.
func (s *settings) packets(kind pktgen.TrafficKind) int {
	for _, f := range sizes {
		if f.kind == kind {
			return max(int(float64(f.packets)*s.scale), 1000)
		}
	}
	return 0
}

// path returns the name of the file of a kind.
func (s *settings) path(kind pktgen.TrafficKind) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s-%d.pcap", kind, s.packets(kind)))
}

// makeFile makes the file of a kind. Under its name it is whole.
func (s *settings) makeFile(kind pktgen.TrafficKind) error {
	f, err := os.CreateTemp(s.dir, "making")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = pktgen.Traffic{Kind: kind, Packets: s.packets(kind), Seed: 1}.Write(f)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), s.path(kind))
}
