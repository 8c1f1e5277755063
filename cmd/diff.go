package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/cmd/internal/plans"
	"github.com/walctl/walctl/cmd/internal/replay"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
)

type diffOptions struct {
	sides    []string
	replay   replay.Flags
	since    string
	output   cli.Output
	exitCode bool
}

func newDiffCmd(f *cli.Factory) *cobra.Command {
	opts := &diffOptions{}
	cmd := &cobra.Command{
		Use:   "diff A [B]",
		Short: "Compare two states, catalogs or logs key by key",
		Long: `Compare two states, catalogs or logs key by key, field by field.

A and B are catalogs (etcd://, file:, kvjson:, snapshot:) or logs; a log stands for
the catalog a graceful persist leaves once it is replayed. With a log alone: its
catalog against what a replay makes of it, or with --since the moments --since and
--until. Nothing is written anywhere.`,
		Example: `walctl diff dml_3
walctl diff dml_3 --since @2026-11-21T02:00:00Z --until @2026-11-21T03:00:00Z
walctl diff kvjson:before.json kvjson:after.json
walctl diff snapshot:etcd.db etcd://localhost:2379/by-dev/meta --pchannel by-dev-rootcoord-dml_3
walctl diff ./evidence dml_3 -o json`,
		Args: cli.Args(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.sides = args
			switch {
			case opts.since != "" && len(args) == 2:
				return cli.Usagef("--since compares two moments of one log: name one")
			case len(args) == 1 && isCatalog(args[0]):
				return cli.Usagef("name what to compare the catalog with")
			}
			return runDiff(cmd.Context(), f, opts)
		},
	}
	p := cmd.Flags()
	p.StringVar(&opts.since, "since", "", "of one log: compare the state at this `PLACE` with the one at --until")
	p.BoolVar(&opts.exitCode, "exit-code", false, "exit 3 where there is a difference")
	cli.AddOutput(cmd, &opts.output, cli.Table, cli.Wide, cli.JSON, cli.NDJSON)
	opts.replay.Add(cmd)
	p.Lookup("pchannel").Usage = "of catalogs: only the keys of this pchannel's WAL; of a log that cannot tell it: its whole `NAME`"
	return cli.Finish(f, cmd, cli.CodeFindings, cli.CodeCorrupt, cli.CodeRefused)
}

func isCatalog(s string) bool {
	_, err := catalog.ParseSpec(s)
	return err == nil
}

// comparedPrefixes are what is compared of whole catalogs: what recovery and the
// coordinators keep of WALs.
var comparedPrefixes = [...]string{"streamingnode-meta/wal/", "streamingcoord-meta/", "datacoord-meta/channel-cp/"}

// side is one of the two things compared.
type side struct {
	keys     map[string][]byte
	pchannel string // "" = of every WAL
	bad      error  // what of its log could not be read
	gone     []diagnose.Finding
}

func runDiff(ctx context.Context, f *cli.Factory, o *diffOptions) error {
	before, after, err := o.compared(ctx, f)
	if err != nil {
		return err
	}
	for _, p := range []string{o.replay.Source.PChannel, before.pchannel, after.pchannel} {
		before.only(p)
		after.only(p)
	}
	d := recovery.Diff(before.keys, after.keys)
	gone := append(before.gone, after.gone...)
	if err := o.write(f, d, gone); err != nil {
		return err
	}
	var differ error
	switch {
	case len(gone) > 0:
		differ = cli.Reported(&cli.FindingsError{Count: len(gone), Worst: diagnose.SeverityCritical})
	case o.exitCode && len(d) > 0:
		differ = cli.Reported(&cli.FindingsError{Count: len(d), Worst: diagnose.SeverityInfo})
	}
	return errors.Join(before.bad, after.bad, differ)
}

// only keeps the keys of one pchannel's WAL.
func (s *side) only(pchannel string) {
	if pchannel == "" {
		return
	}
	for k := range s.keys {
		if !strings.HasPrefix(k, catalog.WALPrefix(pchannel)) {
			delete(s.keys, k)
		}
	}
}

func (o *diffOptions) compared(ctx context.Context, f *cli.Factory) (before, after side, err error) {
	if len(o.sides) == 2 {
		if before, err = o.load(ctx, f, o.sides[0]); err == nil {
			after, err = o.load(ctx, f, o.sides[1])
		}
		return before, after, err
	}
	r, err := o.replay.Replay(ctx, f, "diff", o.sides[0], recovery.ReplayOptions{})
	if err != nil {
		return before, after, err
	}
	if after, err = persisted(r); err != nil {
		return before, after, err
	}
	if o.since == "" {
		before = side{keys: map[string][]byte{}, pchannel: r.WAL.PChannel}
		for k, v := range r.Metadata.KV {
			before.keys[k] = v
		}
		return before, after, nil
	}
	earlier := o.replay
	earlier.Until = o.since
	if r, err = earlier.Replay(ctx, f, "diff", o.sides[0], recovery.ReplayOptions{}); err != nil {
		return before, after, err
	}
	before, err = persisted(r)
	before.gone = nil // told once
	return before, after, err
}

// persisted is what a replay leaves in the catalog.
func persisted(r *replay.Replayed) (side, error) {
	if !r.Until.Reached {
		return side{}, fmt.Errorf("the log has no message at that TimeTick: name one of `walctl timetick`, or a time")
	}
	keys, err := r.State.Persist()
	return side{keys: keys, pchannel: r.WAL.PChannel, bad: r.ReadError(), gone: r.Gone()}, err
}

func (o *diffOptions) load(ctx context.Context, f *cli.Factory, spec string) (side, error) {
	if !isCatalog(spec) {
		r, err := o.replay.Replay(ctx, f, "diff", spec, recovery.ReplayOptions{})
		if err != nil {
			return side{}, err
		}
		return persisted(r)
	}
	cat, err := f.OpenCatalog(ctx, cli.CatalogFlags{Spec: spec}, nil, false)
	if err != nil {
		return side{}, err
	}
	defer cat.Close()
	out := side{keys: map[string][]byte{}}
	for _, prefix := range comparedPrefixes {
		kvs, _, err := cat.Range(ctx, prefix)
		if err != nil {
			return side{}, err
		}
		for _, kv := range kvs {
			out.keys[kv.Key] = kv.Value
		}
	}
	return out, nil
}

type diffReport struct {
	render.Header
	Differences []plans.Difference `json:"differences"`
}

func (o *diffOptions) write(f *cli.Factory, d []recovery.Difference, gone []diagnose.Finding) error {
	out := plans.Differences(d)
	switch o.output {
	case cli.JSON:
		return render.JSON(f.Out(), diffReport{f.Header("diff", render.WAL{}, gone), out})
	case cli.NDJSON:
		return render.Lines(f.Out(), out)
	}
	if err := render.Findings(f.Out(), f.Style(o.output), gone); err != nil {
		return err
	}
	return writeDifferences(f, d, len(d), o.output == cli.Wide)
}

func writeDifferences(f *cli.Factory, d []recovery.Difference, limit int, wide bool) error {
	if err := cli.PrintLines(f, []string{plans.Summary(d)}); err != nil {
		return err
	}
	return plans.WriteKeys(f, d, limit, wide)
}
