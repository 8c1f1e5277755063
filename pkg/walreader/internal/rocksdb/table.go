package rocksdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	footerSize = 53
	tableMagic = 0x88e241b785f4cff7
	maxBlocks  = 1 << 20
)

// LastBefore returns the last row before a key; nil is behind every key. Blocks
// that cannot be read are passed over.
func (t *Table) LastBefore(limit []byte) (Entry, bool) {
	i := 0
	for limit != nil && i < len(t.blocks)-1 && (t.blocks[i].last == nil || bytes.Compare(t.blocks[i].last, limit) < 0) {
		i++
	}
	if limit == nil {
		i = len(t.blocks) - 1
	}
	for ; i >= 0; i-- {
		b, err := t.read(t.blocks[i].at)
		if err != nil {
			continue
		}
		var last Entry
		found := false
		_ = each(b, indexForm{}, func(r *rows) { // what is behind a broken row is the iterator's to tell
			user, seq, kind, ok := split(r.key)
			if ok && (limit == nil || bytes.Compare(user, limit) < 0) {
				last, found = Entry{Seq: seq, Kind: kind, Key: append(last.Key[:0], user...)}, true
			}
		})
		if found {
			return last, true
		}
	}
	return Entry{}, false
}

// IsTable tells a table by its last eight bytes.
func IsTable(end []byte) bool {
	return len(end) == 8 && binary.LittleEndian.Uint64(end) == tableMagic
}

// Table is a sorted file, open for reading. It is not safe for concurrent use.
type Table struct {
	name string
	in   io.ReaderAt
	size int64

	checksum   byte
	index      indexForm
	blocks     []block
	raw        []byte
	un         unpacker
	properties map[string][]byte
	deletions  []Entry
	damage     []*Damage // met while opening
	cut        bool      // rows may be missing after the last block
}

// block is one data block; last is a key at or after its last one, nil where the
// index is gone.
type block struct {
	at   handle
	last []byte
}

// OpenTable reads a table's frame: what lies where. Where that is damaged, the
// data blocks are found by their checksums; Damage says so. An error is a file
// that is no table at all.
func OpenTable(name string, in io.ReaderAt, size int64) (*Table, error) {
	t := &Table{name: name, in: in, size: size, checksum: checksumCRC32C, index: indexForm{is: true, delta: true, userKey: true}}
	meta, index, err := t.footer()
	if err == nil {
		t.metaindex(meta)
		err = t.readIndex(index)
	}
	if err == nil {
		return t, nil
	}
	t.blocks = nil
	t.note(err)
	t.find(int64(index.off))
	if len(t.blocks) == 0 {
		t.Close()
		return nil, fmt.Errorf("%s: no block of a table in it: %w", name, err)
	}
	return t, nil
}

// Close releases the decompressor, not the file.
func (t *Table) Close() { t.un.close() }

// Damage lists what was met while opening.
func (t *Table) Damage() []*Damage { return t.damage }

// Cut reports whether rows may be missing after the last block: there is no index
// to say where the rows end, and their blocks did not lead to it.
func (t *Table) Cut() bool { return t.cut }

// Deletions lists the table's range deletions.
func (t *Table) Deletions() []Entry { return t.deletions }

// Number returns a property that is a number; false where it is not known.
func (t *Table) Number(property string) (uint64, bool) {
	v, ok := t.properties[property]
	if !ok {
		return 0, false
	}
	n, _, ok := uvarint(v)
	return n, ok
}

// Family names the column family the table belongs to, "" where that is not known.
func (t *Table) Family() string { return string(t.properties["rocksdb.column.family.name"]) }

func (t *Table) note(err error) {
	var d *Damage
	if !errors.As(err, &d) {
		d = &Damage{File: t.name, To: t.size, Cause: err}
	}
	t.damage = append(t.damage, d)
}

func (t *Table) footer() (meta, index handle, err error) {
	bad := func(why string) (handle, handle, error) {
		return handle{}, handle{}, &Damage{File: t.name, From: max(t.size-footerSize, 0), To: t.size, Cause: errors.New(why)}
	}
	if t.size < footerSize {
		return bad("too short for a table")
	}
	b := make([]byte, footerSize)
	if _, err := t.in.ReadAt(b, t.size-footerSize); err != nil && !errors.Is(err, io.EOF) {
		return bad(cause(err).Error())
	}
	if binary.LittleEndian.Uint64(b[footerSize-8:]) != tableMagic {
		return bad("it does not end as a table does: the end is cut off or overwritten")
	}
	if v := binary.LittleEndian.Uint32(b[footerSize-12:]); v > 5 {
		return bad(fmt.Sprintf("table format %d, walctl reads up to 5", v))
	}
	if k := b[0]; k != checksumNone && k != checksumCRC32C && k != checksumXX64 {
		return bad(fmt.Sprintf("checksums of kind %d, which walctl does not know", k))
	}
	t.checksum = b[0]
	meta, rest, ok := parseHandle(b[1:41])
	if ok {
		index, _, ok = parseHandle(rest)
	}
	if !ok {
		return bad("a footer that names no blocks")
	}
	return meta, index, nil
}

// read returns a block's contents, valid until the next call.
func (t *Table) read(h handle) ([]byte, error) {
	bad := func(err error) ([]byte, error) {
		return nil, &Damage{File: t.name, From: int64(min(h.off, uint64(t.size))), To: int64(min(h.end(), uint64(t.size))), Cause: err}
	}
	if h.size > MaxRecord || h.off > uint64(t.size) || h.end() > uint64(t.size) {
		return bad(errors.New("a block that lies beyond the file's end"))
	}
	n := int(h.size) + trailerSize
	if cap(t.raw) < n {
		t.raw = make([]byte, n)
	}
	t.raw = t.raw[:n]
	if _, err := t.in.ReadAt(t.raw, int64(h.off)); err != nil {
		return bad(fmt.Errorf("not readable: %w", cause(err)))
	}
	if err := verify(t.checksum, t.raw); err != nil {
		return bad(err)
	}
	out, err := t.un.unpack(t.raw[h.size], t.raw[:h.size])
	if err != nil {
		return bad(err)
	}
	return out, nil
}

// metaindex reads the properties and the range deletions; both can be done without.
func (t *Table) metaindex(h handle) {
	b, err := t.read(h)
	if err != nil {
		t.note(err)
		return
	}
	var found struct{ properties, deletions handle }
	err = each(b, indexForm{}, func(r *rows) {
		at, _, _ := parseHandle(r.value)
		switch string(r.key) {
		case "rocksdb.properties":
			found.properties = at
		case "rocksdb.range_del", "rocksdb.range_del2":
			found.deletions = at
		}
	})
	if err != nil {
		t.note(&Damage{File: t.name, From: int64(h.off), To: int64(h.end()), Cause: err})
	}
	if found.properties.size > 0 {
		t.readProperties(found.properties)
	}
	if found.deletions.size > 0 {
		t.readDeletions(found.deletions)
	}
}

func (t *Table) readProperties(h handle) {
	b, err := t.read(h)
	if err != nil {
		t.note(err)
		return
	}
	t.properties = make(map[string][]byte)
	if err := each(b, indexForm{}, func(r *rows) { t.properties[string(r.key)] = bytes.Clone(r.value) }); err != nil {
		t.note(&Damage{File: t.name, From: int64(h.off), To: int64(h.end()), Cause: err})
	}
	delta, _ := t.Number("rocksdb.index.value.is.delta.encoded")
	userKey, _ := t.Number("rocksdb.index.key.is.user.key")
	t.index.delta, t.index.userKey = delta != 0, userKey != 0
}

func (t *Table) readDeletions(h handle) {
	b, err := t.read(h)
	if err != nil {
		t.note(err)
		return
	}
	err = each(b, indexForm{}, func(r *rows) {
		key, seq, kind, ok := split(r.key)
		if ok && kind == KindRangeDelete {
			t.deletions = append(t.deletions, Entry{Seq: seq, Kind: kind, Key: bytes.Clone(key), Value: bytes.Clone(r.value)})
		}
	})
	if err != nil {
		t.note(&Damage{File: t.name, From: int64(h.off), To: int64(h.end()), Cause: err})
	}
}

// split takes an internal key apart.
func split(key []byte) (user []byte, seq uint64, kind Kind, ok bool) {
	n := len(key) - 8
	if n < 0 {
		return nil, 0, 0, false
	}
	tail := binary.LittleEndian.Uint64(key[n:])
	return key[:n], tail >> 8, Kind(tail), true
}

func each(b []byte, form indexForm, fn func(*rows)) error {
	r := rows{index: form}
	if err := r.open(b); err != nil {
		return err
	}
	for {
		ok, err := r.next()
		if !ok || err != nil {
			return err
		}
		fn(&r)
	}
}

// readIndex reads which data blocks there are. A partitioned index names blocks of
// further index rows.
func (t *Table) readIndex(h handle) error {
	top, err := t.indexRows(h)
	if err != nil {
		return err
	}
	if kind, ok := t.properties["rocksdb.block.based.table.index.type"]; !ok || len(kind) < 4 || binary.LittleEndian.Uint32(kind) != 2 {
		t.blocks = top
		return nil
	}
	for _, b := range top {
		part, err := t.indexRows(b.at)
		if err != nil {
			return err
		}
		t.blocks = append(t.blocks, part...)
	}
	return nil
}

func (t *Table) indexRows(h handle) ([]block, error) {
	b, err := t.read(h)
	if err != nil {
		return nil, err
	}
	var out []block
	end := uint64(0)
	bad := error(nil)
	err = each(b, t.index, func(r *rows) {
		key := r.key
		if !t.index.userKey {
			key, _, _, _ = split(key)
		}
		if r.at.off < end || r.at.size > MaxRecord || r.at.end() > uint64(t.size) || len(out) >= maxBlocks {
			bad = errors.New("an index that names blocks which cannot be")
			return
		}
		end = r.at.end()
		out = append(out, block{at: r.at, last: bytes.Clone(key)})
	})
	if err = errors.Join(err, bad); err != nil {
		return nil, &Damage{File: t.name, From: int64(h.off), To: int64(h.end()), Cause: err}
	}
	return out, nil
}

// find looks for data blocks without an index. They stand one after the other from
// the file's start, and a block ends where its checksum says that it does. The first
// that holds no rows is what stands after them, as is what starts at index.
func (t *Table) find(index int64) {
	const chunk = 1 << 20
	buf := make([]byte, 0, 2*chunk)
	start, base := int64(0), int64(0) // of the block looked for, of buf
	crc, at := uint32(0), int64(0)    // over start…at
	for t.checksum = checksumCRC32C; len(t.blocks) < maxBlocks; {
		if at+4 >= base+int64(len(buf)) {
			keep := buf[min(at-base, int64(len(buf))):]
			base = at
			buf = append(buf[:0], keep...)
			n, err := t.in.ReadAt(buf[len(buf):min(cap(buf), len(buf)+chunk)], base+int64(len(buf)))
			buf = buf[:len(buf)+n]
			if n == 0 && err != nil || len(buf) < 5 {
				break
			}
		}
		i := at - base
		crc = crc32.Update(crc, castagnoli, buf[i:i+1])
		at++
		if at-start > MaxRecord {
			break
		}
		if mask(crc) != binary.LittleEndian.Uint32(buf[i+1:]) || at-start < trailerSize {
			continue
		}
		h := handle{off: uint64(start), size: uint64(at - 1 - start)}
		if !t.data(h) {
			return
		}
		t.blocks = append(t.blocks, block{at: h})
		at += 4
		start, crc = at, 0
	}
	if t.cut = start != index || index == 0; t.cut {
		t.note(&Damage{File: t.name, From: start, To: t.size, Cause: errors.New("nothing that checks out as a block of rows")})
	}
}

// data reports whether a block holds rows and not what stands after them.
func (t *Table) data(h handle) bool {
	b, err := t.read(h)
	if err != nil {
		return false
	}
	n := 0
	err = each(b, indexForm{}, func(r *rows) {
		if _, _, kind, ok := split(r.key); ok && (kind <= KindMerge || kind == KindSingleDelete) {
			n++
		} else {
			n = -maxBlocks
		}
	})
	return err == nil && n > 0
}

// Rows counts the rows of every block that can be read, and how many blocks cannot.
func (t *Table) Rows() (n uint64, bad int) {
	for _, bl := range t.blocks {
		b, err := t.read(bl.at)
		if err != nil {
			bad++
			continue
		}
		if err := each(b, indexForm{}, func(*rows) { n++ }); err != nil {
			bad++
		}
	}
	return n, bad
}

// Iter returns an iterator before a key; nil is the table's start.
func (t *Table) Iter(from []byte) *Iter {
	it := &Iter{t: t, from: from}
	for it.block < len(t.blocks) && t.blocks[it.block].last != nil && bytes.Compare(t.blocks[it.block].last, from) < 0 {
		it.block++
	}
	return it
}

// Iter walks a table's rows in key order.
type Iter struct {
	t     *Table
	from  []byte
	block int
	r     rows
	open  bool
}

// Next returns the next row, or io.EOF. A *Damage can be read past; Bound then
// tells up to which key rows are missing.
func (it *Iter) Next() (Entry, error) {
	for {
		if !it.open {
			if it.block >= len(it.t.blocks) {
				return Entry{}, io.EOF
			}
			b, err := it.t.read(it.t.blocks[it.block].at)
			it.block++
			if err == nil {
				err = it.wrap(it.r.open(b))
			}
			if err != nil {
				return Entry{}, err
			}
			it.open = true
		}
		ok, err := it.r.next()
		if err != nil {
			it.open = false
			return Entry{}, it.wrap(err)
		}
		if !ok {
			it.open = false
			continue
		}
		user, seq, kind, ok := split(it.r.key)
		if !ok {
			it.open = false
			return Entry{}, it.wrap(errBlock)
		}
		if bytes.Compare(user, it.from) < 0 {
			continue
		}
		it.from = nil
		return Entry{Seq: seq, Kind: kind, Key: user, Value: it.r.value}, nil
	}
}

// Bound returns a key at or after every row of the block read last, nil where it
// is not known.
func (it *Iter) Bound() []byte { return it.t.blocks[it.block-1].last }

// Before returns a key at or after every row of the blocks before that one and
// before every row of it, nil where there is none or it is not known.
func (it *Iter) Before() []byte {
	if it.block < 2 {
		return nil
	}
	return it.t.blocks[it.block-2].last
}

func (it *Iter) wrap(err error) error {
	if err == nil {
		return nil
	}
	h := it.t.blocks[it.block-1].at
	return &Damage{File: it.t.name, From: int64(h.off), To: int64(h.end()), Cause: err}
}
