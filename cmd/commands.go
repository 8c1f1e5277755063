package cmd

import (
	"github.com/spf13/cobra"

	"github.com/walctl/walctl/cmd/capture"
	"github.com/walctl/walctl/cmd/channels"
	contextcmd "github.com/walctl/walctl/cmd/context"
	"github.com/walctl/walctl/cmd/doctor"
	"github.com/walctl/walctl/cmd/inspect"
	recovercmd "github.com/walctl/walctl/cmd/recover"
	"github.com/walctl/walctl/cmd/scanners"
	"github.com/walctl/walctl/internal/cli"
)

// commands is every command walctl has, one a line. A new one is a file here
// with newXCmd(f), or a package below with New(f) once it needs more than one file. It
// is ended by cli.Finish with the exit codes it can return:
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
		inspect.New(f),
		newStateCmd(f),
		newDiffCmd(f),
		newDemoCmd(f),
		recovercmd.New(f),
		newApplyCmd(f),
		newUndoCmd(f),
		newCatalogCmd(f),
		newVerifyCmd(f),
		doctor.New(f),
		newTimetickCmd(f),
		newPositionsCmd(f),
		scanners.New(f),
		channels.New(f),
		newSalvageCmd(f),
		capture.New(f),
		newExplainCmd(f),
		contextcmd.New(f),
		newVersionCmd(f),
		newManCmd(f),
		newDocsCmd(f),
	}
}
