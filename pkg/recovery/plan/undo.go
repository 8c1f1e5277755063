package plan

import (
	"context"
	"fmt"
	"slices"

	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// Latest as an id means the journal started last that is not taken back.
const Latest = "latest"

// Undo takes a journal's plan back, byte for byte, under the guards it was
// applied under: no live process, nothing changed since. It may be called on a
// plan that is half applied, and again after a kill, on any machine. It refuses
// once the result was written to: taking back what Milvus built on would lose it.
func Undo(ctx context.Context, id string, c catalog.Catalog, gate Gate, o Options) (Result, error) {
	if err := o.confirmed(); err != nil {
		return Result{}, err
	}
	j, err := Find(ctx, c, id)
	if err != nil {
		return Result{}, err
	}
	u := &undoer{j: j, c: c, o: o}
	if err := u.known(ctx); err != nil {
		return Result{}, err
	}
	if err := u.begin(ctx, gate); err != nil {
		return Result{Journal: j.ID}, err
	}
	return u.run(ctx)
}

// Find returns the journal to take back: one by its id, or the Latest. One that
// was taken back already is a *RefusedError, none is ErrNoJournal.
func Find(ctx context.Context, c catalog.Catalog, id string) (*Journal, error) {
	all, err := Journals(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, j := range slices.Backward(all) {
		if j.State == Damaged {
			if id == j.ID {
				return nil, j.err
			}
			continue
		}
		if id == Latest && j.State != Undone || id == j.ID {
			if j.State == Undone {
				return nil, refuse(CodeAppliedBefore, fmt.Sprintf("plan %s was taken back by %s already", j.ID, j.UndoneBy), "")
			}
			return &j, nil
		}
	}
	return nil, fmt.Errorf("undo %s: %w", id, ErrNoJournal)
}

// UndoChanges are what Undo of the journal would write now, to be looked at first.
func UndoChanges(ctx context.Context, j *Journal, c catalog.Catalog) ([]Change, error) {
	u := &undoer{j: j, c: c}
	if err := u.known(ctx); err != nil {
		return nil, err
	}
	return u.changes(), nil
}

type undoer struct {
	j             *Journal
	c             catalog.Catalog
	o             Options
	recs          []*record // those still to take back, by number
	revs          []int64   // of the records' keys
	puts, deletes []string
	now           present
	active        int64
	barred        bool
}

// left is the number of transactions still to take back.
func (u *undoer) left() int { return u.j.Done - u.j.Taken }

func (u *undoer) records(ctx context.Context) error {
	for n := range u.left() {
		r, rev, err := readRecord(ctx, u.c, u.j, n)
		if err != nil {
			return err
		}
		u.recs, u.revs = append(u.recs, r), append(u.revs, rev)
		for _, e := range r.Entries {
			if e.Old == nil {
				u.deletes = append(u.deletes, e.Key)
			} else {
				u.puts = append(u.puts, e.Key)
			}
		}
	}
	return nil
}

// known reads what is to be put back, and refuses keys that no repair wrote.
func (u *undoer) known(ctx context.Context) error {
	if err := u.records(ctx); err != nil {
		return err
	}
	if err := u.read(ctx); err != nil {
		return err
	}
	return withinAny(u.j.PChannel, u.changes())
}

func (u *undoer) read(ctx context.Context) (err error) {
	u.now, err = readPresent(ctx, u.c, u.j.PChannel, append(slices.Clone(u.puts), u.deletes...))
	return err
}

func (u *undoer) begin(ctx context.Context, gate Gate) error {
	var r refusals
	if err := proveWrite(ctx, u.c, u.j.ID, u.puts, u.deletes, &r); err != nil {
		return err
	}
	_, listed, err := checkLive(ctx, u.c, gate, &r)
	if err != nil {
		return err
	}
	u.barred = listed
	active, err := get(ctx, u.c, activeKey)
	if err != nil {
		return err
	}
	if active != nil {
		u.active = active.ModRevision
		if other := string(active.Value); other != u.j.ID {
			r.seen(CodeHalfDone, "finish it with its plan, or undo its journal first", "plan %s is half done", other)
		}
	}
	if err := u.read(ctx); err != nil {
		return err
	}
	u.untouched(&r)
	if u.j.State != Applied {
		if err := u.o.settled(ctx, u.c, u.j, &r); err != nil {
			return err
		}
	}
	if err := r.err(u.o.IKnowItIsStopped); err != nil {
		e := err.(*RefusedError) //nolint:errorlint // refusals.err returns nothing else
		e.Journal, e.Written = u.j.ID, u.left()
		return e
	}
	return nil
}

// changes are what Undo is going to write, last transaction first as it does.
func (u *undoer) changes() []Change {
	var out []Change
	for _, rec := range slices.Backward(u.recs) {
		for _, e := range rec.Entries {
			out = append(out, Change{Key: e.Key, Old: u.now.value(e.Key), New: e.Old, ModRevision: u.now[e.Key].ModRevision})
		}
	}
	return out
}

// untouched refuses where the plan's result is not what stands there.
func (u *undoer) untouched(r *refusals) {
	const next = "what Milvus wrote since would be lost; make a new plan instead"
	before := len(*r)
	for _, rec := range u.recs {
		for _, e := range rec.Entries {
			if sum(u.now.value(e.Key)) != e.New {
				r.seen(CodeMilvusRan, next, "%s was written to after the plan", e.Key)
			}
		}
	}
	named := len(*r) > before // a key of the plan is in the digest too
	if u.j.State == Applied && !named && u.now.digest(u.j.PChannel, nil) != u.j.Result {
		r.seen(CodeMilvusRan, next, "keys of %s were added, changed or removed after the plan", u.j.PChannel)
	}
}

func (u *undoer) run(ctx context.Context) (res Result, err error) {
	res = Result{Journal: u.j.ID, Resumed: u.j.State == Undoing}
	total := u.left()
	res.Keys = u.j.keys(total)
	defer func() { res.KeysWritten = res.Keys - u.j.keys(u.left()) }()
	for u.left() > 0 || u.j.State != Undone {
		if err := u.transaction(ctx); err != nil {
			u.j = asItStands(ctx, u.c, u.j)
			return res, err
		}
		res.Transactions++
		u.o.progress(total-u.left(), total)
	}
	return res, nil
}

// transaction takes back the last transaction that still stands.
func (u *undoer) transaction(ctx context.Context) error {
	next := *u.j
	next.State, next.Updated, next.UndoneBy, next.UndoReason = Undoing, u.o.now(), u.o.Who, u.o.Reason
	n := u.left() - 1
	if n >= 0 {
		next.Taken++
	}
	last := next.Taken == next.Done
	if last {
		next.State = Undone
	}
	t := newTxn(u.barred, &next)
	t.guard.Revisions[headerKey(u.j.ID)] = u.j.revision
	if n >= 0 {
		t.guard.Revisions[recordKey(u.j.ID, n)] = u.revs[n]
		for _, e := range u.recs[n].Entries {
			t.set(e.Key, u.now[e.Key].ModRevision, e.Old)
		}
	}
	t.mark(u.j.ID, u.active, !last)
	if err := t.commit(ctx, u.c, u.j); err != nil {
		return err
	}
	u.active, u.j = t.activeRev, &next
	return nil
}
