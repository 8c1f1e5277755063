package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/walreader"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// LogRef is one log of those a command was asked about: a WAL argument, and the
// word that chooses the log (--log) where the place holds several.
type LogRef struct{ WAL, Log string }

// String is the log as it is typed.
func (r LogRef) String() string {
	if r.Log == "" {
		return SpellWord(r.WAL)
	}
	return SpellWord(r.WAL) + " --log " + SpellWord(r.Log)
}

// Flags are those of a command, for this log.
func (r LogRef) Flags(w WALFlags) WALFlags {
	w.Log = r.Log
	return w
}

// JobsFlag is --jobs: how many logs are read at once.
type JobsFlag int

// Add adds --jobs.
func (j *JobsFlag) Add(cmd *cobra.Command) {
	cmd.Flags().IntVar((*int)(j), "jobs", 0, "several logs: read this many at once (0: as many as there are processor cores)")
}

// Of is how many of a number of logs are read at once.
func (j JobsFlag) Of(logs int) int {
	n := int(j)
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	return max(1, min(n, logs))
}

// OneOrMany asks one for the log that is meant, or many for the logs: those of
// several WAL arguments, all of a place that holds several, or without any argument
// every pchannel of the context.
func (f *Factory) OneOrMany(ctx context.Context, wals []string, w WALFlags, one func(LogRef) error, many func([]LogRef) error) error {
	if len(wals) == 1 {
		err := one(LogRef{wals[0], w.Log})
		var place *walreader.SpecError
		if !errors.As(err, &place) || !place.Several || w.PChannel != "" {
			return err
		}
		refs := make([]LogRef, len(place.Choices))
		for i, log := range place.Choices {
			refs[i] = LogRef{wals[0], log}
		}
		return many(refs)
	}
	refs, err := f.LogRefs(ctx, wals, w)
	if err != nil {
		return err
	}
	if len(refs) == 1 {
		return one(refs[0])
	}
	if w.PChannel != "" {
		return Usagef("--pchannel %s names one log, and %d are asked about; give one WAL, or leave it out", w.PChannel, len(refs))
	}
	return many(refs)
}

// LogRefs lists the logs that WAL arguments mean. A place whose logs cannot be listed
// is one of them: to open it tells why.
func (f *Factory) LogRefs(ctx context.Context, wals []string, w WALFlags) ([]LogRef, error) {
	if len(wals) == 0 {
		names, err := f.PChannels(ctx, w)
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("%w: the context has no pchannels; name a WAL", source.ErrNotFound)
		}
		wals = names
	}
	refs := []LogRef{}
	for _, wal := range wals {
		if wal == "-" && slices.Contains(refs, LogRef{wal, w.Log}) {
			return nil, Usagef("standard input (-) can be read as one log only")
		}
		words, err := f.Logs(ctx, wal, w)
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			words = []string{w.Log}
		}
		for _, word := range words {
			refs = append(refs, LogRef{wal, word})
		}
	}
	return refs, nil
}

// Asked is what was learnt of one log.
type Asked[T any] struct {
	Ref    LogRef
	Report *T    // nil: it could not be read
	Err    error // why not; of one that was read, its share of the exit code
}

// Each asks every log, at most jobs at once, and returns the answers in the order of
// the logs once all have ended. A log that fails does not keep the others from being
// read; where ctx ends, those not yet read say why it did.
func Each[T any](ctx context.Context, jobs int, refs []LogRef, ask func(context.Context, LogRef) (*T, error)) []Asked[T] {
	out := make([]Asked[T], len(refs))
	var g errgroup.Group
	g.SetLimit(max(jobs, 1))
	for i, ref := range refs {
		out[i].Ref = ref
		g.Go(func() error {
			err := ctx.Err()
			if err == nil {
				out[i].Report, err = ask(ctx, ref)
			}
			out[i].Err = withCause(ctx, err)
			return nil
		})
	}
	_ = g.Wait() // each answer has its own error
	return out
}

// Gently divides what one live log may take among the logs read at once.
func (w WALFlags) Gently(jobs int) WALFlags {
	w.Parallel = 1 // logs are read at once instead of one log's ranges
	if w.Rate > 0 {
		w.Rate = max(w.Rate/int64(max(jobs, 1)), 1)
	}
	return w
}

// SharedNotes gathers what is to be said of each log that is opened, so that what
// many have in common is said once.
type SharedNotes struct {
	mu    sync.Mutex
	words []string
	logs  map[string][]string
}

func (n *SharedNotes) add(log string, words ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.logs == nil {
		n.logs = map[string][]string{}
	}
	for _, w := range words {
		if w == "" {
			continue
		}
		if n.logs[w] == nil {
			n.words = append(n.words, w)
		}
		n.logs[w] = append(n.logs[w], log)
	}
}

// Tell says them, each once with the logs it holds for.
func (n *SharedNotes) Tell(f *Factory) {
	n.mu.Lock()
	defer n.mu.Unlock()
	slices.Sort(n.words)
	for _, w := range n.words {
		slices.Sort(n.logs[w])
		f.Notef("note: %s: %s", render.Clean(walreader.Few(n.logs[w])), render.Clean(w))
	}
}

// noteShared gathers what OpenWAL says of one log alone.
func (f *Factory) noteShared(s source.Source, n *SharedNotes) {
	if p := ProtectionOf(s); p != nil {
		words := "the admin port does not tell: retention and ledgers are not known"
		if p.AdminOpen {
			words = p.retention()
		}
		if p.CapturedAt != "" {
			words = "as of " + p.CapturedAt + ": " + words
		}
		n.add(nameOf(s), words)
	}
	n.add(nameOf(s), source.Partitioned(s))
	n.add(nameOf(s), heldWords(HeldOf(s))...)
}

// SharedProgress is the progress of several logs on one line.
type SharedProgress struct {
	show source.Progress
	logs int
	mu   sync.Mutex
	sum  struct{ records, bytes int64 }
}

// ProgressOfMany returns the progress of several logs together, and the function
// that takes its line away.
func (f *Factory) ProgressOfMany(what string, logs int) (*SharedProgress, func()) {
	if logs > 1 {
		what += " " + render.Plural(logs, "log")
	}
	show, done := f.progress(what, logs == 1)
	return &SharedProgress{show: show, logs: logs}, done
}

// One returns the callback of one log.
func (p *SharedProgress) One() source.Progress {
	if p.logs == 1 {
		return p.show // it may know how much there is
	}
	var mine struct{ records, bytes int64 }
	return func(records, bytes, _ int64) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sum.records += records - mine.records
		p.sum.bytes += bytes - mine.bytes
		mine.records, mine.bytes = records, bytes
		p.show(p.sum.records, p.sum.bytes, -1)
	}
}

// LogNames are short names for the logs of answers: the pchannel where it is known
// and only one log has it, else the log as it was typed.
func LogNames[T any](answers []Asked[T], pchannel func(*T) string) []string {
	names, seen := make([]string, len(answers)), map[string]int{}
	for i := range answers {
		if answers[i].Report != nil {
			names[i] = pchannel(answers[i].Report)
		}
		seen[names[i]]++
	}
	for i := range names {
		if names[i] == "" || seen[names[i]] > 1 {
			names[i] = strings.TrimSpace(answers[i].Ref.String())
		}
	}
	return names
}
