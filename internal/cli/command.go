package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Finish gives a command what all have in common: the codes it can return in its
// help, errors told once, by Execute alone, and --timeout.
//
//	return cli.Finish(f, cmd, cli.CodeFindings, cli.CodeCorrupt)
//
// 0, 1, 2, 6 (--timeout) and 130 are every command's.
func Finish(f *Factory, cmd *cobra.Command, codes ...Code) *cobra.Command {
	all := []Code{}
	for _, c := range Codes() {
		own := c == CodeOK || c == CodeFailure || c == CodeUsage || c == CodePartial || c == CodeInterrupted
		for _, w := range codes {
			own = own || w == c
		}
		if own {
			all = append(all, c)
		}
	}
	if cmd.Long == "" {
		cmd.Long = cmd.Short + "."
	}
	cmd.Long = strings.TrimSpace(cmd.Long) + "\n\n" + exitHelp(all)
	cmd.Example = indent(cmd.Example)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			ctx, cancel := f.Context(cmd.Context())
			defer cancel()
			cmd.SetContext(ctx)
			f.Running(cmd)
			f.layOut(cmd)
			return withCause(ctx, run(cmd, args))
		}
	}
	return cmd
}

// layOut makes the answer fit who reads it: a person at a terminal, with a pager where
// one is wanted. A command that asks something back has none.
func (f *Factory) layOut(cmd *cobra.Command) {
	o, follow := cmd.Flag("output"), cmd.Flag("follow")
	if o != nil && cmd.Flag("yes") == nil && (follow == nil || !follow.Changed) {
		f.page()
	}
	if o == nil || Output(o.Value.String()) == Table {
		f.IO.breakLines()
	}
}

// withCause says why a context ended instead of that it did.
func withCause(ctx context.Context, err error) error {
	if err == nil || !(errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return err
	}
	if cause := context.Cause(ctx); ctx.Err() != nil && cause != nil {
		return cause
	}
	return err
}

func indent(example string) string {
	lines := strings.Split(strings.Trim(example, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight("  "+strings.TrimSpace(lines[i]), " ")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), " \n")
}

// Args wraps cobra's argument checks so that what they refuse exits 2.
func Args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			how, given := "too many arguments", ""
			if check(cmd, append(slices.Clone(args), "")) == nil || len(args) == 0 {
				how = "something is missing"
			} else {
				given = fmt.Sprintf(" (%s)", strings.Join(args, " "))
			}
			return Usagef("%s%s: %s; see `%s --help`", how, given, cmd.UseLine(), cmd.CommandPath())
		}
		return nil
	}
}
