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
		Long: `states prints the one table by which tcpwatch moves an end from state to state:
what a bystander can see of the state machine of RFC 9293. It comes as a table,
or as a picture for Graphviz (dot), for Markdown (mermaid) or for itself (svg).
The mermaid and svg pictures leave out how a connection is cut short (reset, a
timer, an end that has no such connection); table and dot show everything.`,
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
