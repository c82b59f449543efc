package cmd

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/report/catalogue"
	"github.com/tcpwatch/tcpwatch/report/text"
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
			return printStates(c.OutOrStdout(), output, colors)
		},
	}
	c.Flags().SortFlags = false
	c.Flags().StringVarP(&output, "output", "o", "table", "output `format`: "+strings.Join(catalogue.StatesFormats(), ", "))
	c.Flags().StringVar(&color, "color", "auto", "auto, always, never")
	complete(c, "output", catalogue.StatesFormats())
	complete(c, "color", []string{"auto", "always", "never"})
	return c
}

func printStates(w io.Writer, output string, colors bool) error {
	switch output {
	case "table":
		return catalogue.WriteStates(w, colors)
	case "dot":
		_, err := w.Write(catalogue.StatesDot())
		return err
	case "mermaid":
		_, err := w.Write(catalogue.StatesMermaid())
		return err
	case "svg":
		_, err := w.Write(catalogue.StatesSVG())
		return err
	}
	return fmt.Errorf("unknown output format %q (%s)", text.Escape(output), strings.Join(catalogue.StatesFormats(), ", "))
}
