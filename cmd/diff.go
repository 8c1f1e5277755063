package cmd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
)

type diffOptions struct {
	sides    []string
	replay   replayFlags
	since    string
	output   cli.Output
	exitCode bool
}

func newDiffCmd(f *cli.Factory, runF func(context.Context, *diffOptions) error) *cobra.Command {
	opts := &diffOptions{}
	if runF == nil {
		runF = func(ctx context.Context, o *diffOptions) error { return runDiff(ctx, f, o) }
	}
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
			return runF(cmd.Context(), opts)
		},
	}
	p := cmd.Flags()
	p.StringVar(&opts.since, "since", "", "of one log: compare the state at this `PLACE` with the one at --until")
	p.BoolVar(&opts.exitCode, "exit-code", false, "exit 3 where there is a difference")
	cli.AddOutput(cmd, &opts.output, cli.Table, cli.Wide, cli.JSON, cli.NDJSON)
	opts.replay.add(cmd)
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
	for _, p := range []string{o.replay.source.PChannel, before.pchannel, after.pchannel} {
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
	r, err := o.replay.replay(ctx, f, "diff", o.sides[0], recovery.ReplayOptions{})
	if err != nil {
		return before, after, err
	}
	if after, err = persisted(r); err != nil {
		return before, after, err
	}
	if o.since == "" {
		before = side{keys: map[string][]byte{}, pchannel: r.wal.PChannel}
		for k, v := range r.metadata.KV {
			before.keys[k] = v
		}
		return before, after, nil
	}
	earlier := o.replay
	earlier.until = o.since
	if r, err = earlier.replay(ctx, f, "diff", o.sides[0], recovery.ReplayOptions{}); err != nil {
		return before, after, err
	}
	before, err = persisted(r)
	before.gone = nil // told once
	return before, after, err
}

// persisted is what a replay leaves in the catalog.
func persisted(r *replayed) (side, error) {
	if !r.Until.Reached {
		return side{}, fmt.Errorf("the log has no message at that TimeTick: name one of `walctl timetick`, or a time")
	}
	keys, err := r.State.Persist()
	return side{keys: keys, pchannel: r.wal.PChannel, bad: r.readError(), gone: r.gone()}, err
}

func (o *diffOptions) load(ctx context.Context, f *cli.Factory, spec string) (side, error) {
	if !isCatalog(spec) {
		r, err := o.replay.replay(ctx, f, "diff", spec, recovery.ReplayOptions{})
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

// differenceReport is a key with its values decoded.
type differenceReport struct {
	Key    string                     `json:"key"`
	Change recovery.Change            `json:"change"`
	Fields []recovery.FieldDifference `json:"fields,omitempty"`
	Old    *shownValue                `json:"old,omitempty"`
	New    *shownValue                `json:"new,omitempty"`
}

// shownValue is a key's value, decoded only where it is printed.
type shownValue struct {
	key   string
	value []byte
}

// MarshalJSON implements json.Marshaler.
func (v *shownValue) MarshalJSON() ([]byte, error) { return recovery.ValueJSON(v.key, v.value), nil }

type diffReport struct {
	render.Header
	Differences []differenceReport `json:"differences"`
}

func differenceReports(d []recovery.Difference) []differenceReport {
	out := make([]differenceReport, len(d))
	for i, x := range d {
		out[i] = differenceReport{Key: x.Key, Change: x.Change, Fields: x.Fields}
		if x.Change != recovery.Added {
			out[i].Old = &shownValue{x.Key, x.Old}
		}
		if x.Change != recovery.Removed {
			out[i].New = &shownValue{x.Key, x.New}
		}
	}
	return out
}

func (o *diffOptions) write(f *cli.Factory, d []recovery.Difference, gone []diagnose.Finding) error {
	out := differenceReports(d)
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

// fieldsShown bounds the fields shown of a key that is not wide.
const fieldsShown = 6

// writeDifferences prints at most limit keys as a patch does: + added, - removed,
// ~ changed.
func mark(c recovery.Change) string {
	return map[recovery.Change]string{recovery.Added: "+", recovery.Removed: "-", recovery.Changed: "~"}[c]
}

func sumDifferences(d []recovery.Difference) string {
	if len(d) == 0 {
		return "no difference"
	}
	counts := map[recovery.Change]int{}
	for i := range d {
		counts[d[i].Change]++
	}
	return fmt.Sprintf("%s: %d added, %d removed, %d changed", render.Plural(len(d), "key"), counts[recovery.Added], counts[recovery.Removed], counts[recovery.Changed])
}

func writeDifferences(f *cli.Factory, d []recovery.Difference, limit int, wide bool) error {
	if err := printLines(f, []string{sumDifferences(d)}); err != nil {
		return err
	}
	return writeKeys(f, d, limit, wide)
}

// writeKeys lists keys with the fields that differ.
func writeKeys(f *cli.Factory, d []recovery.Difference, limit int, wide bool) error {
	var out []string
	for _, x := range d[:min(len(d), limit)] {
		out = append(out, mark(x.Change)+" "+x.Key)
		fields := x.Fields
		if !wide && len(fields) > fieldsShown {
			fields = fields[:fieldsShown]
		}
		for _, v := range fields {
			if !wide {
				v = inWords(&x, v)
			}
			out = append(out, fmt.Sprintf("    %s  %s → %s", v.Path, fieldText(v.Old), fieldText(v.New)))
		}
		if n := len(x.Fields) - len(fields); n > 0 {
			out = append(out, fmt.Sprintf("    … and %d more fields (-o wide)", n))
		}
	}
	if n := len(d) - limit; n > 0 {
		out = append(out, fmt.Sprintf("… and %d more keys (-o wide)", n))
	}
	return printLines(f, out)
}

// inWords is a field as people say it: an id in its parts, a TimeTick as its time.
func inWords(d *recovery.Difference, f recovery.FieldDifference) recovery.FieldDifference {
	if old, now, ok := d.Position(f); ok {
		f.Path = strings.TrimSuffix(f.Path, ".id")
		f.Old, f.New = idText(old), idText(now)
		return f
	}
	if d.IsTick(f) {
		f.Old, f.New = ticksText(f.Old, f.New)
	}
	return f
}

// ticksText is two TimeTicks as their times, the date once. What is no time, and two
// of one millisecond, stay as they are.
func ticksText(old, now string) (string, string) {
	a, b := tickTime(old), tickTime(now)
	if a.Equal(b) {
		return old, now
	}
	if !a.IsZero() {
		old = render.HumanTime(a)
	}
	if !b.IsZero() {
		now = render.HumanTime(b)
	}
	if day, rest, ok := strings.Cut(now, " "); ok && strings.HasPrefix(old, day+" ") {
		now = rest
	}
	return old, now
}

func tickTime(s string) time.Time {
	tick, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return render.TickTime(tick)
}

func fieldText(s string) string {
	if s == "" {
		return "(not set)"
	}
	return render.Clean(s)
}
