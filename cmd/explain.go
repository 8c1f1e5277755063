package cmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
)

type explainOptions struct {
	code   string // "" = list them all
	output cli.Output
}

func newExplainCmd(f *cli.Factory) *cobra.Command {
	opts := &explainOptions{}
	cmd := &cobra.Command{
		Use:   "explain [CODE]",
		Short: "Say what a finding means, its cause and what to do",
		Example: `walctl explain stale-writer
walctl explain
walctl explain ledger-hole -o json`,
		Args: cli.Args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			codes := []string{}
			for _, e := range diagnose.Checks() {
				codes = append(codes, e.Code)
			}
			return codes, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				opts.code = args[0]
			}
			return runExplain(f, opts)
		},
	}
	cli.AddOutput(cmd, &opts.output, cli.Table, cli.JSON)
	return cli.Finish(f, cmd)
}

func runExplain(f *cli.Factory, o *explainOptions) error {
	if o.code == "" {
		return explainAll(f, o)
	}
	e := diagnose.Lookup(strings.ToLower(o.code))
	if e == nil {
		return cli.Usagef("%q is no finding code; `walctl explain` lists them", o.code)
	}
	if o.output == cli.JSON {
		return render.JSON(f.Out(), explainReport{f.Header("explain", render.WAL{}, nil), *e})
	}
	text := fmt.Sprintf("%s: %s\n\nMeaning  %s\nCause    %s\nDo       %s\n", e.Code, e.Title, e.Meaning, e.Cause, e.Do)
	for i, t := range e.Threads {
		if i == 0 {
			text += "Threads "
		}
		text += " " + diagnose.ThreadURL(t)
		if i == len(e.Threads)-1 {
			text += "\n"
		}
	}
	_, err := fmt.Fprint(f.Out(), text)
	return err
}

// explainReport and codesReport are the JSON answers: of one code, of all.
type (
	explainReport struct {
		render.Header
		diagnose.Check
	}
	codesReport struct {
		render.Header
		Codes []diagnose.Check `json:"codes"`
	}
)

func explainAll(f *cli.Factory, o *explainOptions) error {
	all := diagnose.Checks()
	if o.output == cli.JSON {
		codes := make([]diagnose.Check, len(all))
		for i := range all {
			codes[i] = *all[i]
		}
		return render.JSON(f.Out(), codesReport{f.Header("explain", render.WAL{}, nil), codes})
	}
	t := render.Table{Columns: []render.Column{{Name: "code"}, {Name: "what"}}}
	for _, e := range all {
		t.Add(render.Text(e.Code), render.Text(e.Title))
	}
	return t.Write(f.Out(), f.Style(o.output))
}
