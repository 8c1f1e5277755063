package cmd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/walctl/walctl/internal/cli"
	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/plan"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// writeFlags are what apply and undo take: where, why, and who vouches.
type writeFlags struct {
	source  cli.WALFlags
	catalog cli.CatalogFlags
	yes     bool
	reason  string
	stopped bool
	export  string
}

func (w *writeFlags) add(cmd *cobra.Command) {
	p := cmd.Flags()
	p.BoolVarP(&w.yes, "yes", "y", false, "do not ask; off a terminal nothing is written without it")
	p.StringVar(&w.reason, "reason", "", "why, kept in the journal (required)")
	p.BoolVar(&w.stopped, "i-know-it-is-stopped", false, "go on where what would show a live owner cannot be listed; what is seen alive is refused all the same")
	w.catalog.Add(cmd)
	w.source.Add(cmd)
}

// options asks on a terminal what the flags did not say.
func (w *writeFlags) options(f *cli.Factory, question string) (plan.Options, error) {
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
		ExportDir: w.export, Clock: f.Now, Walctl: f.Version,
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

// planOver is what a plan over a log is made on: the log as it was given, the catalog as
// it was named (none = the archive's own, or the context's), both opened.
type planOver struct {
	wal, pchannel string
	named         cli.CatalogFlags
	src           source.Source
	cat           catalog.Catalog
	bounds        source.Bounds // the log's ends
	tick          uint64        // the last TimeTick read
}

// input is the ground that every plan over a log stands on: what it is bound to, the
// log's ends, the positions stored, and that an archive's own catalog is no place to
// repair. What is to change is the caller's.
func (o *planOver) input(ctx context.Context, f *cli.Factory) (*plan.Input, error) {
	spec, err := f.CatalogSpec(o.named, o.src)
	if err != nil {
		return nil, err
	}
	binding, err := bindingOf(ctx, f, cli.CatalogFlags{Spec: spec}, o.cat)
	if err != nil {
		return nil, err
	}
	binding.Log = plan.Log{Location: absolute(o.wal), LastID: idText(o.bounds.Last), LastTimeTick: o.tick}
	if err := ofLive(ctx, &binding.Log, o.src, o.wal, o.pchannel); err != nil {
		return nil, err
	}
	in := &plan.Input{PChannel: o.pchannel, Before: map[string][]byte{}, Revisions: map[string]int64{}, Binding: binding, Created: f.Now(),
		Log: o.bounds, Limits: o.cat.Limits()}
	if own, err := f.CatalogSpec(o.named, nil); err != nil || own != spec {
		in.Against = []string{"the catalog is the archive's copy, which stays as it was captured; name the one to repair with --catalog"}
	}
	in.Positions, _, err = catalog.Positions(ctx, o.cat, o.pchannel)
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
		s.LastID, s.Bounds, s.Source = idText(b.Last), b, g.src
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

// opened is a plan's catalog and log.
type opened struct {
	cat  catalog.Catalog
	gate logGate
}

func (o *opened) close() {
	if o.gate.src != nil {
		_ = o.gate.src.Close() // nothing was written through it
	}
	_ = o.cat.Close() // every transaction is committed or not by now
}

// open opens what a plan or journal names; flags and argument only give another
// address.
func (w *writeFlags) open(ctx context.Context, f *cli.Factory, spec string, log plan.Log, wal string) (*opened, error) {
	out := &opened{}
	if wal == "" {
		wal = log.Location
	}
	if w.catalog.Spec == "" {
		w.catalog.Spec = spec
	}
	var err error
	if out.gate.wal = wal; wal != "" {
		if out.gate.src, err = f.OpenWAL(ctx, wal, w.source); err != nil && errors.Is(err, source.ErrRefused) {
			return nil, err
		}
		if out.gate.missing = err; err != nil {
			out.gate.src = nil
		}
	}
	if out.cat, err = f.OpenCatalog(ctx, w.catalog, nil, true); err != nil {
		if out.gate.src != nil {
			_ = out.gate.src.Close()
		}
		return nil, err
	}
	id, err := out.cat.Identity(ctx)
	if err != nil {
		out.close()
		return nil, err
	}
	out.gate.offline = id.Kind != "etcd"
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

// writePlan shows a plan: what stands against it, what it changes, what it costs.
func writePlan(f *cli.Factory, p *plan.Plan, wide bool) error {
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
	lines = append(lines, blastLines(p.Blast, wide)...)
	for _, n := range p.Notes {
		lines = append(lines, "Note       "+n)
	}
	return writeChanges(f, p.PChannel, p.Changes, lines, wide)
}

// writeChanges shows what stands above them and the keys that are to be written.
func writeChanges(f *cli.Factory, pchannel string, changes []plan.Change, lines []string, wide bool) error {
	d := differencesOf(changes)
	lines = append(lines, "Keys       "+sumDifferences(d))
	if !wide {
		lines = append(lines, keyLines(pchannel, d, screenLines-len(lines))...)
	}
	if err := printLines(f, lines); err != nil || !wide {
		return err
	}
	return writeKeys(f, d, len(d), true)
}

// differencesOf are a plan's changes in key order, whatever the order they are written in.
func differencesOf(changes []plan.Change) []recovery.Difference {
	out := make([]recovery.Difference, 0, len(changes))
	for _, c := range changes {
		if c.Old != nil && c.New != nil && bytes.Equal(c.Old, c.New) || c.Old == nil && c.New == nil {
			continue
		}
		out = append(out, recovery.DifferenceOf(c.Key, c.Old, c.New))
	}
	slices.SortFunc(out, func(a, b recovery.Difference) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// writeReport is the JSON of apply and undo.
type writeReport struct {
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

// write shows what was done, or why not. Where it ended half-way, onward are the
// lines, each a word and a command, that lead on; the first command finishes it.
func (w *writeReport) write(f *cli.Factory, output cli.Output, err error, onward ...[2]string) error {
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
		return errors.Join(err, printLines(f, []string{"Next       " + w.Next}))
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
	return errors.Join(err, printLines(f, lines))
}
