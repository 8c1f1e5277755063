package archive

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/walctl/walctl/pkg/walreader/archive/internal/columnfile"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// ManifestVersion is the version of the manifest's schema and of the columns.
const ManifestVersion = 1

// ErrDamaged is wrapped by every error that says bytes of an archive are not
// those that were written.
var ErrDamaged = columnfile.ErrDamaged

// Manifest names what belongs to one pchannel's archive. What it does not name
// is not there. Times are UTC.
type Manifest struct {
	Version   int             `json:"version"`
	PChannel  string          `json:"pchannel"`
	Backend   message.Backend `json:"backend"`
	Source    string          `json:"source"` // where it was captured from; no credentials
	CreatedBy string          `json:"created_by,omitempty"`
	Segments  []Segment       `json:"segments"`
	Gaps      []Gap           `json:"gaps,omitempty"`
	Evidence  []Evidence      `json:"evidence,omitempty"`
	Copied    *Copied         `json:"copied,omitempty"` // nil: it does not tell how whole it is
}

// Segment is a run of rows: one index and one payload file.
type Segment struct {
	First       Position  `json:"first"`
	Last        Position  `json:"last"`
	Rows        int64     `json:"rows"`
	Sorted      bool      `json:"sorted"` // ids rise from row to row
	MinTimeTick uint64    `json:"min_time_tick,string"`
	MaxTimeTick uint64    `json:"max_time_tick,string"`
	TimeTick    uint64    `json:"time_tick,string"` // largest persisted TimeTick up to the segment's end
	Index       FileEntry `json:"index"`
	Payload     FileEntry `json:"payload"`
}

// Position is a row's id and ordinal.
type Position struct {
	A       int64 `json:"a"`
	B       int64 `json:"b"`
	Batch   int32 `json:"batch"`
	Ordinal int64 `json:"ordinal"`
}

// ID returns the position in a log of the backend.
func (p Position) ID(b message.Backend) message.ID {
	return message.ID{Backend: b, A: p.A, B: p.B, Batch: p.Batch}
}

// fits reports whether an id of a log of the backend can stand there.
func (p Position) fits(b message.Backend) bool {
	return !b.Offsets() || p.B == 0 && p.Batch == 0
}

// comparePlace orders two positions of one log by id.
func comparePlace(p, q Position) int {
	return cmp.Or(cmp.Compare(p.A, q.A), cmp.Compare(p.B, q.B), cmp.Compare(p.Batch, q.Batch))
}

// FileEntry names a file and what its bytes must be.
type FileEntry struct {
	Path    string `json:"path"` // below the archive's directory, with slashes
	Bytes   int64  `json:"bytes"`
	Tail    int64  `json:"tail"`        // bytes of indexes and footer at its end
	TailSum uint32 `json:"tail_crc32c"` // of these
	Hash    string `json:"xxh64"`       // of the file, hexadecimal
}

// Gap is a place the source could not give whole while it was captured.
type Gap struct {
	After   Position  `json:"after"` // the last row before it
	At      time.Time `json:"at"`
	Source  string    `json:"source"`
	Place   string    `json:"place"`
	Lost    int64     `json:"lost"` // records; −1 = unknown
	Cause   string    `json:"cause"`
	AtStart bool      `json:"at_start,omitempty"` // before the first row: After is zero
	Places  int64     `json:"places,omitempty"`   // where it stands for several, Place being the first
	Until   string    `json:"until,omitempty"`    // and Until the last of them
}

// Evidence is a file of the same moment beside the log.
type Evidence struct {
	Name       string            `json:"name"`
	Path       string            `json:"path"`
	Bytes      int64             `json:"bytes"`
	Hash       string            `json:"xxh64"`
	CapturedAt time.Time         `json:"captured_at"`
	Provenance map[string]string `json:"provenance,omitempty"` // where it came from: etcd revision, root, cluster id
}

// The manifest file is one line:
//
//	{"checksum":"<xxh64 of the manifest's bytes, 16 hex digits>","manifest":{…}}
//
// compared byte by byte, so that no flip in it goes unseen. It stands twice, as
// <pchannel>.json and <pchannel>.copy.json, written in this order.
const (
	manifestHead = `{"checksum":"`
	manifestMid  = `","manifest":`
	manifestEnd  = "}\n"
)

func manifestPath(pchannel string) string { return "manifest/" + fileSafe(pchannel) + ".json" }
func copyPath(pchannel string) string     { return "manifest/" + fileSafe(pchannel) + ".copy.json" }
func lockPath(pchannel string) string     { return "manifest/" + fileSafe(pchannel) + ".lock" }
func indexDir(pchannel string) string     { return "index/pchannel=" + fileSafe(pchannel) }
func payloadDir(pchannel string) string   { return "payload/pchannel=" + fileSafe(pchannel) }
func evidenceDir(pchannel string) string  { return "evidence/pchannel=" + fileSafe(pchannel) }

func encodeManifest(m *Manifest) ([]byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding the manifest: %w", err)
	}
	return []byte(manifestHead + hashText(xxhash.Sum64(body)) + manifestMid + string(body) + manifestEnd), nil
}

func hashText(h uint64) string { return fmt.Sprintf("%016x", h) }

// decodeManifest trusts nothing: the checksum first, then every value.
func decodeManifest(b []byte) (*Manifest, error) {
	frame := len(manifestHead) + 16 + len(manifestMid) + len(manifestEnd)
	if len(b) < frame || string(b[:len(manifestHead)]) != manifestHead || !bytes.HasSuffix(b, []byte(manifestEnd)) {
		return nil, fmt.Errorf("%w: not a manifest", ErrDamaged)
	}
	sum, rest := string(b[len(manifestHead):len(manifestHead)+16]), b[len(manifestHead)+16:]
	if !bytes.HasPrefix(rest, []byte(manifestMid)) {
		return nil, fmt.Errorf("%w: not a manifest", ErrDamaged)
	}
	body := rest[len(manifestMid) : len(rest)-len(manifestEnd)]
	if sum != hashText(xxhash.Sum64(body)) {
		return nil, fmt.Errorf("%w: manifest checksum differs", ErrDamaged)
	}
	m := new(Manifest)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrDamaged, err)
	}
	return m, m.check()
}

func (m *Manifest) check() error {
	if m.Version != ManifestVersion {
		return fmt.Errorf("manifest version %d; this walctl reads %d: use the version that wrote it", m.Version, ManifestVersion)
	}
	named := make(map[string]bool, 2*len(m.Segments))
	for i := range m.Segments {
		s := &m.Segments[i]
		for _, f := range []FileEntry{s.Index, s.Payload} {
			if err := f.check(); err != nil {
				return fmt.Errorf("manifest: segment %d: %w", i, err)
			}
			if named[f.Path] {
				return fmt.Errorf("%w: manifest: it names %s twice", ErrDamaged, f.Path)
			}
			named[f.Path] = true
		}
		if !s.First.fits(m.Backend) || !s.Last.fits(m.Backend) {
			return fmt.Errorf("%w: manifest: segment %d holds ids %d/%d/%d … %d/%d/%d, which are none of a %s log", ErrDamaged, i,
				s.First.A, s.First.B, s.First.Batch, s.Last.A, s.Last.B, s.Last.Batch, m.Backend)
		}
		if s.Rows <= 0 || s.Rows > 1<<40 {
			return fmt.Errorf("%w: manifest: segment %d of %d rows", ErrDamaged, i, s.Rows)
		}
	}
	for _, e := range m.Evidence {
		if err := checkPath(e.Path); err != nil {
			return fmt.Errorf("manifest: evidence %q: %w", e.Name, err)
		}
	}
	return m.Copied.check()
}

func (f FileEntry) check() error {
	if err := checkPath(f.Path); err != nil {
		return err
	}
	if f.Bytes < 0 || f.Tail < 0 || f.Tail > f.Bytes {
		return fmt.Errorf("%w: %s: %d bytes, footer %d", ErrDamaged, f.Path, f.Bytes, f.Tail)
	}
	return nil
}

var errOutside = errors.New("path leads outside the archive")

// checkPath keeps a manifest from naming a file outside its directory.
func checkPath(p string) error {
	if p == "" || path.IsAbs(p) || path.Clean(p) != p || p == ".." || strings.HasPrefix(p, "../") ||
		strings.ContainsAny(p, "\\:\x00") || !strings.Contains(p, "/") {
		return fmt.Errorf("%w: %q", errOutside, p)
	}
	return nil
}

func entry(path string, s columnfile.Summary) FileEntry {
	return FileEntry{Path: path, Bytes: s.Size, Tail: s.Tail, TailSum: s.TailSum, Hash: hashText(s.Hash)}
}

func (f FileEntry) summary(rows int64) columnfile.Summary {
	return columnfile.Summary{Rows: rows, Size: f.Bytes, Tail: f.Tail, TailSum: f.TailSum}
}

// Records returns the rows of all segments.
func (m *Manifest) Records() int64 {
	n := int64(0)
	for i := range m.Segments {
		n += m.Segments[i].Rows
	}
	return n
}

// loadManifest reads a log's manifest, or its copy where the first is damaged.
// damage says what is wrong with the one that was not used, or is nil.
func loadManifest(fsys FS, pchannel string) (m *Manifest, damage, err error) {
	m, first := readManifest(fsys, manifestPath(pchannel))
	if first == nil {
		return m, nil, nil
	}
	m, second := readManifest(fsys, copyPath(pchannel))
	if second == nil {
		return m, fmt.Errorf("%s: %w (its copy is used)", manifestPath(pchannel), first), nil
	}
	return nil, nil, fmt.Errorf("%s: %w; its copy: %w", manifestPath(pchannel), first, second)
}

func readManifest(fsys FS, name string) (*Manifest, error) {
	b, err := fsys.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return decodeManifest(b)
}

// storeManifest puts a manifest in place of the last one: whole or not at all,
// the copy only after the first is durable.
func storeManifest(fsys FS, m *Manifest) error {
	b, err := encodeManifest(m)
	if err != nil {
		return err
	}
	for _, name := range []string{manifestPath(m.PChannel), copyPath(m.PChannel)} {
		if err := storeFile(fsys, name, b); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}

// storeFile writes a file so that a reader sees the old one or the new one.
func storeFile(fsys FS, name string, b []byte) error {
	f, err := fsys.Create(name + ".tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(name+".tmp", name); err != nil {
		return err
	}
	return fsys.SyncDir(path.Dir(name))
}
