// Package capture is walctl capture: it copies logs, and the evidence beside them, into
// an archive.
package capture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/walctl/walctl/cmd/internal/gather"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/walreader/archive"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

type options struct {
	wals      []string
	dir       string
	follow    bool
	rows      int64
	size      int64 // MiB
	age       time.Duration
	noCatalog bool
	evidence  bool
	between   time.Duration // the two looks at a node
	gather.EvidenceFlags
	source  cli.WALFlags
	catalog cli.CatalogFlags
	place   cli.RangeFlags
	output  cli.Output
	again   string // the command that goes on with it
}

// Report is the JSON answer: one entry a log.
type Report struct {
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
	Evidence []beside      `json:"evidence,omitempty"`
	Missing  []string      `json:"missing,omitempty"` // of the evidence, and why
	Torn     bool          `json:"torn_tail,omitempty"`
	Error    string        `json:"error,omitempty"`
	lacks    bool          // it is a copy without payloads: no second try brings them
}

// beside is one file of evidence.
type beside struct {
	Name       string `json:"name"`
	Bytes      int64  `json:"bytes"`
	CapturedAt string `json:"captured_at"`
	Error      string `json:"error,omitempty"` // it says why there is no other content
}

// New makes the command.
func New(f *cli.Factory) *cobra.Command {
	opts := &options{}
	cmd := &cobra.Command{
		Use:   "capture [WAL...]",
		Short: "Copy logs into an archive that every command reads",
		Long: `Copy logs into an archive: Parquet files that every command reads as it does the
live log, and DuckDB or Spark with plain SQL. Without a WAL: every pchannel of the
context.

Beside each log lies the evidence of the same moment: the catalog (without users and
their passwords), what keeps the topic from being deleted and its statistics, what
each --metrics endpoint or file says, and what a colleague sent: --topic-stats,
--internal-stats, --logs (without the credentials that can be told in them). With
--evidence the nodes are found by their sessions, and looked at twice. doctor finds in
the archive what it finds in all of these. What cannot be had is there as an error;
without its catalog a capture ends with 6.

What is named in the archive's manifest was synced to disk and read back. Run it
again and it goes on exactly after the last record named; a run that was killed
loses and doubles nothing. Several logs go into one directory at once. The archive
holds rows' data, readable by its owner only; a copy without payload/ holds none.

` + cli.RangeHelp,
		Example: `walctl capture --dir ./evidence
walctl capture dml_3 --dir ./evidence
walctl capture dml_3 --evidence --logs streamingnode.log --dir ./evidence
walctl capture dml_3 dml_7 --dir ./evidence
walctl capture dml_3 --dir ./evidence --follow
walctl capture wal.jsonl.zst --catalog kvjson:catalog.json --dir ./evidence`,
		Args: cli.Args(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.wals, opts.again = args, goesOn(cmd, args)
			if opts.follow && slices.Contains(args, "-") {
				return cli.Usagef("--follow waits at a live log's end, and standard input ends: leave it out")
			}
			if opts.dir == "" {
				return cli.Usagef("say where the archive goes: --dir DIR")
			}
			return run(cmd.Context(), f, opts)
		},
	}
	p := cmd.Flags()
	p.StringVar(&opts.dir, "dir", "", "the archive's `directory`; it is made, or gone on with")
	p.BoolVarP(&opts.follow, "follow", "f", false, "wait for more at the end, until interrupted")
	p.Int64Var(&opts.rows, "segment-rows", archive.DefaultSegmentRows, "end a segment after this many records")
	p.Int64Var(&opts.size, "segment-size", archive.DefaultSegmentBytes>>20, "end a segment after this many `MiB` of payload")
	p.DurationVar(&opts.age, "segment-age", archive.DefaultSegmentAge, "end a segment this long after its first record")
	p.BoolVar(&opts.noCatalog, "no-catalog", false, "leave the catalog out")
	p.BoolVar(&opts.evidence, "evidence", false, "take all that doctor looks at: metrics of the nodes that the catalog's sessions name, each looked at twice")
	p.DurationVar(&opts.between, "second-look", secondLook, "with --evidence: take the second look at a node so long after the first")
	opts.Add(cmd)
	cli.AddOutput(cmd, &opts.output, cli.Table, cli.JSON)
	opts.place.Add(cmd)
	opts.catalog.Add(cmd)
	opts.source.Add(cmd)
	opts.source.Again = true // its beginning
	return cli.Finish(f, cmd, cli.CodeCorrupt, cli.CodeRefused, cli.CodePartial)
}

func run(ctx context.Context, f *cli.Factory, o *options) error {
	if len(o.wals) == 0 {
		var err error
		if o.wals, err = f.PChannels(ctx, o.source); err != nil {
			return err
		}
	}
	take := newCollector(ctx, f, o)
	show, done := f.Progress("capture")
	logs := make([]capturedLog, len(o.wals))
	errs := make([]error, len(o.wals))
	var g errgroup.Group // one failing does not stop the others
	sum := cli.NewSum(show, len(o.wals))
	for i, wal := range o.wals {
		g.Go(func() error {
			logs[i], errs[i] = captureOne(ctx, f, o, take, wal, sum.Of(i))
			if errs[i] != nil {
				logs[i].Error, logs[i].lacks = errs[i].Error(), errors.Is(errs[i], archive.ErrNoPayload)
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
	return errors.Join(err, incomplete(logs))
}

// incomplete says what the archive lacks.
func incomplete(logs []capturedLog) error {
	var err error
	gaps, told := int64(0), map[string]bool{}
	for _, l := range logs {
		for _, g := range l.Gaps {
			gaps += max(1, g.Places)
		}
		for _, m := range l.Missing { // the same for every log of a cluster
			if !told[m] {
				err = errors.Join(err, fmt.Errorf("%w: %s", cli.ErrPartial, m))
			}
			told[m] = true
		}
	}
	switch {
	case gaps == 1:
		err = errors.Join(err, fmt.Errorf("%w: one place of the source is not in the archive", cli.ErrPartial))
	case gaps > 1:
		err = errors.Join(err, fmt.Errorf("%w: %d places of the source are not in the archive", cli.ErrPartial, gaps))
	}
	return err
}

func captureOne(ctx context.Context, f *cli.Factory, o *options, take *collector, wal string, show source.Progress) (capturedLog, error) {
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
		Prepared: func(w *archive.Writer) error { return take.before(ctx, s, w, &out) },
		Opened: func(w *archive.Writer) error {
			err := take.opened(ctx, s, w)
			out.Evidence = besides(w.Manifest())
			return err
		},
	})
	out.WAL.PChannel = got.PChannel
	if got.Ended != "" {
		out.WAL.Held = cli.HeldOf(extentOnly{s, got.Extent})
	}
	out.Records, out.Segments, out.Gaps, out.Torn = got.Records, got.Segments, got.Gaps, got.TornTail
	if got.Resumed {
		out.Behind = got.Behind.String()
	}
	if got.Last != (message.ID{}) {
		out.Last = got.Last.String()
	}
	return out, err
}

func besides(m *archive.Manifest) []beside {
	out := make([]beside, len(m.Evidence))
	for i, e := range m.Evidence {
		out[i] = beside{e.Name, e.Bytes, render.RFC3339(e.CapturedAt), e.Provenance["error"]}
	}
	return out
}

func writeCaptured(f *cli.Factory, o *options, logs []capturedLog) error {
	if o.output == cli.JSON {
		out := Report{Header: f.Header("capture", render.WAL{}, nil), Dir: o.dir, Logs: logs}
		if len(logs) == 1 {
			out.WAL = logs[0].WAL
		}
		return render.JSON(f.Out(), out)
	}
	w := f.Out()
	kept, half := false, false
	for i := range logs {
		l := &logs[i]
		half = half || !l.lacks && (l.Error != "" || l.WAL.Held != nil && !l.WAL.Held.Whole)
		kept = kept || l.Error == "" || l.Records > 0
		if err := l.write(w, cmp.Or(l.WAL.PChannel, o.wals[i])); err != nil {
			return err
		}
	}
	next := []string{}
	if half {
		next = append(next, o.again)
	}
	if kept && (o.evidence || len(o.Stats)+len(o.Internal)+len(o.Logs) > 0) {
		next = append(next, "walctl doctor "+source.ShellWord(o.dir))
	}
	if kept {
		next = append(next, "walctl verify "+source.ShellWord(o.dir))
	}
	return f.Next(next...)
}

// write tells what was taken of a log and what was not.
func (l *capturedLog) write(w io.Writer, name string) error {
	var lines []string
	if l.Error == "" || l.Records > 0 {
		lines = append(lines, l.line(name))
	}
	held := l.WAL.Held
	switch {
	case l.Error != "" && (held == nil || l.lacks && l.Records == 0):
		lines = append(lines, name+": nothing was captured")
	case held != nil && !held.Whole:
		lines = append(lines, "  NOT WHOLE  "+held.Words())
	case held != nil && held.To == "":
		lines = append(lines, "  EMPTY  the log holds no record")
	}
	for _, g := range l.Gaps {
		place := g.Place
		if g.Places > 1 {
			place = fmt.Sprintf("%s … %s, %d places", g.Place, g.Until, g.Places)
		}
		lines = append(lines, fmt.Sprintf("  GAP  %s: %s", place, g.Cause))
	}
	for _, e := range l.Evidence {
		if e.Error != "" {
			lines = append(lines, fmt.Sprintf("  NOT  %s: %s", e.Name, e.Error))
		}
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, render.Clean(line)); err != nil {
			return err
		}
	}
	return nil
}

func (l *capturedLog) line(name string) string {
	line := fmt.Sprintf("%s: %s in %s", name, render.Plural(int(l.Records), "record"), render.Plural(l.Segments, "segment"))
	if l.Behind != "" {
		line += ", after " + l.Behind
	}
	if l.Last != "" {
		line += ", last " + l.Last
	}
	if l.Catalog > 0 {
		line += " · catalog " + render.Plural(l.Catalog, "key")
	}
	if l.Torn {
		line += " · the source ends in the middle of a record"
	}
	return line
}

// extentOnly is a source that answers what was copied of it.
type extentOnly struct {
	source.Source
	e source.Extent
}

// Extent implements source.ExtentSource.
func (s extentOnly) Extent(context.Context) (source.Extent, error) { return s.e, nil }

// notAgain are the flags of a capture that the one which goes on with it does not take.
const notAgain = " limit from to timeout output quiet no-progress no-color help "

// goesOn spells the capture that goes on with this one: its words and flags, but
// for those that ended it, and without credentials.
func goesOn(cmd *cobra.Command, args []string) string {
	words := []string{cmd.CommandPath()}
	for _, a := range args {
		words = append(words, cli.SpellWord(a))
	}
	cmd.Flags().Visit(func(p *pflag.Flag) {
		if strings.Contains(notAgain, " "+p.Name+" ") {
			return
		}
		words = append(words, cli.SpellFlag(p))
	})
	return strings.Join(words, " ")
}
