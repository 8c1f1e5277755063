package contextcmd

import (
	"context"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
)

func runDiscover(ctx context.Context, f *cli.Factory, output cli.Output) error {
	c, err := f.Config()
	if err != nil {
		return err
	}
	if len(c.Etcd) == 0 {
		return &cli.UsageError{Err: errNoEtcd}
	}
	roots, err := cli.DiscoverRoots(ctx, c)
	if err != nil {
		return err
	}
	if output == cli.JSON {
		return render.JSON(f.Out(), struct {
			Schema  string     `json:"schema"`
			Command string     `json:"command"`
			Roots   []cli.Root `json:"roots"`
		}{render.Schema, "context discover", roots})
	}
	if len(roots) == 0 {
		f.Notef("no Milvus metadata below any root of this etcd")
		return nil
	}
	t := render.Table{Columns: []render.Column{{Name: "root"}, {Name: "pchannels", Right: true}, {Name: "sessions", Right: true}, {Name: "keys", Right: true}}}
	for _, r := range roots {
		t.Add(render.Text(r.Root), render.Count(int64(r.PChannels)), render.Count(int64(r.Sessions)), render.Count(int64(r.Keys)))
	}
	return t.Write(f.Out(), f.Style(output))
}
