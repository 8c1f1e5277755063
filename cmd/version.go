package cmd

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
)

// version is set by the release build: -ldflags "-X …/cmd.version=v1.2.3".
var version = "dev"

// rulesVersion names the set of recovery rules this walctl follows; docs/rules.md.
const rulesVersion = "2.6.14, 3.0.1"

type versionOptions struct{ output cli.Output }

type versionReport struct {
	Schema   string `json:"schema"`
	Command  string `json:"command"`
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Protos   string `json:"protos"`
	Rules    string `json:"rules"`
}

func newVersionCmd(f *cli.Factory) *cobra.Command {
	opts := &versionOptions{}
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, and the Milvus protos and rules it follows",
		Example: `walctl version
walctl version -o json`,
		Args: cli.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runVersion(f, opts) },
	}
	cli.AddOutput(cmd, &opts.output, cli.Table, cli.JSON)
	return cli.Finish(f, cmd)
}

func runVersion(f *cli.Factory, o *versionOptions) error {
	r := versionReport{
		Schema: render.Schema, Command: "version", Version: f.Version, Go: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH, Rules: "Milvus " + rulesVersion,
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				r.Revision = s.Value
			}
		}
		for _, d := range info.Deps {
			if d.Path == "github.com/milvus-io/milvus/pkg/v3" {
				r.Protos = "milvus/pkg/v3 " + d.Version
			}
		}
	}
	if o.output == cli.JSON {
		return render.JSON(f.Out(), r)
	}
	_, err := fmt.Fprintf(f.Out(), "walctl %s\nprotos %s\nrules  %s\n%s %s\n", r.Version, r.Protos, r.Rules, r.Go, r.Platform)
	return err
}
