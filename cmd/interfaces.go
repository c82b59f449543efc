package cmd

import (
	"fmt"
	"net"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/report/text"
)

func newInterfaces() *cobra.Command {
	return &cobra.Command{
		Use:   "interfaces",
		Short: "List what live -i can take",
		Long: `interfaces lists the network interfaces that live -i can capture on, whether they
are up, and their addresses. Beside them there are any, which is all of them, and
-, a capture on standard input.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := net.Interfaces()
			if err != nil {
				return fmt.Errorf("listing interfaces: %w", err)
			}
			out := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(out, "Interface\tState\tMTU\tAddresses")
			for _, i := range all {
				state := "down"
				if i.Flags&net.FlagUp != 0 {
					state = "up"
				}
				fmt.Fprintf(out, "%s\t%s\t%d\t%s\n", text.Escape(i.Name), state, i.MTU, addresses(&i))
			}
			return out.Flush()
		},
	}
}

// addresses lists the addresses of an interface.
func addresses(i *net.Interface) string {
	list, err := i.Addrs()
	if err != nil || len(list) == 0 {
		return "-"
	}
	var words []string
	for _, a := range list {
		words = append(words, a.String())
	}
	return strings.Join(words, " ")
}
