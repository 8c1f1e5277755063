package cmd

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

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

// The first screen: at most screenLines lines, in the order an operator asks. What
// does not fit is in -o wide.
const (
	screenLines   = 15
	tableRows     = 8                // of a table below a report's first lines
	reasonsShown  = 3                // why a plan is not applicable
	costsShown    = 3                // vchannels
	keysShown     = 8                // of a plan or a difference
	forecastFrom  = 100_000          // messages from which on the memory of a restart is worth a question
	milvusTimeout = 30 * time.Minute // streaming.walBalancer.operationTimeout, default
)

// planReport is the plan in recover's answer.
type planReport struct {
	ID            string       `json:"id"`
	File          string       `json:"file,omitempty"`
	Applicable    bool         `json:"applicable"`
	NotApplicable []string     `json:"not_applicable,omitempty"`
	Keys          int          `json:"keys"`
	Notes         []string     `json:"notes,omitempty"`
	Blast         []plan.Blast `json:"blast_radius,omitempty"`
	gaps          []plan.Gap   // not accepted
	milvus        string
	copied        bool // the catalog is the archive's copy
	hard          bool // what stands against it no flag takes away
	byRestart     bool // a restart makes every change of it by itself
}

func (p *planned) report() *planReport {
	if p.plan == nil {
		return nil
	}
	x := p.plan
	out := &planReport{ID: x.ID, File: p.out, Applicable: x.Applicable, NotApplicable: x.NotApplicable, Keys: len(x.Changes),
		Notes: x.Notes, Blast: x.Blast, milvus: x.Binding.Milvus, copied: p.copied}
	for _, g := range x.Coverage.Gaps {
		if !g.Accepted {
			out.gaps = append(out.gaps, g)
		}
	}
	soft := len(out.gaps)
	if p.copied {
		soft++
	}
	if x.Coverage.Until != "" {
		soft++
	}
	out.hard = len(x.NotApplicable) > soft
	out.byRestart = repair.ByRestart(x)
	return out
}

// restartReport is what a restart reads before it serves, and how long that takes.
type restartReport struct {
	plan.Replay
	MeasuredPerSecond int64 `json:"measured_per_second,omitempty"` // by this replay, reading included
	ExceedsTimeout    bool  `json:"exceeds_operation_timeout"`     // of 30 min, Milvus's default
}

func (r *replayed) restart() restartReport {
	x := restartReport{Replay: repair.Replays(r.Result)}
	if s := r.took.Seconds(); s > 0 {
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

func (o *recoverOptions) write(f *cli.Factory, r *recoverReport, d []recovery.Difference) error {
	if o.output == cli.JSON {
		return render.JSON(f.Out(), r)
	}
	wide := o.output == cli.Wide
	lines := slices.Concat(verdictLines(r), notCheckedLines(diagnose.Unchecked(r.Findings)), []string{coverageLine(r)})
	if r.lacking > 0 {
		lines = append(lines, "Applicable NO: "+lackingText(r.lacking))
	} else {
		lines = append(lines, r.Plan.applicableLines(wide)...)
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
	if err := printLines(f, lines); err != nil {
		return err
	}
	head := keysHead(r, d)
	if wide {
		if err := printLines(f, []string{head}); err != nil {
			return err
		}
		if err := writeKeys(f, d, len(d), true); err != nil {
			return err
		}
		if err := o.writeWide(f, r); err != nil {
			return err
		}
		return printLines(f, end)
	}
	room := screenLines - f.Style(o.output).Height(slices.Concat(lines, end)) - 1
	if err := printLines(f, append([]string{head}, keyLines(r.WAL.PChannel, d, room)...)); err != nil {
		return err
	}
	return printLines(f, end)
}

// writeWide tells what the first screen has no room for: where the replay ended,
// every finding, and everything quarantined by its id.
func (o *recoverOptions) writeWide(f *cli.Factory, r *recoverReport) error {
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
	if err := printLines(f, lines); err != nil {
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

func printLines(f *cli.Factory, lines []string) error {
	for _, l := range lines {
		if _, err := fmt.Fprintln(f.Out(), render.Clean(l)); err != nil {
			return err
		}
	}
	return nil
}

// verdictLines says whether the version asked about would get the WAL open; where
// none is known, each line, alike ones in one.
func verdictLines(r *recoverReport) []string {
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
		lines = append(lines, fmt.Sprintf("Milvus %s would %s: %s at %s", strings.Join(stopped[*x], " and "), x.Outcome(), x.Code, cmp.Or(x.ID, short(r.WAL.PChannel, x.Key), x.VChannel)))
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

// short leaves out of a key what all keys of the WAL begin with.
func short(pchannel, key string) string {
	if rest, ok := strings.CutPrefix(key, catalog.WALPrefix(pchannel)); ok {
		return "…/" + rest
	}
	return key
}

func coverageLine(r *recoverReport) string {
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

// applicableLines say whether apply would take the plan, and why not.
func (p *planReport) applicableLines(wide bool) []string {
	if p == nil {
		return []string{"Applicable NO: the replay did not reach where it was to stop"}
	}
	if p.Keys == 0 && p.File == "" && p.Applicable {
		return nil
	}
	if p.Applicable {
		return []string{"Applicable yes, once no Milvus process lives: apply looks again"}
	}
	var lines []string
	for i, why := range p.NotApplicable {
		if i == reasonsShown && !wide {
			lines = append(lines, fmt.Sprintf("           and %d more reasons (-o wide)", len(p.NotApplicable)-i))
			break
		}
		lines = append(lines, map[bool]string{true: "Applicable NO: ", false: "           "}[i == 0]+why)
	}
	return lines
}

// costLines are what a repair leaves out, vchannel by vchannel, and what a restart
// has to read.
func costLines(r *recoverReport, wide bool) []string {
	var lines []string
	if r.Plan != nil {
		lines = blastLines(r.Plan.Blast, wide)
	}
	if r.Restart.Messages > 0 {
		lines = append(lines, r.Restart.line())
	}
	return lines
}

// blastLines say what is left out, and what that means.
func blastLines(all []plan.Blast, wide bool) []string {
	lines, named := []string{}, 0
	unknown := 0
	hidden := plan.Blast{}
	for _, b := range all {
		if b.Unknown {
			unknown++
		}
		if b.Rows+b.Deletes+b.DDL+b.Txns == 0 {
			continue
		}
		if named == costsShown && !wide {
			hidden.Rows, hidden.Txns = hidden.Rows+b.Rows, hidden.Txns+1
			continue
		}
		line := fmt.Sprintf("Cost       %s: %s left out", b.VChannel, counts(b))
		if named++; named == 1 {
			line += ": in the log, not in the state a restart reaches"
		}
		lines = append(lines, line)
	}
	if hidden.Txns > 0 {
		lines = append(lines, fmt.Sprintf("           %s, %s (-o wide)", render.Plural(int(hidden.Txns), "more vchannel"), render.Plural(int(hidden.Rows), "row")))
	}
	if unknown > 0 {
		lines = append(lines, fmt.Sprintf("Cost       up to %s can lose more than is counted here: what would tell is gone", render.Plural(unknown, "vchannel")))
	}
	return lines
}

// counts names what is not zero.
func counts(b plan.Blast) string {
	var parts []string
	for _, x := range []struct {
		n    int64
		what string
	}{{b.Rows, "row"}, {b.Deletes, "delete"}, {b.DDL, "definition"}, {b.Txns, "transaction"}} {
		if x.n > 0 {
			parts = append(parts, render.Plural(int(x.n), x.what))
		}
	}
	return strings.Join(parts, ", ")
}

// alsoLine names the findings that did not make the verdict.
func alsoLine(r *recoverReport) string {
	var parts []string
	for _, x := range worthShowing(r.Findings, cli.Table) {
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

func keysHead(r *recoverReport, d []recovery.Difference) string {
	sum := sumDifferences(d)
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

// keyLines are the plan's keys and, where there is room, their fields.
func keyLines(pchannel string, d []recovery.Difference, room int) []string {
	var out []string
	room = min(max(room, 1), keysShown)
	if len(d) > room {
		room--
	}
	for i, x := range d {
		if i == room {
			break
		}
		line := "  " + mark(x.Change) + " " + short(pchannel, x.Key)
		if len(x.Fields) > 0 {
			v := inWords(&x, x.Fields[0])
			line += fmt.Sprintf("  %s %s → %s", v.Path, fieldText(v.Old), fieldText(v.New))
			if n := len(x.Fields) - 1; n > 0 {
				line += fmt.Sprintf(" +%d", n)
			}
		}
		out = append(out, line)
	}
	if n := len(d) - len(out); n > 0 {
		out = append(out, fmt.Sprintf("  … %d more keys (-o wide)", n))
	}
	return out
}

// next is the command that follows: runnable as printed.
func (o *recoverOptions) next(f *cli.Factory, r *recoverReport) string {
	p := r.Plan
	switch {
	case r.lacking > 0:
		return "walctl explain " + string(recovery.CodePayloadAbsent)
	case p == nil:
		return o.spell(o.replay.catalog.Spec)
	case p.Keys == 0 && r.Succeeds:
		return ""
	case p.Keys == 0 && (o.planned() || remedy(r) == nil):
		return explainNext(r)
	}
	version := ""
	if p.milvus == "" {
		version = " --milvus-version " + guessVersion(r)
	}
	if p.Applicable && p.File != "" {
		cmd := "walctl apply " + shellQuote(p.File) + version
		cmd += confirmation(f)
		if version != "" {
			cmd += "  # or the version that will open it"
		}
		return cmd
	}
	waits := slices.ContainsFunc(r.Quarantine, func(c recovery.IssueCount) bool { return c.Code == recovery.CodeImportWaits })
	if waits && !o.planned() {
		return "walctl explain " + string(recovery.CodeImportWaits)
	}
	if p.byRestart && r.Succeeds && !o.planned() {
		return "nothing to repair: a restart brings the catalog there by itself"
	}
	return o.planAgain(f, r, version)
}

// planned reports whether a plan of some kind was asked for.
func (o *recoverOptions) planned() bool {
	return o.plan.out != "" || len(o.plan.only)+len(o.plan.gaps) > 0 || o.plan.alterWAL != ""
}

// confirmation are the flags that apply and undo do not go without here.
func confirmation(f *cli.Factory) string {
	if isTerminal(f) {
		return " --reason 'why'"
	}
	return " --yes --reason 'why'"
}

func isTerminal(f *cli.Factory) bool {
	in, ok := f.IO.In.(*os.File)
	return ok && term.IsTerminal(int(in.Fd()))
}

// shellQuote makes a word safe for a shell.
func shellQuote(s string) string { return source.ShellWord(s) }

// guessVersion is a version that would open the WAL as it is, where one can be told.
func guessVersion(r *recoverReport) string {
	for _, v := range r.Verdicts {
		if v.Succeeds {
			return v.Milvus
		}
	}
	return r.Verdicts[0].Milvus
}

func explainNext(r *recoverReport) string {
	for _, v := range r.Verdicts {
		if v.Obstacle != nil {
			return "walctl explain " + string(v.Obstacle.Code)
		}
	}
	return ""
}

// spell is this command once more, with other flags at its end.
func (o *recoverOptions) spell(catalog string, more ...string) string {
	words := []string{"walctl", "recover", shellQuote(o.wal)}
	if o.replay.source.Log != "" {
		words = append(words, "--log", shellQuote(o.replay.source.Log))
	}
	if catalog != "" {
		words = append(words, "--catalog", shellQuote(catalog))
	}
	for _, k := range o.plan.only {
		words = append(words, "--only", k)
	}
	for _, g := range o.plan.gaps {
		words = append(words, "--accept-gap", shellQuote(g))
	}
	if o.plan.alterWAL != "" {
		words = append(words, "--alter-wal", o.plan.alterWAL)
	}
	return strings.Join(append(words, more...), " ")
}

// planAgain is the recover that ends in a plan that can be applied, as far as
// flags can bring it there.
func (o *recoverOptions) planAgain(f *cli.Factory, r *recoverReport, version string) string {
	p := r.Plan
	var other []string
	if len(o.plan.only) == 0 && o.plan.alterWAL == "" {
		other = remedy(r)
	}
	if p.hard && other == nil {
		return explainNext(r)
	}
	var more []string
	for _, g := range p.gaps {
		more = append(more, "--accept-gap", shellQuote(g.Name()))
	}
	more = append(more, other...)
	spec := o.replay.catalog.Spec
	if p.copied {
		spec = o.liveCatalog(f)
	}
	more = append(more, strings.Fields(version)...)
	return o.spell(spec, append(more, "--out", cmp.Or(p.File, "p.json"))...)
}

// remedy is the kind of repair an obstacle asks for that is not made unasked.
func remedy(r *recoverReport) []string {
	for _, v := range r.Verdicts {
		if v.Obstacle == nil {
			continue
		}
		switch v.Obstacle.Code {
		case recovery.CodeAlterWALStageLost:
			return []string{"--alter-wal", map[bool]string{true: "finish", false: "drop"}[strings.Contains(v.Obstacle.Detail, "ADVANCE")]}
		case recovery.CodeCheckpointBroken:
			return []string{"--only", string(plan.KindRebuild)}
		}
		if k := v.Obstacle.Key; v.Obstacle.Code == recovery.CodeCatalogKey && strings.HasSuffix(k, "/consume-checkpoint") {
			return []string{"--only", string(plan.KindRebuild)}
		}
	}
	return nil
}

// unknownCatalog stands in a command for an address only the reader knows.
const unknownCatalog = "etcd://HOST:2379/by-dev/meta"

// liveCatalog is the catalog to repair where the log brought a copy with it.
func (o *recoverOptions) liveCatalog(f *cli.Factory) string {
	if spec, err := f.CatalogSpec(o.replay.catalog, nil); err == nil {
		return spec
	}
	beside := filepath.Join(o.wal, "catalog.db")
	if _, err := os.Stat(beside); err == nil {
		return "file:" + beside
	}
	return unknownCatalog
}
