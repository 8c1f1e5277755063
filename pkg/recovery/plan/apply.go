package plan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// Result is what an Apply or Undo did.
type Result struct {
	Journal      string // id, for undo
	Transactions int    // written by this call
	Resumed      bool   // it went on with what another call had begun
	Export       string // file of the keys as they were; empty where none was written
	// Keys are all that were to be written, KeysWritten those that are, by this
	// call or one before it: fewer where an error ended it.
	Keys, KeysWritten int
}

// Apply writes the plan to the catalog. It either ends with the whole plan
// written, or names what stands in the way (*RefusedError, ErrRefused). Killed or
// cut off at any step, calling it again with the same plan goes on, on any
// machine; Undo goes back.
func Apply(ctx context.Context, p *Plan, c catalog.Catalog, gate Gate, o Options) (Result, error) {
	if err := p.Verify(); err != nil {
		return Result{}, err
	}
	if err := within(p.PChannel, p.Changes); err != nil {
		return Result{}, err
	}
	if err := o.confirmed(); err != nil {
		return Result{}, err
	}
	a := &applier{p: p, c: c, o: o}
	if err := a.begin(ctx, gate); err != nil {
		return Result{Journal: p.ID}, err
	}
	return a.run(ctx)
}

// mayApply refuses what the plan itself rules out.
func (p *Plan) mayApply(ctx context.Context, c catalog.Catalog, o Options, r *refusals) error {
	for _, why := range p.NotApplicable {
		r.seen(CodeNotApplicable, "", "%s", why)
	}
	if !p.Applicable && len(p.NotApplicable) == 0 {
		r.seen(CodeNotApplicable, "", "the plan says so")
	}
	for _, why := range roundTrips(p.Changes, all) {
		r.seen(CodeNotRoundTrip, "", "%s", why)
	}
	if p.Binding.Milvus == "" && o.Milvus == "" {
		r.seen(CodeNoMilvusVersion, "say it with --milvus-version", "no session tells which Milvus this is")
	}
	id, err := c.Identity(ctx)
	if err != nil {
		return err
	}
	b := p.Binding
	if id.Kind != b.CatalogKind || id.ClusterID != b.ClusterID || id.Root != b.Root {
		r.seen(CodeOtherCluster, "give the catalog the plan was made from", "the plan was made for %s cluster %q root %s, this is %s cluster %q root %s",
			b.CatalogKind, b.ClusterID, b.Root, id.Kind, id.ClusterID, id.Root)
	}
	return nil
}

func (p *Plan) touches() (puts, deletes []string) {
	for _, ch := range p.Changes {
		if ch.New == nil {
			deletes = append(deletes, ch.Key)
		} else {
			puts = append(puts, ch.Key)
		}
	}
	return puts, deletes
}

type applier struct {
	p       *Plan
	c       catalog.Catalog
	o       Options
	j       *Journal
	active  int64 // revision of activeKey; 0 = absent
	barred  bool  // sessions are compared in each transaction
	resumed bool
	export  string
}

// begin looks at everything that can refuse, whatever was found before, and saves
// the keys as they are.
func (a *applier) begin(ctx context.Context, gate Gate) error {
	var r refusals
	if err := a.p.mayApply(ctx, a.c, a.o, &r); err != nil {
		return err
	}
	puts, deletes := a.p.touches()
	if err := proveWrite(ctx, a.c, a.p.ID, puts, deletes, &r); err != nil {
		return err
	}
	log, listed, err := checkLive(ctx, a.c, gate, &r)
	if err != nil {
		return err
	}
	a.barred = listed
	checkLog(a.p.Binding.Log, log, &r)
	if err := a.p.prove(ctx, log, &r); err != nil {
		return err
	}
	if err := a.journal(ctx, &r); err != nil {
		return err
	}
	var keys []string
	for _, ch := range a.p.Changes {
		keys = append(keys, ch.Key)
	}
	now, err := readPresent(ctx, a.c, a.p.PChannel, keys)
	if err != nil {
		return err
	}
	a.unchanged(now, &r)
	if err := r.err(a.o.IKnowItIsStopped); err != nil {
		e := err.(*RefusedError) //nolint:errorlint // refusals.err returns nothing else
		e.Journal, e.Written = a.p.ID, a.j.Done
		return e
	}
	return a.save(ctx, now)
}

// journal finds this plan's journal, or starts one, and any other that is open.
func (a *applier) journal(ctx context.Context, r *refusals) error {
	j, err := findJournal(ctx, a.c, a.p.ID)
	if err != nil {
		return err
	}
	switch {
	case j == nil:
	case j.PlanDigest != a.p.Digest:
		return fmt.Errorf("journal %s: %w: it belongs to another plan", j.ID, ErrCorrupt)
	case j.State != Applying:
		r.seen(CodeAppliedBefore, "make a new plan", "this plan was applied by %s at %s and is %s", j.Who, j.Started.Format("2006-01-02T15:04:05Z07:00"), j.State)
	}
	active, err := get(ctx, a.c, activeKey)
	if err != nil {
		return err
	}
	if active != nil {
		a.active = active.ModRevision
		if other := string(active.Value); other != a.p.ID {
			r.seen(CodeHalfDone, "finish it with its plan, or undo its journal first", "plan %s is half done", other)
		}
	}
	if j != nil {
		a.j, a.resumed = j, true
		if j.State == Applying {
			return a.o.settled(ctx, a.c, j, r)
		}
		return nil
	}
	cuts, err := cut(a.p.Changes, a.c.Limits())
	if err != nil {
		return err
	}
	milvus := a.p.Binding.Milvus
	if a.o.Milvus != "" {
		milvus = a.o.Milvus
	}
	a.j = &Journal{
		Schema: JournalSchema, ID: a.p.ID, PlanDigest: a.p.Digest, PChannel: a.p.PChannel, Log: a.p.Binding.Log, State: Applying,
		Who: a.o.Who, Reason: a.o.Reason, Started: a.o.now(), Walctl: a.o.Walctl, Milvus: milvus, Overridden: a.o.IKnowItIsStopped, Cuts: cuts,
	}
	return nil
}

// unchanged compares what is not yet written with what the plan was made from.
func (a *applier) unchanged(now present, r *refusals) {
	const next = "make the plan again"
	total := 0
	for _, n := range a.j.Cuts {
		total += n
	}
	if total != len(a.p.Changes) {
		r.seen(CodeTampered, next, "journal %s was cut for another plan", a.j.ID)
		return
	}
	left, before := a.p.Changes, len(*r)
	for i, n := range a.j.Cuts {
		if i >= a.j.Done {
			stillAsRead(left[:n], now, r)
		}
		left = left[n:]
	}
	named := len(*r) > before // a key of the plan is in the digest too
	if a.j.Done == 0 && !named && readDigest(a.p.PChannel, now.revisions()) != a.p.ReadDigest {
		r.seen(CodeChanged, next, "keys of %s were added, changed or removed since the plan was made", a.p.PChannel)
	}
}

func stillAsRead(changes []Change, now present, r *refusals) {
	for _, ch := range changes {
		if got := now[ch.Key].ModRevision; got != ch.ModRevision || sum(now.value(ch.Key)) != sum(ch.Old) {
			r.seen(CodeChanged, "make the plan again", "%s is at revision %d, the plan was made at %d", ch.Key, got, ch.ModRevision)
		}
	}
}

// save writes the keys as they are to a file, once.
func (a *applier) save(ctx context.Context, now present) error {
	if a.o.ExportDir == "" || len(a.p.Changes) == 0 {
		return nil
	}
	kv := make(map[string][]byte, len(now))
	for k := range now {
		kv[k] = now.value(k)
	}
	name := "walctl-" + a.p.ID + "-before.json"
	if a.j.Done > 0 {
		name = fmt.Sprintf("walctl-%s-after-%d.json", a.p.ID, a.j.Done)
	}
	a.export = filepath.Join(a.o.ExportDir, name)
	err := catalog.Create(ctx, "kvjson:"+a.export, kv, catalog.Options{})
	if errors.Is(err, catalog.ErrExists) {
		return nil // of the same moment: the name says which
	}
	return err
}

func (a *applier) run(ctx context.Context) (res Result, err error) {
	res = Result{Journal: a.p.ID, Resumed: a.resumed, Export: a.export, Keys: len(a.p.Changes)}
	defer func() { res.KeysWritten = a.j.keys(a.j.Done) }()
	if len(a.p.Changes) == 0 {
		return res, nil
	}
	from := 0
	for _, n := range a.j.Cuts[:a.j.Done] {
		from += n
	}
	for a.j.Done < len(a.j.Cuts) {
		n := a.j.Cuts[a.j.Done]
		if err := a.transaction(ctx, a.p.Changes[from:from+n]); err != nil {
			a.j = asItStands(ctx, a.c, a.j)
			return res, err
		}
		from += n
		res.Transactions++
		a.o.progress(a.j.Done, len(a.j.Cuts))
	}
	return res, nil
}

// lookAgain is how long an apply or undo that was ended looks for how far it came.
const lookAgain = 500 * time.Millisecond

// asItStands reads how far a journal has come after a transaction ended in an
// error: cut off, it may have been written all the same.
func asItStands(ctx context.Context, c catalog.Catalog, j *Journal) *Journal {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookAgain)
	defer cancel()
	if now, err := findJournal(ctx, c, j.ID); err == nil && now != nil {
		return now
	}
	return j
}

// transaction writes one batch with its record, the header and, while the plan is
// half done, the mark that it is.
func (a *applier) transaction(ctx context.Context, changes []Change) error {
	next := *a.j
	next.Done++
	next.Updated = a.o.now()
	last := next.Done == len(next.Cuts)
	if last {
		now, err := readPresent(ctx, a.c, a.p.PChannel, nil)
		if err != nil {
			return err
		}
		next.State, next.Result = Applied, now.digest(a.p.PChannel, changes)
	}
	t := newTxn(a.barred, &next)
	t.guard.Revisions[headerKey(a.j.ID)] = a.j.revision
	t.guard.Revisions[recordKey(a.j.ID, a.j.Done)] = 0
	rec := record{Schema: JournalSchema}
	for _, ch := range changes {
		t.set(ch.Key, ch.ModRevision, ch.New)
		rec.Entries = append(rec.Entries, recordEntry{Key: ch.Key, Old: ch.Old, New: sum(ch.New)})
	}
	if err := t.json(recordKey(a.j.ID, a.j.Done), rec); err != nil {
		return err
	}
	t.mark(a.j.ID, a.active, !last)
	if err := t.commit(ctx, a.c, a.j); err != nil {
		return err
	}
	a.active, a.j = t.activeRev, &next
	return nil
}

// cut divides changes into transactions that fit, with room for the journal.
func cut(changes []Change, l catalog.Limits) ([]int, error) {
	ops, bytes := l.Ops-5, l.Bytes-(16<<10)-8*len(changes)/100
	if l.Ops == 0 {
		ops = len(changes)
	}
	var cuts []int
	n, size := 0, 0
	for _, ch := range changes {
		// The key twice, the new value, the old one in base64, and a checksum.
		cost := 2*len(ch.Key) + len(ch.New) + len(ch.Old)*4/3 + 128
		if l.Bytes > 0 && cost > bytes {
			return nil, fmt.Errorf("%s does not fit into one transaction with its old value (%d bytes, limit %d): %w", ch.Key, cost, l.Bytes, catalog.ErrTooLarge)
		}
		if n > 0 && (n >= ops || l.Bytes > 0 && size+cost > bytes) {
			cuts, n, size = append(cuts, n), 0, 0
		}
		n, size = n+1, size+cost
	}
	if n > 0 {
		cuts = append(cuts, n)
	}
	return cuts, nil
}

// txn is a guarded transaction being put together.
type txn struct {
	guard     catalog.Guard
	puts      map[string][]byte
	deletes   []string
	header    *Journal
	activeRev int64 // after the commit, where the catalog can tell
}

func newTxn(barred bool, header *Journal) *txn {
	t := &txn{guard: catalog.Guard{Revisions: map[string]int64{}}, puts: map[string][]byte{}, header: header}
	if barred {
		t.guard.Empty = catalog.SessionRanges()
	}
	return t
}

func (t *txn) set(key string, revision int64, value []byte) {
	t.guard.Revisions[key] = revision
	if value == nil {
		t.deletes = append(t.deletes, key)
	} else {
		t.puts[key] = value
	}
}

func (t *txn) json(key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	t.puts[key] = b
	return nil
}

// mark sets or clears the mark that a plan is half done.
func (t *txn) mark(id string, revision int64, set bool) {
	t.guard.Revisions[activeKey] = revision
	switch {
	case set && revision == 0:
		t.puts[activeKey] = []byte(id)
	case !set && revision != 0:
		t.deletes = append(t.deletes, activeKey)
	}
}

// commit writes the transaction and notes the revisions it gave to the journal.
func (t *txn) commit(ctx context.Context, c catalog.Catalog, was *Journal) error {
	if err := t.json(headerKey(t.header.ID), t.header); err != nil {
		return err
	}
	if _, err := c.Txn(ctx, t.guard, t.puts, t.deletes); err != nil {
		return explain(ctx, c, err, was)
	}
	// What the guards of the next transaction ask for is read back, since not
	// every place gives the keys the revision of the transaction.
	header, err := get(ctx, c, headerKey(t.header.ID))
	if err != nil {
		return fmt.Errorf("%w (journal %s): %w", ErrUnknownOutcome, was.ID, err)
	}
	if header == nil || !bytes.Equal(header.Value, t.puts[headerKey(t.header.ID)]) {
		return refuse(CodeRaced, "another walctl moves journal "+was.ID, "wait for it, then list the journals")
	}
	t.header.revision = header.ModRevision
	active, err := get(ctx, c, activeKey)
	if err != nil {
		return fmt.Errorf("%w (journal %s): %w", ErrUnknownOutcome, was.ID, err)
	}
	if active != nil {
		t.activeRev = active.ModRevision
	}
	return nil
}

// explain turns what the catalog said about a transaction into what it means.
func explain(ctx context.Context, c catalog.Catalog, err error, j *Journal) error {
	conflict, ok := catalog.IsConflict(err)
	switch {
	case ok:
	case errors.Is(err, catalog.ErrDenied):
		var r refusals
		r.denied(err)
		e := &RefusedError{Reasons: r}
		e.Journal, e.Written, e.cause = j.ID, j.Done-j.Taken, err
		return e
	case errors.Is(err, catalog.ErrTooLarge), errors.Is(err, catalog.ErrReadOnly):
		return err
	default:
		return fmt.Errorf("%w (journal %s): %w", ErrUnknownOutcome, j.ID, err)
	}
	var r refusals
	for _, ch := range conflict.Changed {
		if strings.HasPrefix(ch.Key, catalog.JournalPrefix) {
			r.seen(CodeRaced, "wait for it, then list the journals", "another walctl wrote %s", ch.Key)
			continue
		}
		r.seen(CodeChanged, "", "%s is at revision %d, not %d", ch.Key, ch.Got, ch.Want)
	}
	named := map[string]catalog.Session{}
	if sessions, err := catalog.Sessions(ctx, c); err == nil {
		for _, s := range sessions {
			named[s.Key] = s
		}
	}
	for _, key := range conflict.Present {
		s, ok := named[key]
		if !ok {
			r.seen(CodeLiveSession, "stop it", "%s came up meanwhile", key)
			continue
		}
		r.seen(CodeLiveSession, stopHint(s), "%s came up meanwhile", s)
	}
	e := &RefusedError{Reasons: r, Journal: j.ID, Written: j.Done - j.Taken, cause: err}
	return e
}
