package salvage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/parquet-go/parquet-go"

	"github.com/walctl/walctl/pkg/walreader/rows"
)

// ErrDirNotEmpty means that a directory that holds something already is not written into.
var ErrDirNotEmpty = errors.New("the directory is not empty")

// SummaryName is the file that tells what a directory holds. It is written last:
// a directory without it is not complete.
const SummaryName = "salvage.json"

// DirOptions tune a Dir. The zero value is good.
type DirOptions struct {
	FileBytes int64 // a file is closed after this size; 0 = 512 MiB
	// Buffered bounds what waits for its row group over all files, in bytes;
	// 0 = 128 MiB.
	Buffered int64
	// MaxOpen is how many files may be open at once; 0 = 64.
	MaxOpen int
}

// Dir is a sink of Parquet files, one and more for each collection, partition
// and mark (docs/salvage.md#parquet). Close it, also after an error.
type Dir struct {
	path string
	opts DirOptions

	free    sync.Pool // of *[]parquet.Value
	mu      sync.Mutex
	layouts map[*rows.Schema]*layout

	files    map[fileKey]*file
	numbers  map[fileKey]int
	buffered int64
	clock    int64
	written  map[int64][]string        // by collection
	unknown  map[int64]map[string]bool // names of fields that no schema tells of, by collection; under mu
}

// fileKey is what rows share that lie in one file.
type fileKey struct {
	collection, partition int64
	kind                  string
}

// NewDir returns a sink that writes into a directory, which is made where it is
// missing and must be empty.
func NewDir(path string, o DirOptions) (*Dir, error) {
	if o.FileBytes <= 0 {
		o.FileBytes = 512 << 20
	}
	if o.Buffered <= 0 {
		o.Buffered = 128 << 20
	}
	if o.MaxOpen <= 0 {
		o.MaxOpen = 64
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the rows: %w", err)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("look into the directory of the rows: %w", err)
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("%w: %s; name a new one", ErrDirNotEmpty, path)
	}
	return &Dir{path: path, opts: o, layouts: map[*rows.Schema]*layout{}, files: map[fileKey]*file{},
		numbers: map[fileKey]int{}, written: map[int64][]string{}, unknown: map[int64]map[string]bool{}}, nil
}

func (d *Dir) layout(collection int64, b *rows.Batch) (*layout, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range b.Extra {
		if d.unknown[collection] == nil {
			d.unknown[collection] = map[string]bool{}
		}
		if of := d.unknown[collection]; len(of) < rows.MaxDropped {
			of[b.Extra[i].Field.Name] = true
		}
	}
	s := b.Schema
	l := d.layouts[s]
	if l == nil {
		var err error
		if l, err = newLayout(s); err != nil {
			return nil, err
		}
		l.collection = collection
		d.layouts[s] = l
	}
	return l, nil
}

// kind names a mark in a file's name: what was deleted, dropped or lost never
// lies beside what lives.
func (m Mark) kind() string {
	out := ""
	add := func(on bool, s string) {
		if on {
			out += "-" + s
		}
	}
	add(m.Lost != 0, "lost")
	add(m.Replaces, "replaces")
	add(m.Dropped != "", "dropped")
	add(m.Deleted, "deleted")
	return out
}

// columns is rows on their way into a file.
type columns struct {
	d      *Dir
	layout *layout
	key    fileKey
	n      int
	size   int64
	leaves [][]parquet.Value
}

// take returns an empty slice of values, used before where there is one.
func (d *Dir) take() []parquet.Value {
	if v, ok := d.free.Get().(*[]parquet.Value); ok {
		return (*v)[:0]
	}
	return nil
}

func (d *Dir) give(v []parquet.Value) { d.free.Put(&v) }

// valueSize estimates what a value takes until its row group is written.
const valueSize = 8

// Prepare implements Sink.
func (d *Dir) Prepare(r *Rows) (Chunk, error) {
	l, err := d.layout(r.Collection, r.Batch)
	if err != nil {
		return nil, err
	}
	c := &columns{d: d, layout: l, n: len(r.Keep), key: fileKey{r.Collection, r.Partition, r.Mark.kind()}, leaves: make([][]parquet.Value, len(l.leaves))}
	for i := range l.leaves {
		c.leaves[i] = l.values(d.take(), r.Batch, i, r.Keep)
		c.size += int64(len(c.leaves[i])) * valueSize
		for k := range c.leaves[i] {
			if c.leaves[i][k].Kind() != parquet.ByteArray {
				break
			}
			c.size += int64(len(c.leaves[i][k].ByteArray()))
		}
	}
	return c, nil
}

// Write implements Chunk.
func (c *columns) Write() error {
	f, err := c.d.file(c.key, c.layout)
	if err != nil {
		return err
	}
	for i, w := range f.w.ColumnWriters() {
		n, err := w.WriteRowValues(c.leaves[i])
		if err == nil && n != c.n {
			err = fmt.Errorf("%d of %d rows taken", n, c.n)
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", f.path, err)
		}
		c.d.give(c.leaves[i])
	}
	f.rows += int64(c.n)
	f.buffered += c.size
	c.d.buffered += c.size
	return c.d.settle(f)
}

// settle keeps files, and what waits over all of them, within their bounds.
func (d *Dir) settle(f *file) error {
	const rowGroup = 64 << 20
	if f.buffered >= rowGroup {
		if err := d.flush(f); err != nil {
			return err
		}
	}
	for d.buffered > d.opts.Buffered {
		largest := f
		for _, o := range d.files {
			if o.buffered > largest.buffered {
				largest = o
			}
		}
		if err := d.flush(largest); err != nil {
			return err
		}
	}
	if f.size+f.buffered >= d.opts.FileBytes {
		return d.close(f)
	}
	return nil
}

// file returns the open file of a key.
func (d *Dir) file(key fileKey, l *layout) (*file, error) {
	d.clock++
	if f := d.files[key]; f != nil {
		f.used = d.clock
		return f, nil
	}
	if len(d.files) >= d.opts.MaxOpen {
		var oldest *file
		for _, f := range d.files {
			if oldest == nil || f.used < oldest.used {
				oldest = f
			}
		}
		if err := d.close(oldest); err != nil {
			return nil, err
		}
	}
	dir := filepath.Join(d.path, strconv.FormatInt(key.collection, 10))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the directory of collection %d: %w", key.collection, err)
	}
	d.numbers[key]++
	name := fmt.Sprintf("partition-%d%s-%04d.parquet", key.partition, key.kind, d.numbers[key])
	f, err := openFile(filepath.Join(dir, name), l)
	if err != nil {
		return nil, err
	}
	f.key, f.used = key, d.clock
	d.files[key] = f
	return f, nil
}

func (d *Dir) flush(f *file) error {
	d.buffered -= f.buffered
	return f.flush()
}

func (d *Dir) close(f *file) error {
	delete(d.files, f.key)
	d.buffered -= f.buffered
	if err := f.finish(); err != nil {
		return err
	}
	d.written[f.key.collection] = append(d.written[f.key.collection], filepath.Base(f.path))
	return nil
}

// Close ends the files. Without a report, behind an error, what was begun is
// taken away and no summary is written; whole files stay.
func (d *Dir) Close(r *Report) error {
	var errs []error
	for _, f := range d.files {
		if r == nil {
			errs = append(errs, f.abandon())
		} else {
			errs = append(errs, d.close(f))
		}
	}
	d.files = map[fileKey]*file{}
	if r == nil || errors.Join(errs...) != nil {
		return errors.Join(errs...)
	}
	d.describe(r)
	return d.summary(r)
}

// describe adds what only the files know to the report.
func (d *Dir) describe(r *Report) {
	of := map[int64]*layout{}
	for _, l := range d.layouts {
		of[l.collection] = l
	}
	for _, c := range r.Collections {
		c.Files = d.written[c.Collection]
		for _, name := range slices.Sorted(maps.Keys(d.unknown[c.Collection])) {
			c.LeftOut = append(c.LeftOut, name+": no schema tells of it; -o ndjson --data prints it")
		}
		if l := of[c.Collection]; l != nil {
			c.LeftOut, c.NotImported = append(c.LeftOut, l.leftOut...), l.refused
		}
	}
}

func (d *Dir) summary(r *Report) error {
	b, err := json.MarshalIndent(struct {
		Schema string `json:"schema"`
		*Report
	}{"walctl/v1", r}, "", "  ")
	if err != nil {
		return err
	}
	return writeWhole(filepath.Join(d.path, SummaryName), append(b, '\n'))
}
