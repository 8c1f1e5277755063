package cmd

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/walctl/walctl/internal/config"
)

// printUsage is what stands below a command's description. The connection flags,
// the same for every command, have a page of their own: `walctl help connection`.
func printUsage(cmd *cobra.Command) error {
	var b strings.Builder
	b.WriteString("Usage:\n")
	if cmd.Runnable() && cmd.HasParent() {
		fmt.Fprintf(&b, "  %s\n", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s COMMAND\n", cmd.CommandPath())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\nCommands:\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() || c.Name() == "help" {
				fmt.Fprintf(&b, "  %-12s %s\n", c.Name(), c.Short)
			}
		}
	}
	own, common := flagSets(cmd)
	flagSection(&b, "Flags", own)
	flagSection(&b, "Flags of every command", common)
	b.WriteString("\n`walctl help connection` lists the flags that say where a cluster is.\n")
	_, err := io.WriteString(cmd.OutOrStderr(), b.String())
	return err
}

// helpWidth is the width help is wrapped to, columns.
const helpWidth = 100

// flagSets splits a command's flags: its own, and those of every command but the
// connection's.
func flagSets(cmd *cobra.Command) (own, common *pflag.FlagSet) {
	own, common = pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if cmd.HasParent() || cmd.PersistentFlags().Lookup(f.Name) == nil {
			own.AddFlag(f)
		}
	})
	cmd.Root().PersistentFlags().VisitAll(func(f *pflag.Flag) {
		if !config.IsConnectionFlag(f.Name) {
			common.AddFlag(f)
		}
	})
	return own, common
}

func flagSection(b *strings.Builder, title string, flags *pflag.FlagSet) {
	if text := strings.TrimRight(flags.FlagUsagesWrapped(helpWidth), " \n"); text != "" {
		fmt.Fprintf(b, "\n%s:\n%s\n", title, text)
	}
}

// newConnectionTopic is the help page of the connection flags. It runs nothing.
func newConnectionTopic() *cobra.Command {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.AddFlags(flags)
	return &cobra.Command{
		Use:   "connection",
		Short: "Where a cluster is: the flags and variables every command takes",
		Long: `Where a cluster is. Each setting is a flag of every command, a variable
(--pulsar-admin is WALCTL_PULSAR_ADMIN), and a field of a context. Flags go before
variables, variables before the context, contexts before the default.

Secrets lie in files or in WALCTL_PULSAR_TOKEN, WALCTL_ETCD_PASSWORD and
WALCTL_ETCD_WRITE_PASSWORD. They are never taken in the command line and never
printed.

` + strings.TrimRight(flags.FlagUsagesWrapped(helpWidth), " \n"),
	}
}
