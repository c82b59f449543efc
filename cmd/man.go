package cmd

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/tcpwatch/tcpwatch/cmd/run"
)

// newMan prints the manual page of a command, or of a topic of the help: tcpwatch
// man replay | man -l -
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:   "man [COMMAND]",
		Short: "Print the manual page of tcpwatch or of a command",
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
			if page.IsAdditionalHelpTopicCommand() {
				page.Long = "```\n" + page.Long + "```\n" // its lines stay as they are
			}
			out := c.OutOrStdout()
			if err := doc.GenMan(page, &doc.GenManHeader{Section: "1", Source: "tcpwatch", Manual: "tcpwatch"}, out); err != nil || page.HasParent() {
				return err
			}
			_, err = io.WriteString(out, topicsSection())
			return err
		},
	}
}

// topicsSection lists the topics of the help at the end of a manual page.
func topicsSection() string {
	section := "\n.SH HELP TOPICS\n"
	for _, t := range topics {
		section += fmt.Sprintf(".TP\n\\fBtcpwatch help %s\\fP\n%s\n", strings.ReplaceAll(t.name, "-", `\-`), t.short)
	}
	return section
}
