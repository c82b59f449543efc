package cmd

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/report/catalogue"
)

// newStates prints the transition table.
func newStates() *cobra.Command {
	var output, color string
	c := &cobra.Command{
		Use:   "states",
		Short: "Print the transition table that the tracker runs",
		Long: `states prints the transition table that tcpwatch uses: the part of the state
machine of RFC 9293 that packets can show. The formats are a table, a Graphviz
file (dot), a Markdown diagram (mermaid) or an SVG picture (svg). mermaid and
svg omit how a connection is aborted (a reset, a timer, an end that has no such
connection); table and dot show everything.`,
		Example: `  tcpwatch states
  tcpwatch states -o svg > states.svg
  tcpwatch states -o dot | dot -Tpng > states.png`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			colors, err := colour(color, c.OutOrStdout())
			if err != nil {
				return err
			}
			return catalogue.WriteStates(c.OutOrStdout(), output, colors)
		},
	}
	c.Flags().SortFlags = false
	c.Flags().StringVarP(&output, "output", "o", "table", "output `format`: "+strings.Join(catalogue.StatesFormats(), ", "))
	c.Flags().StringVar(&color, "color", "auto", "auto, always, never")
	complete(c, "output", catalogue.StatesFormats())
	complete(c, "color", []string{"auto", "always", "never"})
	return c
}
