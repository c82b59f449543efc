package cmd

import (
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/tcpwatch/tcpwatch/cmd/run"
)

// newMan prints the manual page of a command: tcpwatch man replay | man -l -
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:   "man [COMMAND]",
		Short: "Print the manual page of tcpwatch, or of one of its commands",
		Example: `  tcpwatch man | man -l -
  tcpwatch man replay > tcpwatch-replay.1`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			page, rest, err := c.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return run.WithHint(errNoCommand(rest[0]), "tcpwatch --help lists the commands")
			}
			page.DisableAutoGenTag = true
			return doc.GenMan(page, &doc.GenManHeader{Section: "1", Source: "tcpwatch", Manual: "tcpwatch"}, c.OutOrStdout())
		},
	}
}
