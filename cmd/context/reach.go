package contextcmd

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
)

// errUnreached ends a test of a context some part of which did not answer: the
// table has said which, and why.
var errUnreached = errors.New("not everything answers")

type reachReport struct {
	Schema  string       `json:"schema"`
	Command string       `json:"command"`
	Parts   []cli.Answer `json:"parts"`
}

func newContextTestCmd(f *cli.Factory) *cobra.Command {
	var output cli.Output
	var write bool
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Say what of the cluster answers to the settings in force",
		Long: `Ask the broker, its admin port and etcd, all at once, whether they answer and
take the credentials: no topic is loaded and nothing is written. --write also asks
etcd whether the credentials that apply uses may write, by a transaction whose
condition cannot hold.`,
		Example: "walctl context test\nwalctl --context prod context test --write",
		Args:    cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			parts, err := f.TryCluster(cmd.Context(), write)
			if err != nil {
				return err
			}
			for _, p := range parts {
				if !p.OK {
					err = cli.Reported(errUnreached)
				}
			}
			if output == cli.JSON {
				return errors.Join(render.JSON(f.Out(), reachReport{render.Schema, "context test", parts}), err)
			}
			t := render.Table{Columns: []render.Column{{Name: "part"}, {Name: "where"}, {Name: "ok"}, {Name: "answer"}}}
			for _, p := range parts {
				mark := "NO"
				if p.OK {
					mark = "yes"
				}
				t.Add(render.Text(p.Part), render.Text(p.Where), render.Text(mark), render.Text(p.Answer))
			}
			return errors.Join(t.Write(f.Out(), f.Style(output)), err)
		},
	}
	cmd.Flags().BoolVar(&write, "write", false, "also ask whether the credentials may write")
	cli.AddOutput(cmd, &output, cli.Table, cli.JSON)
	return cli.Finish(f, cmd)
}
