package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

type positionsOptions struct {
	wals    []string // none = every pchannel of the context
	source  cli.WALFlags
	catalog cli.CatalogFlags
	output  cli.Output
	failOn  cli.FailOn
	jobs    cli.JobsFlag
}

// positionsReport is the JSON answer.
type positionsReport struct {
	render.Header
	First      string                      `json:"first,omitempty"` // of the log
	Last       string                      `json:"last,omitempty"`
	Positions  []diagnose.ResolvedPosition `json:"positions"`
	NotChecked []string                    `json:"not_checked"`
}

func newPositionsCmd(f *cli.Factory) *cobra.Command {
	opts := &positionsOptions{}
	cmd := &cobra.Command{
		Use:   "positions [WAL…]",
		Short: "Show every position the catalog stores about a log, and whether the log still has it",
		Long: `Show every position the catalog stores about a log, and whether the log still has it:
the consume checkpoint, each vchannel's channel checkpoint, where collections and
segments begin, how far segments were flushed, and what replication left. Of a live log
also from when on the broker may delete the ledger it lies in.

A position that a node starts to read from and that is gone is a finding. The others
tell where something began; that they are gone is how a log ages. The log is not read:
that a record stands at each of them, verify tells.

Several WALs, a place that holds several logs, or no WAL (every pchannel of the
context): --jobs logs at once, one line a log, worst first.`,
		Example: `walctl positions dml_3
walctl positions ./evidence -o wide
walctl positions wal.jsonl.zst --catalog kvjson:catalog.json -o json`,
		Args: cli.Args(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.wals = args
			return runPositions(cmd.Context(), f, opts)
		},
	}
	cli.AddOutput(cmd, &opts.output)
	opts.failOn.Add(cmd)
	opts.jobs.Add(cmd)
	opts.catalog.Add(cmd)
	opts.source.Add(cmd)
	opts.source.Again = true
	return cli.Finish(f, cmd, cli.CodeFindings, cli.CodeCorrupt, cli.CodeRefused, cli.CodePartial)
}

func runPositions(ctx context.Context, f *cli.Factory, o *positionsOptions) error {
	return f.OneOrMany(ctx, o.wals, o.source, func(ref cli.LogRef) error {
		report, err := positionsOf(ctx, f, o, ref)
		if report != nil {
			err = errors.Join(writePositions(f, o, report), err)
		}
		return err
	}, func(refs []cli.LogRef) error {
		m := cli.Many[positionsReport]{
			Command: "positions", Output: o.output,
			Columns:   []render.Column{{Name: "positions", Right: true}, {Name: "needed", Right: true}, {Name: "gone", Right: true}},
			Header:    func(r *positionsReport) *render.Header { return &r.Header },
			Unchecked: func(r *positionsReport) []string { return r.NotChecked },
			Cells: func(r *positionsReport) []render.Cell {
				needed, gone := r.counts()
				return []render.Cell{render.Count(int64(len(r.Positions))), render.Count(int64(needed)), render.Count(int64(gone))}
			},
		}
		return m.Ask(ctx, f, refs, o.jobs.Of(len(refs)), o.source, func(ctx context.Context, ref cli.LogRef, w cli.WALFlags, _ source.Progress) (*positionsReport, error) {
			each := *o
			each.source = w
			return positionsOf(ctx, f, &each, ref)
		})
	})
}

// counts are the positions that a node starts from, and those of them that are gone.
func (r *positionsReport) counts() (needed, gone int) {
	for i := range r.Positions {
		if r.Positions[i].Needed {
			needed++
			if r.Positions[i].Gone {
				gone++
			}
		}
	}
	return needed, gone
}

// positionsOf resolves the positions of one log. The error beside a report is what the
// report leads to.
func positionsOf(ctx context.Context, f *cli.Factory, o *positionsOptions, ref cli.LogRef) (*positionsReport, error) {
	s, err := f.OpenWAL(ctx, ref.WAL, ref.Flags(o.source))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	cat, err := f.OpenCatalog(ctx, o.catalog, s, false)
	if errors.Is(err, cli.ErrNoCatalog) {
		return nil, cli.Usagef("positions stand in a catalog: %w", err)
	}
	if err != nil {
		return nil, err
	}
	defer cat.Close()
	pchannel, err := cli.PChannelIn(ctx, s, cat)
	if err != nil {
		return nil, err
	}
	q := diagnose.PositionQuestion{PChannel: pchannel, WAL: ref.WAL, Now: f.Now()}
	if q.Stored, _, err = catalog.Positions(ctx, cat, pchannel); err != nil {
		return nil, err
	}
	have, err := f.EnvOf(s).Backend(ctx)
	if err != nil {
		return nil, err
	}
	stored, err := storedOf(ctx, cat, pchannel, have)
	if err != nil {
		return nil, err
	}
	q.Live = stored.live
	out := &positionsReport{NotChecked: []string{}}
	if b, err := s.Bounds(ctx); err == nil {
		q.Log, out.First, out.Last = &b, b.First.Text(), b.Last.Text()
	} else if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	} else {
		out.NotChecked = append(out.NotChecked, "where the positions stand: the log's ends are not known ("+err.Error()+")")
	}
	if live, ok := source.As[source.ProtectedSource](s); ok && live.Protection().Told {
		q.LostAt = live.LostAt
	}
	var found []diagnose.Finding
	out.Positions, found = diagnose.ResolvePositions(&q)
	if q.Log != nil {
		found = append(found, f.Soon(ctx, s, ref.WAL, o.catalog, q.Log.Last)...)
	}
	wal := cli.DescribeWAL(s)
	wal.PChannel = pchannel
	out.Header = f.HeaderOf(ref, "positions", wal, found)
	return out, errors.Join(o.failOn.Check(found), cli.NotWhole(s, source.Range{}))
}

// storedState is what a catalog stores about one log.
type storedState struct {
	metadata    catalog.Metadata
	collections map[int64]*catalog.Collection
	live        []diagnose.StoredPosition // the flush positions that a restart starts from
}

// storedOf loads it. have is the log's backend.
func storedOf(ctx context.Context, cat catalog.Catalog, pchannel string, have message.Backend) (out storedState, err error) {
	if out.metadata, _, err = cat.Load(ctx, pchannel); err != nil {
		return out, err
	}
	flushed, err := catalog.ChannelCheckpoints(ctx, cat, pchannel)
	if err != nil {
		return out, err
	}
	if out.collections, _, err = catalog.Collections(ctx, cat); err != nil {
		return out, err
	}
	out.live = diagnose.LivePositions(out.metadata, out.collections, flushed, have)
	return out, nil
}

func writePositions(f *cli.Factory, o *positionsOptions, r *positionsReport) error {
	t := positionTable(r.Positions, f.Now())
	switch o.output {
	case cli.JSON:
		return render.JSON(f.Out(), r)
	case cli.NDJSON:
		return render.Lines(f.Out(), r.Positions)
	case cli.CSV:
		return t.CSV(f.Out())
	}
	needed, gone := r.counts()
	log := "the log holds no record"
	if r.First != "" {
		log = "log " + r.First + " … " + r.Last
	}
	lines := []string{fmt.Sprintf("%s · %s · %s, %d of them where a node starts to read, %d gone", r.WAL.PChannel, log, render.Plural(len(r.Positions), "position"), needed, gone)}
	if len(r.NotChecked) > 0 {
		lines[0] = fmt.Sprintf("%s · %s, %d of them where a node starts to read", r.WAL.PChannel, render.Plural(len(r.Positions), "position"), needed)
	}
	if err := cli.PrintLines(f, append(lines, cli.NotCheckedLines(r.NotChecked)...)); err != nil {
		return err
	}
	if err := render.Findings(f.Out(), f.Style(o.output), cli.Shown(r.Header.Findings, o.output)); err != nil {
		return err
	}
	if err := t.Write(f.Out(), f.Style(o.output)); err != nil {
		return err
	}
	if len(r.Header.Findings) == 0 {
		return nil
	}
	return f.Next(r.Header.Findings[0].Next)
}

func positionTable(list []diagnose.ResolvedPosition, now time.Time) *render.Table {
	t := &render.Table{Most: cli.TableRows, Columns: []render.Column{{Name: "place"}, {Name: "of"}, {Name: "id"}, {Name: "time"}, {Name: "stands"},
		{Name: "deleted from"}, {Name: "needed", Wide: true}, {Name: "time tick", Right: true, Wide: true}, {Name: "key", Wide: true}}}
	for i := range list {
		r := &list[i]
		of, lost, needed := r.VChannel, "", "no"
		if r.Segment != 0 {
			of = fmt.Sprintf("segment %d", r.Segment)
		}
		if r.LostAt != nil {
			lost = render.HumanTime(*r.LostAt)
			if r.LostAt.Before(now) {
				lost = "the next trim"
			}
		}
		if r.Needed {
			needed = "yes"
		}
		t.Add(render.Text(r.Place), render.Text(of), render.Text(r.IDText), render.Tick(r.TimeTick), render.Text(strings.TrimPrefix(r.Stands, "stands ")),
			render.Text(lost), render.Text(needed), render.Number(r.TimeTick), render.Text(r.Key))
	}
	return t
}
