package cmd

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/cmd/run"
	"github.com/tcpwatch/tcpwatch/report/catalogue"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/kinds"
)

// newAnomalies prints the catalogue.
func newAnomalies() *cobra.Command {
	var output, color string
	c := &cobra.Command{
		Use:   "anomalies [KIND]",
		Short: "List the anomalies that tcpwatch flags, or explain one",
		Long: `anomalies lists what tcpwatch flags: the kind, which --anomaly takes; the
severity; and the RFC that the anomaly violates or that describes it. With KIND
it prints one entry in full: every sentence that reports print (names in braces
are placeholders), the thresholds, and what raises or lowers the severity.`,
		Example: `  tcpwatch anomalies
  tcpwatch anomalies rst-instead-of-ack
  tcpwatch anomalies -o json | jq -r '.[] | select(.severity == "error") | .kind'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeKind,
		RunE: func(c *cobra.Command, args []string) error {
			colors, err := colour(color, c.OutOrStdout())
			if err != nil {
				return err
			}
			return printKinds(c.OutOrStdout(), output, args, catalogue.Options{Width: width(c.OutOrStdout()), Color: colors})
		},
	}
	c.Flags().SortFlags = false
	c.Flags().StringVarP(&output, "output", "o", "table", "output `format`: "+strings.Join(catalogue.KindFormats(), ", "))
	c.Flags().StringVar(&color, "color", "auto", "auto, always, never")
	complete(c, "output", catalogue.KindFormats())
	complete(c, "color", []string{"auto", "always", "never"})
	return c
}

func printKinds(w io.Writer, output string, args []string, o catalogue.Options) error {
	if len(args) == 0 {
		return catalogue.WriteKinds(w, output, kinds.All(), o)
	}
	k, err := parseKind(args[0])
	if err != nil {
		return err
	}
	return catalogue.WriteKind(w, output, k, o)
}

// parseKind returns the kind of that name, or an error that suggests others.
func parseKind(name string) (*anomaly.Kind, error) {
	k, err := kinds.Parse(name)
	if err != nil {
		near := catalogue.Nearest(name)
		return nil, run.WithHint(err, fmt.Sprintf("did you mean %s? tcpwatch anomalies lists all", strings.Join(near, ", ")))
	}
	return k, nil
}

// completeKind completes the name of a kind, with its title.
func completeKind(_ *cobra.Command, args []string, _ string) (list []cobra.Completion, _ cobra.ShellCompDirective) {
	if len(args) == 0 {
		for _, k := range kinds.All() {
			list = append(list, cobra.CompletionWithDesc(k.Name, k.Title))
		}
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}
