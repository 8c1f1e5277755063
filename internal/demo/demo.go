// Package demo builds logs with a catalog and evidence on disk, each telling one
// story an operator may meet, for people who try walctl without a cluster.
//
//	<dir>/            an archive: every command reads it
//	  catalog.db      the same catalog as a file, to be repaired: --catalog file:
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/archive"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Sentinels for the caller to test.
var (
	ErrUnknown  = errors.New("no such demo")
	ErrOccupied = errors.New("the directory is not empty")
)

// Demo is one story.
type Demo struct {
	Name    string
	Aliases []string // earlier names
	Title   string   // one line
	Next    []string
	Sound   bool // nothing is wrong in it
	build   func(*story) error
}

// named reports whether a name is the demo's.
func (d *Demo) named(name string) bool { return d.Name == name || slices.Contains(d.Aliases, name) }

// Result says what was built.
type Result struct {
	Name     string   `json:"name"`
	Dir      string   `json:"dir"`
	PChannel string   `json:"pchannel"`
	Records  int64    `json:"records"`
	Terms    int      `json:"terms"`
	Keys     int      `json:"catalog_keys"`
	Catalog  string   `json:"catalog"` // as --catalog takes it
	Told     []string `json:"what_happened"`
	Next     []string `json:"next"`
}

// List returns every demo.
func List() []Demo { return slices.Clone(demos[:]) }

// story is a demo being built.
type story struct {
	gen    *walgen.Generator
	ms     []*message.Message
	kv     map[string][]byte // the whole catalog
	saved  int               // where in the log it was left
	told   []string
	gap    string            // as --accept-gap takes it, where the log has one
	memory string            // of the node, as --node-memory takes it
	moment *moment           // nil: no node was looked at
	newer  map[string][]byte // a later copy of the catalog, nil: there is none
}

func (s *story) tell(format string, a ...any) { s.told = append(s.told, fmt.Sprintf(format, a...)) }

// write lets the generator write its log and brings the catalog to where a node
// that stopped cleanly leaves it.
func (s *story) write(cfg walgen.Config) error {
	s.gen = walgen.New(cfg)
	s.ms = s.gen.Messages()
	return s.persist(len(s.ms))
}

// persist replays the log up to the last TimeTick before index end and keeps
// the catalog a node leaves that stops there.
func (s *story) persist(end int) error {
	for end--; end > 0 && (s.ms[end].Type != message.TypeTimeTick || s.ms[end].OpensTerm()); {
		end--
	}
	p, at := s.gen.PChannel(), s.ms[end]
	s.saved = end
	md, _ := catalog.Decode(p, s.gen.CatalogBefore())
	res, err := recovery.Replay(context.Background(), walgen.SliceSource(p, s.ms), md,
		recovery.ReplayOptions{Until: source.Bound{Kind: source.AtTimeTick, TimeTick: at.TimeTick}})
	if err != nil {
		return err
	}
	kv, err := res.State.Persist()
	if err != nil {
		return err
	}
	s.kv = s.gen.ClusterKeys(at)
	for k, v := range kv {
		if strings.HasPrefix(k, catalog.WALPrefix(p)) {
			s.kv[k] = v
		}
	}
	return nil
}

// inject breaks the log in one place; the catalog is that of a node that was
// killed some time before it met the place.
func (s *story) inject(f walgen.Fault, seed uint64) (walgen.Injected, error) {
	ms, truth, err := walgen.Inject(s.ms, f, seed)
	if err != nil {
		return truth, err
	}
	s.ms = ms
	at := slices.IndexFunc(ms, func(m *message.Message) bool { return m.ID == truth.IDs[0] })
	return truth, s.persist(max(at-400, 100))
}

// Build writes a demo's archive and catalog into dir, which must be empty or missing.
func Build(ctx context.Context, name, dir string) (Result, error) {
	i := slices.IndexFunc(demos[:], func(d Demo) bool { return d.named(name) })
	if i < 0 {
		return Result{}, fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return Result{}, fmt.Errorf("build the demo in %s: %w", dir, ErrOccupied)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Result{}, fmt.Errorf("build the demo in %s: %w", dir, err)
	}
	s := &story{}
	if err := demos[i].build(s); err != nil {
		return Result{}, fmt.Errorf("build the demo %s: %w", name, err)
	}
	r := Result{Name: demos[i].Name, Dir: dir, PChannel: s.gen.PChannel(), Records: int64(len(s.ms)), Keys: len(s.kv), Told: s.told}
	for _, m := range s.ms {
		if m.OpensTerm() {
			r.Terms++
		}
	}
	if err := s.archive(ctx, dir); err != nil {
		return Result{}, fmt.Errorf("build the demo in %s: %w", dir, err)
	}
	r.Catalog = "file:" + filepath.Join(dir, "catalog.db")
	if err := catalog.Create(ctx, r.Catalog, s.kv, catalog.Options{}); err != nil {
		return Result{}, fmt.Errorf("build the demo in %s: %w", dir, err)
	}
	if s.newer != nil {
		if err := catalog.Create(ctx, "file:"+filepath.Join(dir, "catalog-later.db"), s.newer, catalog.Options{}); err != nil {
			return Result{}, fmt.Errorf("build the demo in %s: %w", dir, err)
		}
	}
	for _, n := range demos[i].Next {
		r.Next = append(r.Next, os.Expand(n, func(k string) string {
			return map[string]string{"DIR": dir, "CATALOG": r.Catalog, "GAP": s.gap, "MEMORY": s.memory}[k]
		}))
	}
	return r, nil
}

func (s *story) archive(ctx context.Context, dir string) (err error) {
	d := walgen.SliceSource(s.gen.PChannel(), s.ms).Describe()
	w, err := archive.NewWriter(dir, archive.WriterOptions{PChannel: d.PChannel, Backend: d.Backend, Source: "walctl demo", SegmentRows: int64(len(s.ms)+2) / 3})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Abandon())
		} else {
			err = w.Close()
		}
	}()
	for i, m := range s.ms {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.Add(m, int64(i)); err != nil {
			return err
		}
	}
	b, err := json.Marshal(s.kv)
	if err != nil {
		return err
	}
	at := time.UnixMilli(s.ms[len(s.ms)-1].PublishTime).UTC()
	if err := w.AddEvidence(archive.Evidence{Name: source.EvidenceCatalog, CapturedAt: at, Provenance: map[string]string{"from": "walctl demo"}}, b); err != nil || s.moment == nil {
		return err
	}
	return s.moment.store(w, d.PChannel)
}
