package plan

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// LogState is what can be seen of the log right now.
type LogState struct {
	Log
	// Producers are those connected to the topic, by the broker's name for each.
	Producers []string
	// Unlisted says, one a line, what could not be seen ("producers: admin port
	// closed", "end of the log: broker not reachable"). It counts as live.
	Unlisted []string
	// PChannel is the log's own name; "" where it does not tell.
	PChannel string
	// Source reads the log again, Bounds are its ends; nil where it cannot be read.
	Source source.Source
	Bounds source.Bounds
	// Gone: there is no log at the place any more.
	Gone bool
}

// Gate looks at the log a plan was made from. It never writes to it.
type Gate interface {
	State(ctx context.Context) (LogState, error)
}

// Options are how Apply and Undo are told to go.
type Options struct {
	// Yes: whoever calls has been shown what will be written and agreed.
	Yes    bool
	Reason string // why; required, and kept in the journal
	Who    string // user@host
	// IKnowItIsStopped goes on where what would show a live owner cannot be
	// listed. What is seen alive is refused all the same.
	IKnowItIsStopped bool
	// ExportDir is where the touched keys are saved before the first write.
	ExportDir string
	Clock     func() time.Time
	Walctl    string // version, for the journal
	// Milvus is the version whose rules hold; empty = the plan's own.
	Milvus string
	// Progress, if set, hears of every transaction written.
	Progress func(done, total int)
	// Settle is how long a plan that is half done is watched before going on with
	// it: whoever is still at it is left to it. 0 = 2 s.
	Settle time.Duration
	// Sleep waits; nil = real time.
	Sleep func(ctx context.Context, d time.Duration) error
}

// settled reports whether a half-done journal stays as it is for a while, so
// that nobody else is moving it.
func (o Options) settled(ctx context.Context, c catalog.Catalog, j *Journal, r *refusals) error {
	d, sleep := o.Settle, o.Sleep
	if d == 0 {
		d = 2 * time.Second
	}
	if sleep == nil {
		sleep = wait
	}
	if err := sleep(ctx, d); err != nil {
		return err
	}
	now, err := findJournal(ctx, c, j.ID)
	if err != nil {
		return err
	}
	if now == nil || now.revision != j.revision {
		r.seen(CodeRaced, "wait for it, then list the journals", "another walctl is moving plan %s right now", j.ID)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (o Options) now() time.Time {
	if o.Clock == nil {
		return time.Now().UTC().Truncate(time.Second)
	}
	return o.Clock().UTC().Truncate(time.Second)
}

func (o Options) confirmed() error {
	if !o.Yes {
		return fmt.Errorf("nothing was written: say --yes: %w", ErrNotConfirmed)
	}
	if strings.TrimSpace(o.Reason) == "" {
		return fmt.Errorf("nothing was written: say why with --reason: %w", ErrNotConfirmed)
	}
	return nil
}

func (o Options) progress(done, total int) {
	if o.Progress != nil {
		o.Progress(done, total)
	}
}

// checkLive refuses where a Milvus process or a producer lives, or may.
func checkLive(ctx context.Context, c catalog.Catalog, gate Gate, r *refusals) (*LogState, bool, error) {
	listed := true
	sessions, err := catalog.Sessions(ctx, c)
	switch {
	case errors.Is(err, catalog.ErrDenied):
		listed = false
		r.unlisted("use credentials that may read session/", "sessions: %v", err)
	case err != nil:
		return nil, false, err
	}
	for _, s := range sessions {
		r.seen(CodeLiveSession, stopHint(s), "%s is alive", s)
	}
	if gate == nil {
		r.unlisted("name the log", "producers and the end of the log: no log was given")
		return nil, listed, nil
	}
	log, err := gate.State(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, false, err
		}
		r.unlisted("make the broker reachable", "producers and the end of the log: %v", err)
		return nil, listed, nil
	}
	for _, p := range log.Producers {
		r.seen(CodeLiveProducer, "stop what writes to it", "producer %s is on %s", p, log.Location)
	}
	for _, u := range log.Unlisted {
		r.unlisted("make it visible, or vouch for it with --i-know-it-is-stopped", "%s", u)
	}
	return &log, listed, nil
}

func stopHint(s catalog.Session) string {
	if cmd := s.StopCommand(); cmd != "" {
		return "stop it: " + cmd
	}
	return "stop that process, then wait until its lease ends"
}

// checkLog compares the log with the one the plan was made from.
func checkLog(want Log, got *LogState, r *refusals) {
	if want.Location == "" || got == nil {
		return
	}
	shared := slices.ContainsFunc(want.Ledgers, func(l string) bool { return slices.Contains(got.Ledgers, l) })
	if len(want.Ledgers) > 0 && len(got.Ledgers) > 0 && !shared {
		r.seen(CodeOtherLog, "give the address of the log the plan names", "the plan was made from %s with ledgers %s, here are %s",
			want.Location, strings.Join(want.Ledgers, ","), strings.Join(got.Ledgers, ","))
		return
	}
	if got.LastID == "" {
		return // told as unlisted by the gate
	}
	if got.LastID != want.LastID {
		r.seen(CodeLogMoved, "make the plan again", "the plan was made when the log ended at %s, now it ends at %s", want.LastID, got.LastID)
	}
}

// MayWrite shows that the credentials may write where a plan writes: the journal
// and a pchannel's keys. It writes nothing.
func MayWrite(ctx context.Context, c catalog.Catalog) error {
	return catalog.ProveWrite(ctx, c, activeKey, map[string][]byte{activeKey: nil, catalog.CheckpointKey("walctl"): nil}, nil)
}

// proveWrite shows that the credentials may write every key, by transactions
// whose guard cannot hold.
func proveWrite(ctx context.Context, c catalog.Catalog, id string, puts, deletes []string, r *refusals) error {
	puts = append([]string{activeKey, headerKey(id), recordKey(id, 0)}, puts...)
	try := func(p map[string][]byte, d []string) (denied bool, err error) {
		err = catalog.ProveWrite(ctx, c, activeKey, p, d)
		if errors.Is(err, catalog.ErrDenied) || errors.Is(err, catalog.ErrReadOnly) {
			r.denied(err)
			return true, nil
		}
		return false, err
	}
	size := max(c.Limits().Ops, 2)
	for part := range slices.Chunk(puts, size) {
		p := make(map[string][]byte, len(part))
		for _, k := range part {
			p[k] = nil
		}
		if denied, err := try(p, nil); denied || err != nil {
			return err
		}
	}
	for part := range slices.Chunk(deletes, size) {
		if denied, err := try(nil, part); denied || err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
