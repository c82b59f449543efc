package cmd

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/cmd/run"
)

// newAnswer is the process that live --processes asks for sockets.
func newAnswer() *cobra.Command {
	var user string
	c := &cobra.Command{
		Use:    run.WhoCommand,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return run.Answer(os.Stdin, c.OutOrStdout(), user)
		},
	}
	c.Flags().StringVar(&user, "user", run.DefaultUser, "switch to this user, if started as root")
	return c
}
