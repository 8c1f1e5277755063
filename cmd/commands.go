package cmd

import (
	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
)

// commands is every command walctl has, one a line. A new one is a file of its own
// with newXCmd(f, runF), ended by cli.Finish with the exit codes it can return:
//
//	cli.AddOutput(cmd, &o.output)     -o
//	o.source.Add(cmd)                 cli.WALFlags, for f.OpenWAL
//	o.place.Add(cmd)                  cli.RangeFlags, for .Range(ctx, f.EnvOf(s))
//	o.filter.Add(cmd)                 cli.FilterFlags
//	o.failOn.Add(cmd)                 cli.FailOn, for .Check(findings)
//
// Answers go through internal/render to f.Out(), JSON with an embedded
// render.Header; notes to f.Notef; several errors are joined with errors.Join.
func commands(f *cli.Factory) []*cobra.Command {
	return []*cobra.Command{
		newInspectCmd(f, nil),
		newStateCmd(f, nil),
		newDiffCmd(f, nil),
		newDemoCmd(f, nil),
		newRecoverCmd(f, nil),
		newApplyCmd(f, nil),
		newUndoCmd(f, nil),
		newCatalogCmd(f),
		newVerifyCmd(f, nil),
		newDoctorCmd(f, nil),
		newTimetickCmd(f, nil),
		newScannersCmd(f, nil),
		newChannelsCmd(f, nil),
		newSalvageCmd(f, nil),
		newCaptureCmd(f, nil),
		newExplainCmd(f, nil),
		newContextCmd(f),
		newVersionCmd(f, nil),
		newManCmd(f),
		newDocsCmd(f),
	}
}
