package cmd

import (
	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
)

// commands is every command walctl has, one a line.
func commands(f *cli.Factory) []*cobra.Command {
	return []*cobra.Command{
		newInspectCmd(f, nil),
		newContextCmd(f),
		newVersionCmd(f, nil),
		newManCmd(f),
		newDocsCmd(f),
	}
}
