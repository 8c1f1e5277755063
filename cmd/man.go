package cmd

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/walctl/walctl/internal/cli"
)

func newManCmd(f *cli.Factory) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "man",
		Short:   "Write the manual pages into a directory",
		Hidden:  true,
		Args:    cli.Args(cobra.NoArgs),
		Example: "walctl man --dir ./man",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return generate(cmd, dir, func(root *cobra.Command) error {
				return doc.GenManTree(root, &doc.GenManHeader{Title: "WALCTL", Section: "1", Source: "walctl " + f.Version}, dir)
			})
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "man", "where the pages go")
	return cli.Finish(f, cmd)
}

// generate leaves out the date, so that the same commands give the same pages.
func generate(cmd *cobra.Command, dir string, gen func(*cobra.Command) error) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write pages: %w", err)
	}
	root := cmd.Root()
	root.DisableAutoGenTag = true
	if err := gen(root); err != nil {
		return fmt.Errorf("write pages into %s: %w", dir, err)
	}
	return nil
}
