// Package plans is what the commands share that make, show and write plans: what a plan
// is bound to, the files it may replace, its keys on a screen, the command that follows.
package plans

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/walctl/walctl/cmd/internal/replay"
	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/outfile"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/plan"
	"github.com/walctl/walctl/pkg/recovery/repair"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// WriteFlags are what apply and undo take: where, why, and who vouches.
type WriteFlags struct {
	source  cli.WALFlags
	Catalog cli.CatalogFlags
	yes     bool
	reason  string
	stopped bool
	Export  string
}

// Add defines the flags.
func (w *WriteFlags) Add(cmd *cobra.Command) {
	p := cmd.Flags()
	p.BoolVarP(&w.yes, "yes", "y", false, "do not ask; off a terminal nothing is written without it")
	p.StringVar(&w.reason, "reason", "", "why, kept in the journal (required)")
	p.BoolVar(&w.stopped, "i-know-it-is-stopped", false, "go on where what would show a live owner cannot be listed; what is seen alive is refused all the same")
	w.Catalog.Add(cmd)
	w.source.Add(cmd)
}

// Options asks on a terminal what the flags did not say.
func (w *WriteFlags) Options(f *cli.Factory, question string) (plan.Options, error) {
	if strings.TrimSpace(w.reason) == "" {
		return plan.Options{}, cli.Usagef("nothing was written: say why with --reason")
	}
	if !w.yes {
		in, ok := f.IO.In.(*os.File)
		if !ok || !term.IsTerminal(int(in.Fd())) {
			return plan.Options{}, cli.Usagef("nothing was written: this is no terminal to ask on; say --yes")
		}
		if err := f.Flush(); err != nil {
			return plan.Options{}, err
		}
		fmt.Fprintf(f.IO.Err, "%s [yes/no] ", question)
		answer, err := bufio.NewReader(in).ReadString('\n')
		if err != nil || strings.TrimSpace(answer) != "yes" {
			return plan.Options{}, fmt.Errorf("nothing was written: %w", cli.ErrDeclined)
		}
	}
	return plan.Options{
		Yes: true, Reason: w.reason, Who: who(), IKnowItIsStopped: w.stopped,
		ExportDir: w.Export, Clock: f.Now, Walctl: f.Version,
	}, nil
}

// who is the person at the keyboard, for the journal.
func who() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

// logGate looks at the log a plan names through the one door.
type logGate struct {
	src     source.Source // nil: the plan names no log
	wal     string        // how it is named
	offline bool          // the catalog is a file: no live Milvus serves it
	missing error         // why the log it names cannot be opened
}

// ofLive says of the log a plan is bound to which ledgers it is made of, and names a
// live one by its pchannel or, where it was given so, by its URL.
func ofLive(ctx context.Context, l *plan.Log, src source.Source, wal, pchannel string) (err error) {
	if made, ok := source.As[source.LayoutSource](src); ok {
		if l.Ledgers, err = made.LedgerIDs(ctx); err != nil && !errors.Is(err, source.ErrUnavailable) {
			return err
		}
	}
	if _, live := source.As[source.ProducerSource](src); live {
		l.Location = pchannel
		if strings.Contains(wal, "://") {
			l.Location = wal
		}
	}
	return nil
}

// Over is what a plan over a log is made on: the log as it was given, the catalog as
// it was named (none = the archive's own, or the context's), both opened.
type Over struct {
	WAL, PChannel string
	Named         cli.CatalogFlags
	Src           source.Source
	Cat           catalog.Catalog
	Bounds        source.Bounds // the log's ends
	Tick          uint64        // the last TimeTick read
}

// Input is the ground that every plan over a log stands on: what it is bound to, the
// log's ends, the positions stored, and that an archive's own catalog is no place to
// repair. What is to change is the caller's.
func (o *Over) Input(ctx context.Context, f *cli.Factory) (*plan.Input, error) {
	spec, err := f.CatalogSpec(o.Named, o.Src)
	if err != nil {
		return nil, err
	}
	binding, err := BindingOf(ctx, f, cli.CatalogFlags{Spec: spec}, o.Cat)
	if err != nil {
		return nil, err
	}
	binding.Log = plan.Log{Location: absolute(o.WAL), LastID: o.Bounds.Last.Text(), LastTimeTick: o.Tick}
	if err := ofLive(ctx, &binding.Log, o.Src, o.WAL, o.PChannel); err != nil {
		return nil, err
	}
	in := &plan.Input{PChannel: o.PChannel, Before: map[string][]byte{}, Revisions: map[string]int64{}, Binding: binding, Created: f.Now(),
		Log: o.Bounds, Limits: o.Cat.Limits()}
	if own, err := f.CatalogSpec(o.Named, nil); err != nil || own != spec {
		in.Against = []string{"the catalog is the archive's copy, which stays as it was captured; name the one to repair with --catalog"}
	}
	in.Positions, _, err = catalog.Positions(ctx, o.Cat, o.PChannel)
	return in, err
}

// State implements plan.Gate.
func (g logGate) State(ctx context.Context) (plan.LogState, error) {
	var s plan.LogState
	if errors.Is(g.missing, source.ErrNotFound) || errors.Is(g.missing, fs.ErrNotExist) {
		s.Location, s.Gone = g.wal, true
		return s, nil
	}
	if g.missing != nil {
		return s, g.missing
	}
	if g.src == nil {
		if !g.offline {
			s.Unlisted = []string{"producers: the plan names no log"}
		}
		return s, nil
	}
	s.Location = g.src.Describe().Location
	b, err := g.src.Bounds(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return s, err
		}
		s.Unlisted = append(s.Unlisted, "the end of the log: "+err.Error())
	} else {
		s.LastID, s.Bounds, s.Source = b.Last.Text(), b, g.src
		if s.PChannel, err = cli.PChannelOf(ctx, g.src); err != nil && ctx.Err() != nil {
			return s, err
		}
	}
	live, ok := source.As[source.ProducerSource](g.src)
	if !ok {
		if !g.offline {
			s.Unlisted = append(s.Unlisted, "producers: "+s.Location+" is a copy; the topic itself was not looked at")
		}
		return s, nil
	}
	if s.Producers, err = live.Producers(ctx); err != nil {
		s.Unlisted = append(s.Unlisted, err.Error())
	}
	if made, ok := source.As[source.LayoutSource](g.src); ok {
		if s.Ledgers, err = made.LedgerIDs(ctx); err != nil {
			s.Ledgers = nil // told with the producers
		}
	}
	return s, nil
}

// Opened is a plan's catalog and log.
type Opened struct {
	Cat  catalog.Catalog
	Gate logGate
}

// Close closes catalog and log.
func (o *Opened) Close() {
	if o.Gate.src != nil {
		_ = o.Gate.src.Close() // nothing was written through it
	}
	_ = o.Cat.Close() // every transaction is committed or not by now
}

// Open opens what a plan or journal names; flags and argument only give another
// address.
func (w *WriteFlags) Open(ctx context.Context, f *cli.Factory, spec string, log plan.Log, wal string) (*Opened, error) {
	out := &Opened{}
	if wal == "" {
		wal = log.Location
	}
	if w.Catalog.Spec == "" {
		w.Catalog.Spec = spec
	}
	var err error
	if out.Gate.wal = wal; wal != "" {
		if out.Gate.src, err = f.OpenWAL(ctx, wal, w.source); err != nil && errors.Is(err, source.ErrRefused) {
			return nil, err
		}
		if out.Gate.missing = err; err != nil {
			out.Gate.src = nil
		}
	}
	if out.Cat, err = f.OpenCatalog(ctx, w.Catalog, nil, true); err != nil {
		if out.Gate.src != nil {
			_ = out.Gate.src.Close()
		}
		return nil, err
	}
	id, err := out.Cat.Identity(ctx)
	if err != nil {
		out.Close()
		return nil, err
	}
	out.Gate.offline = id.Kind != "etcd"
	return out, nil
}

// absolute makes a path in a spec good for another directory.
func absolute(spec string) string {
	kind, path, ok := strings.Cut(spec, ":")
	if ok && (kind == "file" || kind == "kvjson" || kind == "archive" || kind == "jsonl") {
		if abs, err := filepath.Abs(path); err == nil {
			return kind + ":" + abs
		}
	}
	if _, err := os.Stat(spec); err == nil && !ok {
		if abs, err := filepath.Abs(spec); err == nil {
			return abs
		}
	}
	return spec
}

// Show shows a plan: what stands against it, what it changes, what it costs.
func Show(f *cli.Factory, p *plan.Plan, wide bool) error {
	lines := []string{fmt.Sprintf("Plan       %s · %s · %s %s", p.ID, p.PChannel, p.Binding.CatalogKind, strings.TrimSpace(p.Binding.ClusterID+" "+p.Binding.Root))}
	if p.Binding.Log.Location != "" {
		lines = append(lines, fmt.Sprintf("Log        %s, ends at %s", p.Binding.Log.Location, p.Binding.Log.LastID))
	}
	if p.Applicable {
		lines = append(lines, "Applicable yes")
	}
	for i, why := range p.NotApplicable {
		head := "           "
		if i == 0 {
			head = "Applicable NO: "
		}
		lines = append(lines, head+why)
	}
	lines = append(lines, BlastLines(p.Blast, wide)...)
	for _, n := range p.Notes {
		lines = append(lines, "Note       "+n)
	}
	return ShowChanges(f, p.PChannel, p.Changes, lines, wide)
}

// ShowChanges shows what stands above them and the keys that are to be written.
func ShowChanges(f *cli.Factory, pchannel string, changes []plan.Change, lines []string, wide bool) error {
	d := DifferencesOf(changes)
	lines = append(lines, "Keys       "+Summary(d))
	if !wide {
		lines = append(lines, KeyLines(pchannel, d, cli.ScreenLines-len(lines))...)
	}
	if err := cli.PrintLines(f, lines); err != nil || !wide {
		return err
	}
	return WriteKeys(f, d, len(d), true)
}

// Report is the JSON of apply and undo.
type Report struct {
	render.Header
	Journal      string         `json:"journal"`
	Transactions int            `json:"transactions"`
	Resumed      bool           `json:"resumed"`
	Export       string         `json:"export,omitempty"`
	Keys         int            `json:"keys"`
	KeysWritten  int            `json:"keys_written"`
	Refused      []plan.Refusal `json:"refused,omitempty"`
	Next         string         `json:"next,omitempty"`
}

// Write shows what was done, or why not. Where it ended half-way, onward are the
// lines, each a word and a command, that lead on; the first command finishes it.
func (w *Report) Write(f *cli.Factory, output cli.Output, err error, onward ...[2]string) error {
	var refused *plan.RefusedError
	if errors.As(err, &refused) {
		w.Refused = refused.Reasons
	}
	unknown := errors.Is(err, plan.ErrUnknownOutcome)
	half := err != nil && (w.KeysWritten > 0 || unknown)
	if half {
		w.Next = f.Carry(onward[0][1])
	}
	if output == cli.JSON {
		if jerr := render.JSON(f.Out(), w); jerr != nil {
			return jerr
		}
		return cli.Reported(err)
	}
	if !half && err != nil && w.Next != "" {
		return errors.Join(err, cli.PrintLines(f, []string{"Next       " + w.Next}))
	}
	if !half {
		return err
	}
	maybe := ""
	if unknown && w.KeysWritten < w.Keys {
		maybe = "; the last transaction may have been written too"
	}
	lines := []string{fmt.Sprintf("Half done  %s of %s written · journal %s%s", render.Thousands(int64(w.KeysWritten)), render.Plural(w.Keys, "key"), w.Journal, maybe)}
	for _, l := range onward {
		lines = append(lines, fmt.Sprintf("%-10s %s", l[0], f.Carry(l[1])))
	}
	return errors.Join(err, cli.PrintLines(f, lines))
}

// PlanReport is the plan in recover's answer.
type PlanReport struct {
	ID            string       `json:"id"`
	File          string       `json:"file,omitempty"`
	Applicable    bool         `json:"applicable"`
	NotApplicable []string     `json:"not_applicable,omitempty"`
	Keys          int          `json:"keys"`
	Notes         []string     `json:"notes,omitempty"`
	Blast         []plan.Blast `json:"blast_radius,omitempty"`
	// What decides the next command.
	Outlook repair.Outlook `json:"-"`
	Milvus  string         `json:"-"` // the version it was made for
	Copied  bool           `json:"-"` // the catalog is the archive's copy
}

// ApplicableLines say whether apply would take the plan, and why not.
func (p *PlanReport) ApplicableLines(wide bool) []string {
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

// Apply is the command that writes a plan which was saved; "" where the plan went to a
// stream, or nowhere.
func Apply(f *cli.Factory, file string, flags string) string {
	if outfile.SinkOf(file) != outfile.ToFile {
		return ""
	}
	return "walctl apply " + source.ShellWord(file) + flags + Confirmation(f)
}

// Confirmation are the flags that apply and undo do not go without here.
func Confirmation(f *cli.Factory) string {
	if isTerminal(f) {
		return " --reason 'why'"
	}
	return " --yes --reason 'why'"
}

func isTerminal(f *cli.Factory) bool {
	in, ok := f.IO.In.(*os.File)
	return ok && term.IsTerminal(int(in.Fd()))
}

// Planned is the plan a recover ends in, once its replay has run.
type Planned struct {
	Plan   *plan.Plan
	Out    string
	Copied bool // the catalog is an archive's copy
}

// Partial tells where the log is a copy that does not hold all of its origin.
func Partial(ctx context.Context, src source.Source, in *plan.Input) error {
	if _, copied := source.As[source.ExtentSource](src); !copied {
		return nil
	}
	x, err := source.ExtentOf(ctx, src)
	if err == nil && !x.Whole {
		in.Against = append(in.Against, "the archive does not hold the whole log: "+cmp.Or(x.Detail, "how it ended is not kept in it"))
	}
	return err
}

// UsageOf is the exit code of what was asked of a plan and cannot be.
func UsageOf(err error) error {
	var gap *plan.UnknownGapError
	if errors.As(err, &gap) || errors.Is(err, plan.ErrConflict) {
		return &cli.UsageError{Err: err}
	}
	return err
}

// reasonsShown is how many reasons why a plan is not applicable have room on the first
// screen; the rest is in -o wide.
const reasonsShown = 3

// Report is the plan as an answer has it; nil where none was made.
func (p *Planned) Report() *PlanReport {
	if p.Plan == nil {
		return nil
	}
	x := p.Plan
	return &PlanReport{ID: x.ID, File: p.Out, Applicable: x.Applicable, NotApplicable: x.NotApplicable, Keys: len(x.Changes),
		Notes: x.Notes, Blast: x.Blast, Milvus: x.Binding.Milvus, Copied: p.Copied, Outlook: repair.OutlookOf(x, p.Copied)}
}

// BindingOf binds a plan to the catalog it is made from.
func BindingOf(ctx context.Context, f *cli.Factory, c cli.CatalogFlags, cat catalog.Catalog) (plan.Binding, error) {
	id, err := cat.Identity(ctx)
	if err != nil {
		return plan.Binding{}, err
	}
	settings, err := f.Config()
	if err != nil {
		return plan.Binding{}, err
	}
	spec, err := f.CatalogSpec(c, nil)
	if err != nil {
		return plan.Binding{}, err
	}
	return plan.Binding{Catalog: absolute(spec), CatalogKind: id.Kind, ClusterID: id.ClusterID, Root: id.Root, Walctl: f.Version,
		Milvus: replay.VersionOf(ctx, settings.MilvusVersion, cat)}, nil
}
