package cmd

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/cmd/run"
)

func newSensors() *cobra.Command {
	var f hubFlags
	var url string
	c := &cobra.Command{
		Use:   "sensors --hub URL",
		Short: "List the sensors of a hub",
		Long: `sensors lists who sends, or has sent, to a hub: a line for each time a sensor was
started, as long as the hub has something of that.

State is sends, silent (it captures, but the hub has heard nothing for 5 seconds),
ended, or unfinished (the rest of its file has not come yet). Lost is how many
packets the sensor or its kernel dropped because a buffer was full. Clock is how
its clock differs from that of the hub by more than half a second.`,
		Example: `  tcpwatch sensors --hub nats://127.0.0.1:4222`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if url == "" {
				return run.WithHint(errors.New("sensors needs a hub"), "tcpwatch sensors --hub nats://127.0.0.1:4222")
			}
			return run.Sensors(c.Context(), f.options(url), c.OutOrStdout())
		},
	}
	c.Flags().SortFlags = false
	c.Flags().StringVar(&url, hubKey, "", "the `URL` of the hub")
	f.add(c)
	return c
}
