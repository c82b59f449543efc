package cmd

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/capture/hub"
	"github.com/tcpwatch/tcpwatch/capture/taps"
	"github.com/tcpwatch/tcpwatch/cmd/run"
)

// tapFlags are the flags that name captures of several places, as they were typed.
type tapFlags struct {
	taps   []string
	atEnds bool
	given  []taps.Tap // in the place of taps, of a command whose arguments they are
}

// add adds the flags.
func (f *tapFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringArrayVar(&f.taps, "tap", nil, "instead of FILE, once for each place where the traffic was captured: its `NAME=FILE`, such as client=a.pcap; the same name again continues its capture; with --hub the name of a sensor")
	fl.BoolVar(&f.atEnds, "at-ends", false, "the captures of --tap were made on the two hosts themselves: what came in there has arrived")
}

// tapsKey is the name of the flag --tap.
const tapsKey = "tap"

// needsCapture is the check of arguments of a command that reads captures.
func needsCapture(c *cobra.Command, args []string) error {
	changed := func(name string) bool {
		f := c.Flags().Lookup(name)
		return f != nil && f.Changed
	}
	switch tapped := changed(tapsKey); {
	case changed(hubKey) && len(args) > 0:
		return fmt.Errorf("%q: --hub takes the place of FILE", args[0])
	case changed(hubKey):
		return nil
	case tapped && len(args) > 0:
		return run.WithHint(fmt.Errorf("%q: --tap takes the place of FILE", args[0]), "--tap NAME=FILE for each capture")
	case !tapped && len(args) == 0:
		return run.WithHint(fmt.Errorf("%s needs a capture to read", c.Name()), c.CommandPath()+" file.pcap, or - for standard input")
	}
	return nil
}

// sensors reads the flags where they name sensors of a hub.
func (f *tapFlags) sensors() (list []taps.Tap, err error) {
	for _, name := range f.taps {
		list = append(list, taps.Tap{Name: name})
		if hub.CheckName(name) != nil || slices.Index(f.taps, name) != len(list)-1 {
			return nil, run.WithHint(fmt.Errorf("--tap %q: with --hub it must be the name of a sensor, once", name), "tcpwatch sensors --hub URL lists them")
		}
	}
	switch {
	case len(list) == 1:
		return nil, run.WithHint(fmt.Errorf("--tap %q: give the --tap of another sensor that has the same traffic", f.taps[0]), "tcpwatch sensors --hub URL lists them")
	case len(list) == 0 && f.atEnds:
		return nil, errors.New("--at-ends needs --tap")
	}
	return list, nil
}

// tapList reads the flags. It returns no list where there is no --tap, and how the
// captures are called together.
func (f *readFlags) tapList() (list []taps.Tap, called string, err error) {
	if f.hub == "" {
		return f.tapFlags.read()
	}
	list, err = f.tapFlags.sensors()
	return list, f.hub, err
}

// read is tapList for files.
func (f *tapFlags) read() (list []taps.Tap, called string, err error) {
	if len(f.given) > 0 {
		var files []string
		for _, t := range f.given {
			files = append(files, t.Files...)
		}
		return f.given, strings.Join(files, " "), onlyOnce(f.given)
	}
	for _, text := range f.taps {
		name, file, ok := strings.Cut(text, "=")
		if !ok || name == "" || file == "" {
			return nil, "", fmt.Errorf("--tap %q: must be NAME=FILE, such as client=a.pcap", text)
		}
		if file == "-" {
			return nil, "", fmt.Errorf("--tap %q: must be a file, as it is read twice", text)
		}
		i := 0
		for ; i < len(list) && list[i].Name != name; i++ {
		}
		if i == len(list) {
			list = append(list, taps.Tap{Name: name})
		}
		list[i].Files = append(list[i].Files, file)
	}
	switch {
	case len(list) == 1:
		return nil, "", fmt.Errorf("--tap %q: give another --tap, or leave it to FILE", f.taps[0])
	case len(list) == 0 && f.atEnds:
		return nil, "", errors.New("--at-ends needs --tap; of one capture, --tap-on says where it was made")
	}
	return list, strings.Join(f.taps, " "), onlyOnce(list)
}

// onlyOnce is the error where a file is named more than once: its packets would pass for
// those of two places. A file that is not there is left to who opens it.
func onlyOnce(list []taps.Tap) error {
	type seen struct {
		tap, path string
		info      os.FileInfo
	}
	var all []seen
	for _, t := range list {
		for _, path := range t.Files {
			info, err := os.Stat(path)
			if err != nil {
				continue
			}
			for _, o := range all {
				if os.SameFile(o.info, info) {
					return run.WithHint(fmt.Errorf("%s: is given twice, as %s and as %s", path, o.tap, t.Name), "give the capture of another place, made at the same time")
				}
			}
			all = append(all, seen{t.Name, path, info})
		}
	}
	return nil
}
