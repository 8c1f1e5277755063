package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/archive"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

type captureOptions struct {
	wals      []string
	dir       string
	follow    bool
	rows      int64
	size      int64 // MiB
	age       time.Duration
	noCatalog bool
	source    cli.WALFlags
	catalog   cli.CatalogFlags
	place     cli.RangeFlags
	output    cli.Output
	exists    func(string) bool
}

// captureReport is the JSON answer: one entry a log.
type captureReport struct {
	render.Header
	Dir  string        `json:"dir"`
	Logs []capturedLog `json:"logs"`
}

type capturedLog struct {
	WAL      render.WAL    `json:"wal"`
	Records  int64         `json:"records"` // taken by this run
	Segments int           `json:"segments"`
	Last     string        `json:"last"`
	Behind   string        `json:"resumed_behind,omitempty"`
	Gaps     []archive.Gap `json:"gaps,omitempty"`
	Catalog  int           `json:"catalog_keys"`
	Torn     bool          `json:"torn_tail,omitempty"`
	Error    string        `json:"error,omitempty"`
}

func newCaptureCmd(f *cli.Factory, runF func(context.Context, *captureOptions) error) *cobra.Command {
	opts := &captureOptions{}
	if runF == nil {
		runF = func(ctx context.Context, o *captureOptions) error { return runCapture(ctx, f, o) }
	}
	cmd := &cobra.Command{
		Use:   "capture WAL...",
		Short: "Copy logs into an archive that every command reads",
		Long: `Copy logs, and the catalog of the same moment, into an archive: Parquet files that
every command reads as it does the live log, and DuckDB or Spark with plain SQL.

What is named in the archive's manifest was synced to disk and read back. Run it
again and it goes on exactly behind the last record named; a run that was killed
loses and doubles nothing. Several logs go into one directory at once. The archive
holds rows' data, readable by its owner only; a copy without payload/ holds none.

` + cli.RangeHelp,
		Example: `walctl capture dml_3 --dir ./evidence
walctl capture dml_3 dml_7 --dir ./evidence
walctl capture dml_3 --dir ./evidence --follow
walctl capture wal.jsonl.zst --catalog kvjson:catalog.json --dir ./evidence`,
		Args: cli.Args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.wals, opts.exists = args, exists(cmd.Root())
			if opts.dir == "" {
				return cli.Usagef("say where the archive goes: --dir DIR")
			}
			return runF(cmd.Context(), opts)
		},
	}
	p := cmd.Flags()
	p.StringVar(&opts.dir, "dir", "", "the archive's `directory`; it is made, or gone on with")
	p.BoolVarP(&opts.follow, "follow", "f", false, "wait for more at the end, until interrupted")
	p.Int64Var(&opts.rows, "segment-rows", archive.DefaultSegmentRows, "end a segment after this many records")
	p.Int64Var(&opts.size, "segment-size", archive.DefaultSegmentBytes>>20, "end a segment after this many `MiB` of payload")
	p.DurationVar(&opts.age, "segment-age", archive.DefaultSegmentAge, "following: end a segment this long after its first record")
	p.BoolVar(&opts.noCatalog, "no-catalog", false, "leave the catalog out")
	cli.AddOutput(cmd, &opts.output, cli.Table, cli.JSON)
	opts.place.Add(cmd)
	opts.catalog.Add(cmd)
	opts.source.Add(cmd)
	return cli.Finish(f, cmd, cli.CodeCorrupt, cli.CodeRefused, cli.CodePartial)
}

func runCapture(ctx context.Context, f *cli.Factory, o *captureOptions) error {
	show, done := f.Progress("capture")
	logs := make([]capturedLog, len(o.wals))
	errs := make([]error, len(o.wals))
	var g errgroup.Group // one failing does not stop the others
	sum := newSum(show, len(o.wals))
	for i, wal := range o.wals {
		g.Go(func() error {
			logs[i], errs[i] = captureOne(ctx, f, o, wal, sum.of(i))
			if errs[i] != nil {
				logs[i].Error = errs[i].Error()
				errs[i] = fmt.Errorf("%s: %w", wal, errs[i])
			}
			return nil
		})
	}
	_ = g.Wait() // no function returns an error
	done()
	err := errors.Join(errs...)
	if werr := writeCaptured(f, o, logs); werr != nil {
		return errors.Join(werr, err)
	}
	gaps := 0
	for _, l := range logs {
		gaps += len(l.Gaps)
	}
	if err == nil && gaps > 0 {
		err = fmt.Errorf("%w: %d places of the source are not in the archive", cli.ErrPartial, gaps)
	}
	return err
}

func captureOne(ctx context.Context, f *cli.Factory, o *captureOptions, wal string, show source.Progress) (capturedLog, error) {
	s, err := f.OpenWAL(ctx, wal, o.source)
	if err != nil {
		return capturedLog{}, err
	}
	defer s.Close()
	out := capturedLog{WAL: cli.DescribeWAL(s)}
	rng, err := o.place.Range(ctx, f.EnvWithCatalog(s, o.catalog))
	if err != nil {
		return out, err
	}
	got, err := archive.Capture(ctx, s, o.dir, archive.CaptureOptions{
		From: rng.From, To: rng.To, Limit: rng.Limit, Follow: o.follow,
		SegmentRows: o.rows, SegmentBytes: o.size << 20, SegmentAge: o.age, Progress: show, Clock: f.Now,
		Prepared: func(w *archive.Writer) error {
			n, err := captureCatalog(ctx, f, o, s, w)
			out.Catalog = n
			return err
		},
	})
	out.WAL.PChannel = got.PChannel
	out.Records, out.Segments, out.Gaps, out.Torn = got.Records, got.Segments, got.Gaps, got.TornTail
	if got.Resumed {
		out.Behind = got.Behind.String()
	}
	if got.Last != (message.ID{}) {
		out.Last = got.Last.String()
	}
	return out, err
}

// captureCatalog puts the catalog beside the log: before the log is read, so
// that everything the catalog points at lies in it. One that was not asked for
// by name and does not answer is noted, and the log is captured all the same.
func captureCatalog(ctx context.Context, f *cli.Factory, o *captureOptions, s source.Source, w *archive.Writer) (int, error) {
	if o.noCatalog {
		return 0, nil
	}
	n, err := storeCatalog(ctx, f, o, s, w)
	switch {
	case err == nil || ctx.Err() != nil || o.catalog.Spec != "":
		return n, err
	case errors.Is(err, cli.ErrNoCatalog):
		f.Notef("note: no catalog is known, so the archive has none; --catalog names one")
	default:
		f.Notef("note: the catalog is not captured: %v", err)
	}
	return 0, nil
}

func storeCatalog(ctx context.Context, f *cli.Factory, o *captureOptions, s source.Source, w *archive.Writer) (int, error) {
	cat, err := f.OpenCatalog(ctx, o.catalog, s, false)
	if err != nil {
		return 0, err
	}
	defer cat.Close()
	kvs, revision, err := cat.Range(ctx, "")
	if err != nil {
		return 0, fmt.Errorf("reading the catalog: %w", err)
	}
	id, err := cat.Identity(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading the catalog's identity: %w", err)
	}
	keys := make(map[string][]byte, len(kvs))
	for _, kv := range kvs {
		keys[kv.Key] = kv.Value
	}
	b, err := json.Marshal(keys) // sorted; values as base64
	if err != nil {
		return 0, fmt.Errorf("spelling the catalog: %w", err)
	}
	return len(keys), w.AddEvidence(archive.Evidence{Name: archive.CatalogName, CapturedAt: f.Now().UTC(),
		Provenance: provenance(id, revision)}, append(bytes.TrimSpace(b), '\n'))
}

func provenance(id catalog.Identity, revision catalog.Revision) map[string]string {
	p := map[string]string{"kind": id.Kind, "root": id.Root, "revision": strconv.FormatInt(int64(revision), 10)}
	if id.ClusterID != "" {
		p["cluster_id"] = id.ClusterID
	}
	return p
}

func writeCaptured(f *cli.Factory, o *captureOptions, logs []capturedLog) error {
	if o.output == cli.JSON {
		out := captureReport{Header: render.NewHeader("capture", render.WAL{}, nil), Dir: o.dir, Logs: logs}
		if len(logs) == 1 {
			out.WAL = logs[0].WAL
		}
		return render.JSON(f.Out(), out)
	}
	w := f.Out()
	any := false
	for i, l := range logs {
		if l.Error != "" {
			continue // told at the end, with its exit code
		}
		any = true
		name := l.WAL.PChannel
		if name == "" {
			name = o.wals[i]
		}
		plural := "s"
		if l.Segments == 1 {
			plural = ""
		}
		line := fmt.Sprintf("%s: %s records in %d segment%s", name, render.Thousands(l.Records), l.Segments, plural)
		if l.Behind != "" {
			line += ", behind " + l.Behind
		}
		if l.Last != "" {
			line += ", last " + l.Last
		}
		if l.Catalog > 0 {
			line += fmt.Sprintf(" · catalog %s keys", render.Thousands(int64(l.Catalog)))
		}
		if l.Torn {
			line += " · the source ends in the middle of a record"
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
		for _, g := range l.Gaps {
			if _, err := fmt.Fprintf(w, "  GAP  %s: %s\n", render.Clean(g.Place), render.Clean(g.Cause)); err != nil {
				return err
			}
		}
	}
	if !any {
		return nil
	}
	return render.Next(w, []string{"walctl verify " + o.dir}, o.exists)
}
