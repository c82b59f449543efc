package cmd

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/capture"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, and how this program was built",
		Long: `version prints the version on the first line. Below it each line has a name, a
colon and a value:

  commit    the commit that was built; "modified" if files differed from it
  date      when that commit was made
  go        the version of Go
  platform  the operating system and the processor
  capture   how live reads interfaces: AF_PACKET, libpcap, /dev/bpf or none
  libpcap   yes if this program uses libpcap (on Windows, that of Npcap)
  cgo       yes if it links C; if no, live drops file capabilities after opening

commit and date are "unknown" if Go did not record them, as with go install.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return writeVersion(c.OutOrStdout())
		},
	}
}

// writeVersion writes what a report of a bug should have.
func writeVersion(w io.Writer) error {
	b := readBuild()
	_, err := fmt.Fprintf(w, `tcpwatch %s
commit: %s
date: %s
go: %s
platform: %s/%s
capture: %s
libpcap: %s
cgo: %s
`, b.version, b.commit, b.date, runtime.Version(), runtime.GOOS, runtime.GOARCH,
		capture.LiveBy, yesNo(capture.LiveBy == "libpcap"), yesNo(b.cgo))
	return err
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// A build is what the Go tool recorded of it.
type build struct {
	version, commit, date string
	cgo                   bool
}

func readBuild() build {
	b := build{"unknown", "unknown", "unknown", false}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.version = info.Main.Version
	}
	modified := ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.commit = s.Value
		case "vcs.time":
			b.date = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				modified = " modified"
			}
		case "CGO_ENABLED":
			b.cgo = s.Value == "1"
		}
	}
	b.commit += modified
	return b
}

// version is the version on one line, as --version and records have it.
func version() string {
	b := readBuild()
	words := []string{b.version}
	if b.commit != "unknown" {
		words = append(words, b.commit)
	}
	return strings.Join(append(words, runtime.Version()), " ")
}
