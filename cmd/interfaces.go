package cmd

import (
	"fmt"
	"net"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/report/table"
)

func newInterfaces() *cobra.Command {
	return &cobra.Command{
		Use:   "interfaces",
		Short: "List the interfaces that live -i can capture on",
		Long: `interfaces lists the network interfaces that live -i can capture on, whether
they are up, and their addresses. live -i also takes any (all interfaces) and -
(a capture on standard input).`,
		Example: `  tcpwatch interfaces
  tcpwatch live -i any`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := net.Interfaces()
			if err != nil {
				return fmt.Errorf("listing interfaces: %w", err)
			}
			return table.WriteInterfaces(c.OutOrStdout(), all)
		},
	}
}
