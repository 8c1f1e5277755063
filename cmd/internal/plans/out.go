package plans

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/outfile"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/plan"
)

// OutFlags say what a file that is written may replace.
type OutFlags struct {
	force  bool
	from   []string  // paths the answer is made from
	stdout io.Writer // where "-" leads, once stdout is taken
}

// Add defines the flags.
func (o *OutFlags) Add(flags *pflag.FlagSet) {
	flags.BoolVar(&o.force, "force", false, "replace a regular file that is not walctl's own of that kind")
}

// TakeStdout gives standard output to a file that is written to "-", and the screen
// to stderr. Only one file can have it, and no other data goes there.
func (o *OutFlags) TakeStdout(f *cli.Factory, output cli.Output, paths ...string) error {
	taken := 0
	for _, p := range paths {
		if p != "" && outfile.SinkOf(p) == outfile.ToStdout {
			taken++
		}
	}
	switch {
	case taken == 0:
		return nil
	case taken > 1:
		return cli.Usagef("standard output takes one file only; name another place for the other")
	case output != "" && !output.IsTable():
		return cli.Usagef("-o %s has standard output already; name a file", output)
	}
	o.stdout = f.TakeStdout()
	return nil
}

// MadeFrom names the paths behind WALs and catalogs.
func (o *OutFlags) MadeFrom(specs ...string) {
	for _, s := range specs {
		for _, kind := range []string{"archive:", "jsonl:", "file:", "kvjson:", "snapshot:"} {
			s = strings.TrimPrefix(s, kind)
		}
		if s != "" && s != "-" {
			o.from = append(o.from, s)
		}
	}
}

func (o *OutFlags) planRule() *outfile.Rule {
	return &outfile.Rule{What: "plan", Own: plan.Looks, Force: o.force, ForceFlag: "--force", From: o.from, Stdout: o.stdout}
}

// CatalogRule is the rule for a new catalog. A copy of a catalog has nothing that tells it from a catalog that is in use, so
// none is replaced without being given up.
func (o *OutFlags) CatalogRule() *outfile.Rule {
	return &outfile.Rule{What: "catalog", Force: o.force, ForceFlag: "--force", From: o.from, Stdout: o.stdout}
}

// CheckPlan looks at the plan's path before the log is read.
func (o *OutFlags) CheckPlan(path string) error {
	if path == "" {
		return nil
	}
	return o.planRule().Check(path)
}

// WritePlan saves a plan.
func (o *OutFlags) WritePlan(path string, p *plan.Plan) error {
	b, err := plan.Encode(p)
	if err != nil {
		return err
	}
	return o.planRule().Write(path, b)
}

// CatalogPath is the path of a new catalog, and checks that it may be written.
func (o *OutFlags) CatalogPath(flag, spec string) (catalog.Spec, error) {
	s, err := catalog.ParseSpec(spec)
	if err != nil || s.Kind != "file" && s.Kind != "kvjson" {
		return s, cli.Usagef("%s %s: write to a new file:PATH or kvjson:PATH; a live catalog is changed by a plan only", flag, spec)
	}
	if s.Kind == "file" && outfile.SinkOf(s.Path) == outfile.ToStdout {
		return s, cli.Usagef("%s %s: a bbolt file cannot be written to a stream; say kvjson:-", flag, spec)
	}
	return s, nil
}

// WriteCatalog writes a new catalog under the rules of a path given.
func (o *OutFlags) WriteCatalog(ctx context.Context, s catalog.Spec, kv map[string][]byte, opts catalog.Options) error {
	rule := o.CatalogRule()
	if s.Kind == "kvjson" {
		var b bytes.Buffer
		if err := catalog.WriteKVJSON(&b, kv); err != nil {
			return err
		}
		return rule.Write(s.Path, b.Bytes())
	}
	if err := rule.Check(s.Path); err != nil || outfile.SinkOf(s.Path) == outfile.ToNull {
		return err
	}
	tmp, err := rule.Temp(s.Path)
	if err != nil {
		return err
	}
	// Only its name is wanted: a catalog is made in a file that is not there yet.
	_ = tmp.Close()
	_ = os.Remove(tmp.Name())
	if err := catalog.Create(ctx, "file:"+tmp.Name(), kv, opts); err != nil {
		_ = os.Remove(tmp.Name()) // only tidying up
		return err
	}
	return rule.Place(tmp.Name(), s.Path)
}
