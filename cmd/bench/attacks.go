//go:build unix

package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tcpwatch/tcpwatch/capture/pktgen"
)

// What the attacks of pktgen may cost, with --max-memory 64MiB: so much memory at the
// peak, in any format; of the CPU time of a packet so many times what tcpdump takes; and
// a packet among many about what it costs among few.
const (
	attackMemory = "64MiB"
	attackPeak   = 80 << 20
	attackCost   = 20
	attackGrowth = 1.5
)

// attackFormats are the formats that are measured, each with the command that prints
// it. Metrics are what a live run counts of what it reads.
var attackFormats = append([]attackFormat{{"metrics", []string{"live", "-i", "-", "-o", "summary", "--listen", "127.0.0.1:0"}}}, replayFormats("summary", "jsonl", "csv", "json", "table", "wide", "markdown", "html", "services")...)

type attackFormat struct {
	name string
	args []string
}

func replayFormats(names ...string) (list []attackFormat) {
	for _, name := range names {
		list = append(list, attackFormat{name, []string{"replay", "-", "-o", name}})
	}
	return list
}

// attackSettings are the flags of the attacks.
type attackSettings struct {
	settings
	packets int
	formats string
}

// attackMain measures what attacks cost.
func attackMain(args []string, out, progress io.Writer) error {
	s := attackSettings{settings: settings{runs: 1, scale: 1, share: 1}}
	fl := flag.NewFlagSet("attacks", flag.ExitOnError)
	fl.IntVar(&s.packets, "packets", 1_000_000, "packets of each attack; a quarter, half and all of them are read")
	fl.IntVar(&s.runs, "runs", 1, "how often summary reads each file; the least counts")
	fl.StringVar(&s.only, "only", "", "the `attacks` to measure, separated by commas; \"\": all")
	fl.StringVar(&s.formats, "formats", "", "the `formats` to measure, separated by commas; \"\": all")
	fl.DurationVar(&s.patience, "patience", 5*time.Minute, "after which a run is given up")
	fl.StringVar(&s.dir, "dir", "", "where to keep the programs; without it they are removed")
	fl.StringVar(&s.program, "tcpwatch", "", "the `program` to measure; without it one is built")
	fl.Parse(args)
	return s.run(out, progress)
}

// run measures what each attack costs. It fails where one costs more than it may.
func (s *attackSettings) run(out, progress io.Writer) error {
	remove, err := s.prepare()
	if err != nil {
		return err
	}
	defer remove()
	fmt.Fprintf(out, "%-22s %9s %6s %7s %7s  peak MiB of\n%-22s %9s %6s %7s %7s", "attack", "packets", "us", "tcpdump", "growth", "", "", "a pkt", "times", "")
	var formats []attackFormat
	for _, f := range attackFormats {
		if s.formats == "" || slices.Contains(strings.Split(s.formats, ","), f.name) {
			formats = append(formats, f)
			fmt.Fprintf(out, " %8s", f.name)
		}
	}
	fmt.Fprintln(out)
	failed := 0
	for _, kind := range pktgen.Attacks() {
		if s.only == "" || slices.Contains(strings.Split(s.only, ","), kind) {
			f, err := s.attack(kind, formats, out)
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			failed += f
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d figures are more than they may be (!)", failed)
	}
	return nil
}

// attack measures one attack and returns how many of the figures are too high.
func (s *attackSettings) attack(kind string, formats []attackFormat, out io.Writer) (failed int, err error) {
	path := filepath.Join(s.dir, "attack.pcap")
	defer os.Remove(path)
	figure := func(text string, high bool) {
		mark := " "
		if high {
			mark = "!"
			failed++
		}
		fmt.Fprintf(out, " %s%s", text, mark)
	}
	var perPacket [3]float64 // of a quarter, of half, and of all, in microseconds
	var ratio float64
	for i, share := range []int{4, 2, 1} {
		packets, err := writeAttack(path, pktgen.Attack{Kind: kind, Packets: s.packets / share, Seed: 1})
		if err != nil {
			return failed, err
		}
		ours, err := s.least(path, s.command("replay", "-", "-o", "summary"))
		if err != nil {
			return failed, err
		}
		perPacket[i] = float64(ours.cpu.Nanoseconds()-s.start.Nanoseconds()) / 1000 / float64(packets)
		if share > 1 {
			continue
		}
		fmt.Fprintf(out, "%-22s %9d %6.2f", kind, packets, perPacket[i])
		if theirs, err := s.least(path, []string{"tcpdump", "-nr", "-", "-w", os.DevNull, "tcp"}); err == nil {
			ratio = float64(ours.cpu) / float64(theirs.cpu)
		}
	}
	figure(fmt.Sprintf("%6.1f", ratio), ratio > attackCost)
	growth := perPacket[2] / max(perPacket[0], 0.1)
	figure(fmt.Sprintf("%6.2f", growth), growth > attackGrowth)
	for _, f := range formats {
		c, err := s.readStdin(s.command(f.args...), path)
		if err != nil {
			figure("failed: "+err.Error(), true)
			continue
		}
		figure(fmt.Sprintf("%7d", c.peak>>20), c.peak > attackPeak)
	}
	fmt.Fprintln(out)
	return failed, nil
}

// writeAttack writes an attack to a file.
func writeAttack(path string, a pktgen.Attack) (packets int, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	packets, err = a.Write(f)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return packets, err
}

// command returns a command of tcpwatch that keeps to the memory.
func (s *attackSettings) command(args ...string) []string {
	return append(append([]string{s.program}, args...), "--quiet", "--max-memory", attackMemory)
}

// least reads the file as often as is asked for, and returns the least cost.
func (s *attackSettings) least(path string, command []string) (least cost, err error) {
	for n := range s.runs {
		c, err := s.readStdin(command, path)
		if err != nil {
			return least, err
		}
		if n == 0 || c.cpu < least.cpu {
			least = c
		}
	}
	return least, nil
}
