package recovercmd

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/walctl/walctl/cmd/internal/plans"
	"github.com/walctl/walctl/cmd/internal/replay"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/plan"
	"github.com/walctl/walctl/pkg/recovery/repair"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

const (
	forecastFrom  = 100_000          // messages from which on the memory of a restart is worth a question
	milvusTimeout = 30 * time.Minute // streaming.walBalancer.operationTimeout, default
)

// restartReport is what a restart reads before it serves, and how long that takes.
type restartReport struct {
	plan.Replay
	MeasuredPerSecond int64 `json:"measured_per_second,omitempty"` // by this replay, reading included
	ExceedsTimeout    bool  `json:"exceeds_operation_timeout"`     // of 30 min, Milvus's default
}

func restartOf(r *replay.Replayed) restartReport {
	x := restartReport{Replay: repair.Replays(r.Result)}
	if s := r.Took.Seconds(); s > 0 {
		x.MeasuredPerSecond = int64(float64(r.Records) / s)
	}
	x.ExceedsTimeout = time.Duration(x.MilvusSeconds)*time.Second >= milvusTimeout
	return x
}

func (x restartReport) line() string {
	took := "under a second"
	if x.MilvusSeconds > 1 {
		took = "about " + render.HumanDuration(time.Duration(x.MilvusSeconds)*time.Second)
	}
	s := fmt.Sprintf("Cost       a restart replays %s, %s, %s at Milvus's %s/s", render.Plural(int(x.Messages), "message"), render.HumanBytes(x.Bytes),
		took, render.Thousands(plan.MilvusRate))
	if x.Messages >= forecastFrom {
		s += "; its memory: recover --forecast"
	}
	if x.ExceedsTimeout {
		s += ": longer than streaming.walBalancer.operationTimeout (30m), raise it first"
	}
	return s
}

func (o *options) write(f *cli.Factory, r *Report, d []recovery.Difference) error {
	if o.output == cli.JSON {
		return render.JSON(f.Out(), r)
	}
	wide := o.output == cli.Wide
	lines := slices.Concat(verdictLines(r), cli.NotCheckedLines(diagnose.Unchecked(r.Findings)), []string{coverageLine(r)})
	if r.lacking > 0 {
		lines = append(lines, "Applicable NO: "+replay.Lacking(r.lacking))
	} else {
		lines = append(lines, r.Plan.ApplicableLines(wide)...)
	}
	end := costLines(r, wide)
	if !wide {
		end = append(end, alsoLine(r))
	}
	end = append(end, r.memoryPart.lines()...)
	if r.WrittenTo != "" {
		end = append(end, "Written    "+r.WrittenTo)
	}
	if r.Next != "" {
		end = append(end, "Next       "+r.Next)
	}
	end = slices.DeleteFunc(end, func(l string) bool { return l == "" })
	if err := cli.PrintLines(f, lines); err != nil {
		return err
	}
	head := keysHead(r, d)
	if wide {
		if err := cli.PrintLines(f, []string{head}); err != nil {
			return err
		}
		if err := plans.WriteKeys(f, d, len(d), true); err != nil {
			return err
		}
		if err := o.writeWide(f, r); err != nil {
			return err
		}
		return cli.PrintLines(f, end)
	}
	room := cli.ScreenLines - f.Style(o.output).Height(slices.Concat(lines, end)) - 1
	if err := cli.PrintLines(f, append([]string{head}, plans.KeyLines(r.WAL.PChannel, d, room)...)); err != nil {
		return err
	}
	return cli.PrintLines(f, end)
}

// writeWide tells what the first screen has no room for: where the replay ended,
// every finding, and everything quarantined by its id.
func (o *options) writeWide(f *cli.Factory, r *Report) error {
	lines := []string{fmt.Sprintf("Reached    %s at %s · %s, %s", r.Until.ID, render.HumanTime(message.TimeOf(r.Until.TimeTick)),
		render.Plural(int(r.Delivered), "message")+" delivered", render.Plural(len(r.Uncommitted), "open transaction"))}
	if t := r.Tail; t.Messages > 0 {
		lines = append(lines, fmt.Sprintf("Tail       %s, %s, not confirmed: the next opening changes %s",
			render.Plural(int(t.Messages), "record"), render.Plural(int(t.Rows), "row"), render.Plural(t.Differences, "more key")))
	}
	if r.Restart.MeasuredPerSecond > 0 {
		lines = append(lines, fmt.Sprintf("Measured   %s messages/s in this replay, reading included", render.Thousands(r.Restart.MeasuredPerSecond)))
	}
	if r.Plan != nil {
		for _, n := range r.Plan.Notes {
			lines = append(lines, "Note       "+n)
		}
	}
	if err := cli.PrintLines(f, lines); err != nil {
		return err
	}
	if err := render.Findings(f.Out(), f.Style(o.output), r.Findings); err != nil {
		return err
	}
	if len(r.Issues) == 0 {
		return nil
	}
	return quarantineTable(r.Issues).Write(f.Out(), f.Style(o.output))
}

// quarantineTable lists what was met, by id.
func quarantineTable(issues []recovery.Issue) *render.Table {
	t := &render.Table{Columns: []render.Column{{Name: "issue"}, {Name: "id or key"}, {Name: "at"}, {Name: "vchannel"}, {Name: "segment", Right: true}, {Name: "rows", Right: true}}}
	for i := range issues {
		x := &issues[i]
		t.Add(render.Text(string(x.Code)), render.Text(cmp.Or(x.ID, x.Key)), render.Tick(x.TimeTick), render.Text(x.VChannel), render.Number(x.Segment), render.Count(int64(x.Rows)))
	}
	return t
}

// verdictLines says whether the version asked about would get the WAL open; where
// none is known, each line, alike ones in one.
func verdictLines(r *Report) []string {
	far := ""
	if !r.Coverage.Contiguous || r.lacking > 0 {
		far = ", as far as the log could be read"
	}
	var fine []string
	stopped := map[recovery.Issue][]string{}
	var first []recovery.Issue
	for _, v := range r.Verdicts {
		name := v.Milvus
		if r.asked != 0 {
			if v.line != r.asked {
				continue
			}
			name = r.Milvus
		}
		if v.Succeeds {
			fine = append(fine, name)
			continue
		}
		if stopped[*v.Obstacle] == nil {
			first = append(first, *v.Obstacle)
		}
		stopped[*v.Obstacle] = append(stopped[*v.Obstacle], name)
	}
	var lines []string
	for i := range first {
		x := &first[i]
		lines = append(lines, fmt.Sprintf("Milvus %s would %s: %s at %s", strings.Join(stopped[*x], " and "), x.Outcome(), x.Code, cmp.Or(x.ID, catalog.ShortKey(r.WAL.PChannel, x.Key), x.VChannel)))
		why := x.Consequence()
		if x.Detail != "" {
			why += " (" + x.Detail + ")"
		}
		lines = append(lines, "           "+why)
	}
	if len(fine) > 0 {
		lines = append(lines, fmt.Sprintf("Milvus %s would recover%s", strings.Join(fine, " and "), far))
	}
	return lines
}

func coverageLine(r *Report) string {
	c := &r.Coverage
	state := "whole"
	switch {
	case c.Records == 0 && len(c.Gaps) > 0:
		return "Coverage   INCOMPLETE: " + c.Gaps[0] + ", nothing to read there"
	case c.Records == 0:
		return "Coverage   nothing to read after " + cmp.Or(c.From, "the beginning")
	case len(c.Gaps) == 1:
		state = "INCOMPLETE: " + c.Gaps[0]
	case len(c.Gaps) > 1:
		state = fmt.Sprintf("INCOMPLETE: %s and %s", c.Gaps[0], render.Plural(len(c.Gaps)-1, "more gap"))
	}
	if c.TornTail {
		state += ", the last record torn"
	}
	if r.Tail.Messages > 0 {
		state += fmt.Sprintf(" · the last %s not confirmed", render.Thousands(r.Tail.Messages))
	}
	return fmt.Sprintf("Coverage   %s … %s, %s, %s", c.First, c.Last, render.Plural(int(c.Records), "record"), state)
}

// costLines are what a repair leaves out, vchannel by vchannel, and what a restart
// has to read.
func costLines(r *Report, wide bool) []string {
	var lines []string
	if r.Plan != nil {
		lines = plans.BlastLines(r.Plan.Blast, wide)
	}
	if r.Restart.Messages > 0 {
		lines = append(lines, r.Restart.line())
	}
	return lines
}

// alsoLine names the findings that did not make the verdict.
func alsoLine(r *Report) string {
	var parts []string
	for _, x := range cli.WorthShowing(r.Findings, cli.Table) {
		told := slices.ContainsFunc(r.Verdicts, func(v verdictReport) bool { return v.Obstacle != nil && string(v.Obstacle.Code) == x.Code })
		if told && x.Count <= 1 {
			continue
		}
		part := x.Code
		if x.Count > 1 {
			part += " ×" + render.Thousands(x.Count)
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return ""
	}
	if n := len(parts) - 3; n > 0 {
		parts = append(parts[:3], fmt.Sprintf("%d more", n))
	}
	return "Found      " + strings.Join(parts, ", ") + " (-o wide)"
}

func keysHead(r *Report, d []recovery.Difference) string {
	sum := plans.Summary(d)
	switch p := r.Plan; {
	case p != nil && !p.Applicable && len(d) == 0:
		return strings.TrimSuffix("Keys       none would cure it, saved to "+p.File, ", saved to ")
	case p != nil && p.File != "":
		return fmt.Sprintf("Plan       %s, saved to %s", sum, p.File)
	case len(d) == 0:
		return "Keys       no difference: the catalog is where a restart leaves it"
	}
	return "Keys       " + sum
}

// next is the command that follows: runnable as printed.
func (o *options) next(f *cli.Factory, r *Report) string {
	p := r.Plan
	switch {
	case r.lacking > 0:
		return "walctl explain " + string(recovery.CodePayloadAbsent)
	case p == nil:
		return o.spell(o.replay.Catalog.Spec)
	case p.Keys == 0 && r.Succeeds:
		return ""
	case p.Keys == 0 && (o.planned() || remedy(r) == nil):
		return explainNext(r)
	}
	version := ""
	if p.Milvus == "" {
		version = " --milvus-version " + guessVersion(r)
	}
	if p.Applicable && p.File != "" {
		cmd := plans.Apply(f, p.File, version)
		if cmd != "" && version != "" {
			cmd += "  # or the version that will open it"
		}
		return cmd
	}
	waits := slices.ContainsFunc(r.Quarantine, func(c recovery.IssueCount) bool { return c.Code == recovery.CodeImportWaits })
	if waits && !o.planned() {
		return "walctl explain " + string(recovery.CodeImportWaits)
	}
	if p.Outlook.ByRestart && r.Succeeds && !o.planned() {
		return "nothing to repair: a restart brings the catalog there by itself"
	}
	return o.planAgain(f, r, version)
}

// planned reports whether a plan of some kind was asked for.
func (o *options) planned() bool {
	return o.plan.out != "" || len(o.plan.only)+len(o.plan.gaps) > 0 || o.plan.alterWAL != ""
}

// guessVersion is a version that would open the WAL as it is, where one can be told.
func guessVersion(r *Report) string {
	for _, v := range r.Verdicts {
		if v.Succeeds {
			return v.Milvus
		}
	}
	return r.Verdicts[0].Milvus
}

func explainNext(r *Report) string {
	for _, v := range r.Verdicts {
		if v.Obstacle != nil {
			return "walctl explain " + string(v.Obstacle.Code)
		}
	}
	return ""
}

// spell is this command once more, with other flags at its end.
func (o *options) spell(catalog string, more ...string) string {
	words := []string{"walctl", "recover", source.ShellWord(o.wal)}
	if o.replay.Source.Log != "" {
		words = append(words, "--log", source.ShellWord(o.replay.Source.Log))
	}
	if catalog != "" {
		words = append(words, "--catalog", source.ShellWord(catalog))
	}
	for _, k := range o.plan.only {
		words = append(words, "--only", k)
	}
	for _, g := range o.plan.gaps {
		words = append(words, "--accept-gap", source.ShellWord(g))
	}
	if o.plan.alterWAL != "" {
		words = append(words, "--alter-wal", o.plan.alterWAL)
	}
	return strings.Join(append(words, more...), " ")
}

// planAgain is the recover that ends in a plan that can be applied, as far as
// flags can bring it there.
func (o *options) planAgain(f *cli.Factory, r *Report, version string) string {
	p := r.Plan
	var other []string
	if len(o.plan.only) == 0 && o.plan.alterWAL == "" {
		other = remedy(r)
	}
	if p.Outlook.Hard && other == nil {
		return explainNext(r)
	}
	var more []string
	for _, g := range p.Outlook.Gaps {
		more = append(more, "--accept-gap", source.ShellWord(g.Name()))
	}
	more = append(more, other...)
	spec := o.replay.Catalog.Spec
	if p.Copied {
		spec = o.liveCatalog(f)
	}
	more = append(more, strings.Fields(version)...)
	return o.spell(spec, append(more, "--out", cmp.Or(p.File, "p.json"))...)
}

// remedy is the repair that the first obstacle with one asks for, as flags.
func remedy(r *Report) []string {
	for _, v := range r.Verdicts {
		switch x := repair.RemedyOf(v.Obstacle); {
		case x.AlterWAL != "":
			return []string{"--alter-wal", x.AlterWAL}
		case x.Only != "":
			return []string{"--only", string(x.Only)}
		}
	}
	return nil
}

// UnknownCatalog stands in a command for an address only the reader knows.
const UnknownCatalog = "etcd://HOST:2379/by-dev/meta"

// liveCatalog is the catalog to repair where the log brought a copy with it.
func (o *options) liveCatalog(f *cli.Factory) string {
	if spec, err := f.CatalogSpec(o.replay.Catalog, nil); err == nil {
		return spec
	}
	beside := filepath.Join(o.wal, "catalog.db")
	if _, err := os.Stat(beside); err == nil {
		return "file:" + beside
	}
	return UnknownCatalog
}
