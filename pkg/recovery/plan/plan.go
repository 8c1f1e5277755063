package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// SchemaVersion stands in every plan file.
const (
	SchemaVersion = planSchemas + "v1"
	planSchemas   = "walctl/plan/"
)

// Kind is a kind of repair. Each can be chosen alone.
type Kind string

// The kinds of repair.
const (
	KindReplayed      Kind = "replayed-state"   // bring the catalog to what the log says
	KindRebuild       Kind = "rebuild"          // make lost keys again, wholly from the log
	KindMovePosition  Kind = "move-position"    // a position that points nowhere, to the best surviving one
	KindRegister      Kind = "register-channel" // a vchannel the catalog does not know
	KindRemoveOrphans Kind = "remove-orphans"   // orphan and half-written keys
	KindAlterWAL      Kind = "alter-wal"        // a stale alter_wal_state, finished or dropped
	KindTrailingSlash Kind = "trailing-slash"   // singletons in the other spelling
	KindImport        Kind = "import"           // keys an operator brings
)

// Kinds lists every kind of repair.
func Kinds() []Kind {
	return []Kind{KindReplayed, KindRebuild, KindMovePosition, KindRegister, KindUnregister, KindRemoveOrphans, KindAlterWAL, KindTrailingSlash, KindImport}
}

// Change is one key. Old and New are nil where there is no such key, and empty
// where its value is empty.
type Change struct {
	Key         string `json:"key"` // relative to the root
	Old         []byte `json:"old"`
	New         []byte `json:"new"`
	ModRevision int64  `json:"mod_revision"` // of Old, as read; 0 = no such key
	Kind        Kind   `json:"kind"`
	Reason      string `json:"reason"` // finding code
}

// Blast is what a change costs one vchannel, in numbers of the log.
type Blast struct {
	VChannel string `json:"vchannel"`
	Rows     int64  `json:"rows"`
	Deletes  int64  `json:"deletes"`
	DDL      int64  `json:"ddl"`
	Txns     int64  `json:"transactions"`
	Unknown  bool   `json:"unknown,omitempty"` // part of the log that would tell is gone
}

// MilvusRate is how many messages a second Milvus's own recovery replays on the
// class of machine walctl's rates are measured on.
const MilvusRate = 82_000

// MilvusSeconds estimates how long Milvus's own recovery replays so many messages.
func MilvusSeconds(messages int64) int64 { return (messages + MilvusRate - 1) / MilvusRate }

// Replay is what a restart reads from its checkpoint on before it serves, on the
// catalog as the plan found it.
type Replay struct {
	Messages      int64 `json:"messages"`
	Bytes         int64 `json:"bytes"`          // of payload, as stored
	MilvusSeconds int64 `json:"milvus_seconds"` // at MilvusRate
}

// Gap is a stretch of the log that was not read.
type Gap struct {
	From     string `json:"from"` // ids as printed, both inclusive
	To       string `json:"to"`
	Cause    string `json:"cause"`
	Accepted bool   `json:"accepted,omitempty"` // named with --accept-gap
}

// Name is how --accept-gap names the gap: 15/1516/0..16/2/0.
func (g Gap) Name() string { return g.From + ".." + g.To }

// Coverage is what of the log the plan was made from.
type Coverage struct {
	From     string `json:"from,omitempty"` // first and last id read
	To       string `json:"to,omitempty"`
	Messages int64  `json:"messages"`
	// Digest tells the records read from any others; apply reads them again. "" where
	// they cannot be read twice, or by a walctl that kept none.
	Digest      string `json:"digest,omitempty"`
	Gaps        []Gap  `json:"gaps,omitempty"`
	Filter      string `json:"filter,omitempty"` // what was left out on purpose
	Until       string `json:"until,omitempty"`  // where the replay stopped on purpose
	Undecodable int64  `json:"undecodable,omitempty"`
}

// Log names the log a plan was made from.
type Log struct {
	Location     string   `json:"location"` // topic, or path
	Ledgers      []string `json:"ledgers,omitempty"`
	LastID       string   `json:"last_id"`
	LastTimeTick uint64   `json:"last_time_tick,omitempty,string"`
}

// Binding says what a plan may be applied to.
type Binding struct {
	// Catalog is how it was reached, without credentials; another address of the
	// same cluster will do as well.
	Catalog     string `json:"catalog,omitempty"`
	CatalogKind string `json:"catalog_kind"`
	ClusterID   string `json:"cluster_id,omitempty"`
	Root        string `json:"root"`
	// Log is empty where the plan does not depend on one.
	Log    Log    `json:"log"`
	Walctl string `json:"walctl_version"`
	// Milvus is the version whose rules were followed; apply demands it.
	Milvus string `json:"milvus_version,omitempty"`
}

// Plan is what to change, why, at what cost, made from what. It is a value:
// Build makes it, Read checks it, nothing changes it.
type Plan struct {
	Schema        string    `json:"schema"`
	ID            string    `json:"id"` // its journal's id as well
	Created       time.Time `json:"created"`
	PChannel      string    `json:"pchannel"`
	Binding       Binding   `json:"binding"`
	Coverage      Coverage  `json:"coverage"`
	Applicable    bool      `json:"applicable"`
	NotApplicable []string  `json:"not_applicable,omitempty"` // why not
	Changes       []Change  `json:"changes"`                  // in the order they are written
	Blast         []Blast   `json:"blast_radius,omitempty"`
	Replay        *Replay   `json:"restart_replays,omitempty"`
	Notes         []string  `json:"notes,omitempty"` // what the log cannot give back
	// ReadDigest is the SHA-256 of the keys and revisions of the WAL's whole
	// prefix as read: a key that was added or left since then shows in it.
	ReadDigest string `json:"read_digest"`
	Digest     string `json:"digest"` // SHA-256 of the JSON of all above
}

// Empty reports whether there is nothing to change.
func (p *Plan) Empty() bool { return len(p.Changes) == 0 }

// digest is the SHA-256 of the plan's JSON without Digest and ID. A plan has as many
// changes as a catalog has keys, so that they are encoded one at a time; plain is false
// where JSON replaces bytes that are no text.
func (p *Plan) digest() (sum string, plain bool, err error) {
	q := *p
	q.Digest, q.ID, q.Changes = "", "", nil
	const none = `"changes":null` // nothing else spells it: in text the quotes are escaped
	b, err := json.Marshal(&q)
	before, after, ok := bytes.Cut(b, []byte(none))
	if err != nil || !ok {
		return "", false, fmt.Errorf("encode plan: %w", err)
	}
	h, plain := sha256.New(), true
	put := func(text []byte) {
		_, _ = h.Write(text)
		plain = plain && !bytes.Contains(text, []byte(`\ufffd`))
	}
	put(before)
	var room []byte
	if p.Changes == nil {
		put([]byte(none))
	} else {
		put([]byte(`"changes":[`))
		for i := range p.Changes {
			if i > 0 {
				put([]byte{','})
			}
			if room, err = p.Changes[i].appendJSON(room[:0]); err != nil {
				return "", false, fmt.Errorf("encode plan: %w", err)
			}
			put(room)
		}
		put([]byte{']'})
	}
	put(after)
	return hex.EncodeToString(h.Sum(nil)), plain, nil
}

// appendJSON appends what encoding/json makes of the change: itself where the text needs
// no escapes, as that of nearly every change, since a plan may have a million.
func (c *Change) appendJSON(b []byte) ([]byte, error) {
	if !plainText(c.Key) || !plainText(string(c.Kind)) || !plainText(c.Reason) {
		text, err := json.Marshal(c)
		return append(b, text...), err
	}
	bytesOf := func(name string, value []byte) {
		b = append(b, name...)
		if value == nil {
			b = append(b, "null"...)
			return
		}
		b = append(base64.StdEncoding.AppendEncode(append(b, '"'), value), '"')
	}
	b = append(append(append(b, `{"key":"`...), c.Key...), '"')
	bytesOf(`,"old":`, c.Old)
	bytesOf(`,"new":`, c.New)
	b = strconv.AppendInt(append(b, `,"mod_revision":`...), c.ModRevision, 10)
	b = append(append(append(b, `,"kind":"`...), c.Kind...), '"')
	b = append(append(append(b, `,"reason":"`...), c.Reason...), '"')
	return append(b, '}'), nil
}

// plainText reports whether JSON spells a text as it is.
func plainText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}

// seal sets Digest and ID.
func (p *Plan) seal() error {
	d, plain, err := p.digest()
	if err == nil && !plain {
		if err = p.toText(); err == nil {
			d, _, err = p.digest()
		}
	}
	if err != nil {
		return err
	}
	p.Digest, p.ID = d, planID(p.Created, d)
	return nil
}

// toText makes the plan what its file will say: JSON keeps text only, so bytes of a
// name or a cause that are none are replaced. Keys are refused before (Build).
func (p *Plan) toText() error {
	b, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode plan: %w", err)
	}
	q := Plan{}
	if err := json.Unmarshal(b, &q); err != nil {
		return fmt.Errorf("encode plan: %w", err)
	}
	*p = q
	return nil
}

func planID(created time.Time, digest string) string {
	return created.UTC().Format("20060102T150405Z") + "-" + digest[:8]
}

// Verify holds the plan to its schema version and digest. A plan that was
// changed by hand is a *RefusedError.
func (p *Plan) Verify() error {
	if p.Schema != SchemaVersion {
		return refuse(CodePlanSchema, fmt.Sprintf("the plan has schema %q, this walctl applies %q", p.Schema, SchemaVersion), "make the plan again with this walctl")
	}
	d, _, err := p.digest()
	if err != nil {
		return err
	}
	if d != p.Digest || p.ID != planID(p.Created, d) {
		return refuse(CodeTampered, "the plan is not as walctl wrote it: its digest does not match", "make the plan again")
	}
	return nil
}
