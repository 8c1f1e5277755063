package catalog

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
)

// Revision is the state of a catalog something was read at. Later states have
// higher ones on etcd and bbolt; a JSON file's is a checksum, good only to tell
// whether two are the same.
type Revision int64

// KV is one key as read. Revisions are etcd's; the other places keep their own
// with the same meaning: ModRevision is 0 for a key that does not exist and
// differs after every change of the value.
type KV struct {
	Key            string // relative to the root
	Value          []byte // never nil, so that nil can mean "no such key"
	CreateRevision int64
	ModRevision    int64
	Lease          int64 // etcd lease the key dies with; 0 = none
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Identity says which catalog it is, apart from the address it is reached by.
type Identity struct {
	Kind      string `json:"kind"`                 // etcd, file, kvjson or snapshot
	ClusterID string `json:"cluster_id,omitempty"` // etcd's, in hex; the file's own; empty where the place has none
	Root      string `json:"root"`                 // the metadata root, no slash at its ends
}

// KeyRange is the keys from From (inclusive) to To (exclusive), relative to the root.
type KeyRange struct{ From, To string }

// PrefixRange returns the range of every key that begins with prefix. An empty
// prefix means the whole root.
func PrefixRange(prefix string) KeyRange { return KeyRange{From: prefix, To: prefixEnd(prefix)} }

// Contains reports whether key lies in the range. An empty To has no upper end.
func (r KeyRange) Contains(key string) bool { return key >= r.From && (r.To == "" || key < r.To) }

// prefixEnd is the first key after all that begin with prefix; "" = none.
func prefixEnd(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return ""
}

// SessionRanges returns the ranges in which every key is a live Milvus process:
// the session prefix without the id counter, which outlives them all.
func SessionRanges() []KeyRange {
	return []KeyRange{
		{From: SessionPrefix, To: SessionCounterKey},
		{From: SessionCounterKey + "\x00", To: prefixEnd(SessionPrefix)},
	}
}

// Guard is what must hold, inside the transaction, for it to be committed.
type Guard struct {
	// Revisions maps a key to the ModRevision it must have; 0 = it must not exist.
	Revisions map[string]int64
	// Empty lists ranges that must hold no key.
	Empty []KeyRange
}

// NeverRevision is a ModRevision no key ever has. A transaction guarded with it
// writes nothing, but is refused where the credentials may not write: the proof
// of permission before anything is done.
const NeverRevision int64 = -1

// ProveWrite shows that the credentials may put and delete these keys, by a
// transaction whose guard, on the key named, cannot hold: nothing is written. Errors
// are those of Txn.
func ProveWrite(ctx context.Context, c Catalog, guarded string, puts map[string][]byte, deletes []string) error {
	guard := Guard{Revisions: map[string]int64{guarded: NeverRevision}}
	_, err := c.Txn(ctx, guard, puts, deletes)
	if _, ok := IsConflict(err); ok {
		return nil
	}
	if err == nil {
		err = errors.New("the catalog committed a transaction whose guard cannot hold")
	}
	return fmt.Errorf("prove write permission: %w", err)
}

// Limits is what one transaction takes.
type Limits struct {
	Ops   int // of compares, and of puts plus deletes; each counts alone
	Bytes int // of keys and values together
}

// Catalog is one metadata store. All keys are relative to its root. Methods obey
// the context and may be called from several goroutines.
type Catalog interface {
	// Load reads and decodes every key of one pchannel's WAL, all at one
	// revision. A pchannel without any key gives empty Metadata and no error.
	Load(ctx context.Context, pchannel string) (Metadata, Revision, error)
	// Range returns the keys that begin with prefix, in key order, all as of one
	// revision.
	Range(ctx context.Context, prefix string) ([]KV, Revision, error)
	// Txn puts and deletes all or nothing, if the guard holds. A guard that does
	// not hold is a *ConflictError and nothing was written. After any other error
	// but ErrDenied, ErrReadOnly and ErrTooLarge it is not known whether it was.
	Txn(ctx context.Context, guard Guard, puts map[string][]byte, deletes []string) (Revision, error)
	// Identity says which catalog this is.
	Identity(ctx context.Context) (Identity, error)
	// Limits says how large a transaction may be.
	Limits() Limits
	// Close releases what the catalog holds; a second call does nothing.
	Close() error
}

// KeyConflict is a key that is not at the revision a guard asked for.
type KeyConflict struct {
	Key       string
	Want, Got int64 // 0 = no such key
}

// ConflictError is a guard that did not hold.
type ConflictError struct {
	Changed []KeyConflict // keys at another revision
	Present []string      // keys found where there must be none (at most some)
}

// Error implements error.
func (e *ConflictError) Error() string {
	var b strings.Builder
	b.WriteString("the catalog is not as it was")
	for i, c := range e.Changed {
		if i == 3 {
			fmt.Fprintf(&b, "; and %d more keys", len(e.Changed)-i)
			break
		}
		switch {
		case c.Got == 0:
			fmt.Fprintf(&b, "; %s is gone", c.Key)
		case c.Want == 0:
			fmt.Fprintf(&b, "; %s exists", c.Key)
		default:
			fmt.Fprintf(&b, "; %s was changed (revision %d, not %d)", c.Key, c.Got, c.Want)
		}
	}
	if len(e.Present) > 0 {
		fmt.Fprintf(&b, "; found %s", strings.Join(e.Present, ", "))
	}
	return b.String()
}

// IsConflict returns the conflict in err, if it is one.
func IsConflict(err error) (*ConflictError, bool) {
	var c *ConflictError
	ok := errors.As(err, &c)
	return c, ok
}

// checkGuard holds a guard against a store that can be asked key by key. walk
// calls back for the keys of a range until told to stop.
func checkGuard(g Guard, revision func(string) int64, walk func(KeyRange, func(string) bool)) error {
	c := &ConflictError{}
	for key, want := range g.Revisions {
		if got := revision(key); got != want {
			c.Changed = append(c.Changed, KeyConflict{Key: key, Want: want, Got: got})
		}
	}
	for _, r := range g.Empty {
		walk(r, func(key string) bool {
			c.Present = append(c.Present, key)
			return len(c.Present) < maxPresent
		})
	}
	return c.orNil()
}

// maxPresent bounds how many keys a ConflictError names.
const maxPresent = 32

func (e *ConflictError) orNil() error {
	if len(e.Changed) == 0 && len(e.Present) == 0 {
		return nil
	}
	sort.Slice(e.Changed, func(i, j int) bool { return e.Changed[i].Key < e.Changed[j].Key })
	return e
}

// checkSize refuses a transaction that l does not take, before anything is sent.
func (l Limits) checkSize(g Guard, puts map[string][]byte, deletes []string) error {
	ops, compares := len(puts)+len(deletes), len(g.Revisions)+len(g.Empty)
	if l.Ops > 0 && max(ops, compares) > l.Ops {
		return fmt.Errorf("a transaction of %d operations and %d comparisons, at most %d: %w", ops, compares, l.Ops, ErrTooLarge)
	}
	size := 0
	for k, v := range puts {
		size += len(k) + len(v)
	}
	if l.Bytes > 0 && size > l.Bytes {
		return fmt.Errorf("a transaction of %d bytes, at most %d: %w", size, l.Bytes, ErrTooLarge)
	}
	return nil
}

// load is Load in terms of Range, the same for every place.
func load(ctx context.Context, c Catalog, pchannel string) (Metadata, Revision, error) {
	kvs, rev, err := c.Range(ctx, WALPrefix(pchannel))
	if err != nil {
		return Metadata{}, 0, err
	}
	return FromKVs(pchannel, kvs), rev, nil
}

// FromKVs decodes a pchannel's keys as Range returned them, revisions and
// problems included.
func FromKVs(pchannel string, kvs []KV) Metadata {
	kv := make(map[string][]byte, len(kvs))
	revisions := make(map[string]int64, len(kvs))
	prefix := WALPrefix(pchannel)
	for _, e := range kvs {
		if strings.HasPrefix(e.Key, prefix) {
			kv[e.Key], revisions[e.Key] = e.Value, e.ModRevision
		}
	}
	md, problems := Decode(pchannel, kv)
	md.Revisions, md.Problems = revisions, problems
	return md
}
