package plan

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// JournalSchema stands in every journal.
const JournalSchema = "walctl/journal/v1"

// The keys of the journal (wire format).
const (
	activeKey     = catalog.JournalPrefix + "active"
	journalPrefix = catalog.JournalPrefix + "journal/"
	recordPrefix  = catalog.JournalPrefix + "record/"
	// maxJournal bounds a journal value that is decoded, in bytes; maxCut the
	// changes of one transaction.
	maxJournal = 64 << 20
	maxCut     = 1 << 24
)

// State is how far a journal's plan has come.
type State string

// The states, in the order they are passed.
const (
	Applying State = "applying"
	Applied  State = "applied"
	Undoing  State = "undoing"
	Undone   State = "undone"
	// Damaged is the state of a header that cannot be read, or of a newer walctl.
	Damaged State = "damaged"
)

// Journal is the header of one apply, as it stands in the catalog.
type Journal struct {
	Schema     string    `json:"schema"`
	ID         string    `json:"id"` // the plan's
	PlanDigest string    `json:"plan_digest"`
	PChannel   string    `json:"pchannel"`
	Log        Log       `json:"log"`
	State      State     `json:"state"`
	Who        string    `json:"who"`
	Reason     string    `json:"reason"`
	Started    time.Time `json:"started"`
	Updated    time.Time `json:"updated"`
	Walctl     string    `json:"walctl_version"`
	Milvus     string    `json:"milvus_version"`
	// Overridden: somebody vouched that what could not be listed was stopped.
	Overridden bool `json:"overridden,omitempty"`
	// Cuts is how many changes each transaction has; Done and Taken how many
	// transactions are written, and taken back again.
	Cuts  []int `json:"cuts"`
	Done  int   `json:"done"`
	Taken int   `json:"taken,omitempty"`
	// Result is the SHA-256 of the WAL's keys and values as the plan left them.
	Result     string `json:"result,omitempty"`
	UndoneBy   string `json:"undone_by,omitempty"`
	UndoReason string `json:"undo_reason,omitempty"`
	// Problem says what is wrong with a Damaged one; no header keeps it.
	Problem string `json:"problem,omitempty"`

	revision int64 // of the header's key
	err      error // why it is Damaged
}

// record is what one transaction replaced.
type record struct {
	Schema  string        `json:"schema"`
	Entries []recordEntry `json:"entries"`
}

type recordEntry struct {
	Key string `json:"key"`
	Old []byte `json:"old"` // null = there was no such key
	New string `json:"new"` // SHA-256 of what was written, in hex; "" = deleted
}

func headerKey(id string) string { return journalPrefix + id }

func recordKey(id string, n int) string { return fmt.Sprintf("%s%s/%06d", recordPrefix, id, n) }

func sum(value []byte) string {
	if value == nil {
		return ""
	}
	s := sha256.Sum256(value)
	return hex.EncodeToString(s[:])
}

// keys is how many keys the plan's first n transactions write.
func (j *Journal) keys(n int) int {
	sum := 0
	for _, c := range j.Cuts[:n] {
		sum += c
	}
	return sum
}

// Standing is how many keys of the plan are written now, of how many.
func (j *Journal) Standing() (written, of int) { return j.keys(j.Done - j.Taken), j.keys(len(j.Cuts)) }

// Journals lists the journals of a catalog, oldest first. One whose header cannot
// be read hides no other: it is listed as Damaged, in front.
func Journals(ctx context.Context, c catalog.Catalog) ([]Journal, error) {
	kvs, _, err := c.Range(ctx, journalPrefix)
	if err != nil {
		return nil, fmt.Errorf("list journals: %w", err)
	}
	var out []Journal
	for _, kv := range kvs {
		j, err := parseJournal(kv)
		if err != nil {
			j = &Journal{ID: strings.TrimPrefix(kv.Key, journalPrefix), State: Damaged, Problem: err.Error(), err: err}
		}
		out = append(out, *j)
	}
	slices.SortFunc(out, func(a, b Journal) int {
		return cmp.Or(a.Started.Compare(b.Started), strings.Compare(a.ID, b.ID))
	})
	return out, nil
}

// parseJournal reads a header and refuses one whose numbers do not fit together:
// it stands where anybody with access to the catalog can write.
func parseJournal(kv catalog.KV) (*Journal, error) {
	j := &Journal{}
	if err := decodeJSON(kv, j); err != nil {
		return nil, err
	}
	j.revision, j.Problem = kv.ModRevision, ""
	ok := j.Schema == JournalSchema && kv.Key == headerKey(j.ID) && j.Done >= 0 && j.Done <= len(j.Cuts) && j.Taken >= 0 && j.Taken <= j.Done
	for _, n := range j.Cuts {
		ok = ok && n > 0 && n <= maxCut
	}
	if !ok {
		return nil, fmt.Errorf("journal %s: %w: not a header this walctl wrote", kv.Key, ErrCorrupt)
	}
	return j, nil
}

func decodeJSON(kv catalog.KV, v any) error {
	if len(kv.Value) > maxJournal {
		return fmt.Errorf("journal %s: %w: %d bytes", kv.Key, ErrCorrupt, len(kv.Value))
	}
	if err := json.Unmarshal(kv.Value, v); err != nil {
		return fmt.Errorf("journal %s: %w: %w", kv.Key, ErrCorrupt, err)
	}
	return nil
}

// findJournal returns a journal's header, or nil where there is none.
func findJournal(ctx context.Context, c catalog.Catalog, id string) (*Journal, error) {
	kv, err := get(ctx, c, headerKey(id))
	if err != nil || kv == nil {
		return nil, err
	}
	return parseJournal(*kv)
}

func readRecord(ctx context.Context, c catalog.Catalog, j *Journal, n int) (*record, int64, error) {
	kv, err := get(ctx, c, recordKey(j.ID, n))
	if err != nil {
		return nil, 0, err
	}
	if kv == nil {
		return nil, 0, fmt.Errorf("journal %s: %w: record %d is missing", j.ID, ErrCorrupt, n)
	}
	r := &record{}
	if err := decodeJSON(*kv, r); err != nil {
		return nil, 0, err
	}
	if r.Schema != JournalSchema || len(r.Entries) != j.Cuts[n] {
		return nil, 0, fmt.Errorf("journal %s: %w: record %d is not one this walctl wrote", j.ID, ErrCorrupt, n)
	}
	return r, kv.ModRevision, nil
}

// get reads one key; nil = there is none.
func get(ctx context.Context, c catalog.Catalog, key string) (*catalog.KV, error) {
	kvs, _, err := c.Range(ctx, key)
	if err != nil {
		return nil, err
	}
	for i := range kvs {
		if kvs[i].Key == key {
			return &kvs[i], nil
		}
	}
	return nil, nil
}

// present is the state of the keys a plan is about: the WAL's whole prefix and
// single keys outside it.
type present map[string]catalog.KV

func readPresent(ctx context.Context, c catalog.Catalog, pchannel string, keys []string) (present, error) {
	prefix := catalog.WALPrefix(pchannel)
	kvs, _, err := c.Range(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("read the WAL's keys: %w", err)
	}
	p := present{}
	for _, kv := range kvs {
		p[kv.Key] = kv
	}
	for _, k := range keys {
		if strings.HasPrefix(k, prefix) {
			continue
		}
		kv, err := get(ctx, c, k)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", k, err)
		}
		if kv != nil {
			p[k] = *kv
		}
	}
	return p, nil
}

func (p present) revisions() map[string]int64 {
	out := make(map[string]int64, len(p))
	for k, kv := range p {
		out[k] = kv.ModRevision
	}
	return out
}

// value returns a key's value, nil where there is none.
func (p present) value(key string) []byte {
	kv, ok := p[key]
	if !ok {
		return nil
	}
	return notNil(kv.Value)
}

// digest is the SHA-256 of the WAL's keys and values, with changes applied.
func (p present) digest(pchannel string, changes []Change) string {
	prefix := catalog.WALPrefix(pchannel)
	values := map[string]string{}
	for k, kv := range p {
		if strings.HasPrefix(k, prefix) {
			values[k] = sum(notNil(kv.Value))
		}
	}
	for _, c := range changes {
		if !strings.HasPrefix(c.Key, prefix) {
			continue
		}
		if c.New == nil {
			delete(values, c.Key)
		} else {
			values[c.Key] = sum(c.New)
		}
	}
	var b bytes.Buffer
	for _, k := range sortedKeys(values) {
		fmt.Fprintf(&b, "%d %s %s\n", len(k), k, values[k])
	}
	return sum(b.Bytes())
}
