package cmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/tcpwatch/tcpwatch/cmd/run"
)

// helpTemplate is how the help of every command looks: what it does, examples,
// more about it, and then its flags. A topic is its text alone.
const helpTemplate = `{{if .IsAdditionalHelpTopicCommand}}{{.Long}}
{{- else}}{{.Short}}{{if .HasExample}}:

{{.Example}}{{end}}{{if .Long}}

{{.Long | trimTrailingWhitespaces}}{{end}}

Usage:
  {{if .HasAvailableSubCommands}}{{.CommandPath}} [command]{{else}}{{.UseLine}}{{end}}
{{- if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}
{{- if not .HasParent}}{{range .Commands}}{{if .HasHelpSubCommands}}{{template "topics" .}}{{end}}{{end}}{{end}}
{{- if .HasHelpSubCommands}}{{template "topics" .}}{{end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
{{- if .HasAvailableSubCommands}}

Run "{{.CommandPath}} [command] --help" for more about a command.{{end}}
{{end}}
{{- define "topics"}}

Help topics:{{range .Commands}}
  {{rpad .CommandPath 26}} {{.Short}}{{end}}{{end}}`

// newHelp prints the help of a command, or a topic. The topics are commands
// below it, since one has the name of a command.
func newHelp() *cobra.Command {
	c := &cobra.Command{
		Use:   "help [COMMAND | TOPIC]",
		Short: "Print the help of a command or topic",
		Example: `  tcpwatch help replay
  tcpwatch help certainty`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeHelp,
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				known := append(commandNames(c.Root()), topicNames(c)...)
				return run.WithHint(fmt.Errorf("no help for %q", strings.Join(args, " ")),
					didYouMean(args[0], known, "", "tcpwatch help lists the commands and topics"))
			}
			about.InitDefaultHelpFlag()
			about.InitDefaultVersionFlag()
			return about.Help()
		},
	}
	for _, t := range topics {
		c.AddCommand(&cobra.Command{Use: t.name, Short: t.short, Long: t.text(), DisableFlagsInUseLine: true})
	}
	return c
}

// topicNames returns the names of the topics below the command that has them.
func topicNames(help *cobra.Command) (names []string) {
	for _, t := range help.Commands() {
		names = append(names, t.Name())
	}
	return names
}

// completeHelp completes a command or a topic.
func completeHelp(c *cobra.Command, args []string, _ string) (list []cobra.Completion, _ cobra.ShellCompDirective) {
	if len(args) == 0 {
		about := slices.Concat(c.Root().Commands(), c.Commands())
		for _, sub := range about {
			if sub.IsAvailableCommand() || sub.IsAdditionalHelpTopicCommand() {
				list = append(list, cobra.CompletionWithDesc(sub.Name(), sub.Short))
			}
		}
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}

// shells say how to have the completions of a shell always.
var shells = []struct{ name, line, needs string }{
	{"bash", `echo 'source <(tcpwatch completion bash)' >> ~/.bashrc`, "It needs the package bash-completion."},
	{"zsh", `echo 'source <(tcpwatch completion zsh)' >> ~/.zshrc`, "It needs compinit; call it in ~/.zshrc above that line."},
	{"fish", `echo 'tcpwatch completion fish | source' >> ~/.config/fish/config.fish`, ""},
	{"powershell", `Add-Content $PROFILE 'tcpwatch completion powershell | Out-String | Invoke-Expression'`, ""},
}

// addCompletion adds cobra's command that prints completions, with help of ours.
// It writes to what root writes to by then.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	c, _, err := root.Find([]string{"completion"})
	if err != nil {
		return
	}
	c.Short = "Print the completion script for a shell"
	c.Long = "One line installs it permanently, for new shells."
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	var lines []string
	for _, sh := range shells {
		lines = append(lines, fmt.Sprintf("  %-12s%s", sh.name, sh.line))
		if sub, _, err := c.Find([]string{sh.name}); err == nil {
			sub.Short = "Print the completion script for " + sh.name
			sub.Example, sub.Long = "  "+sh.line, strings.TrimSpace("This line installs it permanently, for new shells. "+sh.needs)
		}
	}
	c.Example = strings.Join(lines, "\n")
}
