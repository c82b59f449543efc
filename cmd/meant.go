package cmd

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/tcpwatch/tcpwatch/cmd/run"
	"github.com/tcpwatch/tcpwatch/report/text"
)

// What is misspelt is wrong usage, and the hint says what was probably meant: a
// flag, one of the words that a flag takes, a command.

// wordsKey annotates a flag that takes one of a few words with these.
const wordsKey = "tcpwatch_words"

// flagError says in our words what is wrong with a flag: there is none of that
// name, or it cannot have that value.
func flagError(c *cobra.Command, err error) error {
	hint := c.CommandPath() + " --help lists the flags"
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		typed := unknown.GetSpecifiedName()
		if group := unknown.GetSpecifiedShortnames(); len(group) > 1 {
			typed, _, _ = strings.Cut(group, "=") // -state is a long flag with a dash too few
		}
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		return run.WithHint(err, didYouMean(typed, names, "--", hint))
	}
	return run.WithHint(valueError(err), hint)
}

// valueError says in our words that a flag cannot have a value.
func valueError(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	why := map[string]string{
		"bool":     "must be true or false",
		"int":      "not a number",
		"duration": "not a valid duration; use 30s or 1m30s",
		"intSlice": "not a number or a list of numbers such as 1,3",
	}[invalid.GetFlag().Value.Type()]
	if why == "" {
		return err
	}
	return fmt.Errorf("--%s %q: %s", invalid.GetFlag().Name, invalid.GetValue(), why)
}

// didYouMean puts the question before a hint, if a word is near.
func didYouMean(typed string, words []string, dashes, hint string) string {
	meant := text.Meant(typed, words)
	if len(meant) == 0 {
		return hint
	}
	question := "did you mean " + dashes + strings.Join(meant[:min(3, len(meant))], " or "+dashes) + "?"
	if hint == "" {
		return question
	}
	return question + " " + hint
}

// misspelt adds to an error without a hint which word was probably meant: of a
// command, or of a flag of c that takes one of a few words, if the error quotes
// what was typed.
func misspelt(c *cobra.Command, err error) error {
	var hint string
	if run.HasHint(err) {
		return err
	}
	if name, path, ok := unknownCommand(err); ok {
		c = commandAt(c.Root(), path)
		if !c.HasAvailableSubCommands() {
			return err
		}
		hint = didYouMean(name, commandNames(c), "", c.CommandPath()+" --help lists the commands")
		return run.WithHint(fmt.Errorf("unknown command %q", name), hint)
	}
	c.Flags().Visit(func(f *pflag.Flag) {
		for _, typed := range strings.Split(strings.Trim(f.Value.String(), "[]"), ",") {
			typed = strings.TrimPrefix(typed, "-") // --sort -field
			if hint == "" && strings.Contains(err.Error(), strconv.Quote(typed)) {
				hint = didYouMean(typed, f.Annotations[wordsKey], "", "")
			}
		}
	})
	if hint == "" {
		return err
	}
	return run.WithHint(err, hint)
}

// unknownCommand reads cobra's error for a command that does not exist, which has
// no type: the name, and the path of the command that has none of it.
func unknownCommand(err error) (name, path string, ok bool) {
	rest, ok := strings.CutPrefix(err.Error(), "unknown command ")
	if !ok {
		return "", "", false
	}
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return "", "", false
	}
	name, err1 := strconv.Unquote(quoted)
	path, err2 := strconv.Unquote(strings.TrimPrefix(rest[len(quoted):], " for "))
	return name, path, err1 == nil && err2 == nil
}

// commandAt returns the command of that path.
func commandAt(root *cobra.Command, path string) *cobra.Command {
	c, _, err := root.Find(strings.Fields(path)[1:])
	if err != nil {
		return root
	}
	return c
}

// commandNames returns the names of the commands of c.
func commandNames(c *cobra.Command) (names []string) {
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return names
}
