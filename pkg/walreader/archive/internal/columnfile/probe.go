package columnfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/format"
)

// Probe finds out of a file alone what whoever named it kept: rows, where its
// tail begins and the tail's checksum, which is held against the one the tail
// carries. meta are the keys of its footer. The summary has no Hash.
func Probe(r io.ReaderAt, size int64) (s Summary, meta map[string]string, err error) {
	defer func() { // the structures' decoder is not ours
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: footer: %v", ErrDamaged, p)
		}
	}()
	var end [8]byte
	if size < 16 {
		return s, nil, fmt.Errorf("%w: a file of %d bytes", ErrDamaged, size)
	}
	if n, err := r.ReadAt(end[:], size-8); n < len(end) {
		return s, nil, fmt.Errorf("reading the footer: %w", short(err))
	}
	n := int64(binary.LittleEndian.Uint32(end[:]))
	if string(end[4:]) != magic || n > min(size-12, maxTail) {
		return s, nil, fmt.Errorf("%w: no footer at the end", ErrDamaged)
	}
	footer := make([]byte, n)
	if got, err := r.ReadAt(footer, size-8-n); got < len(footer) {
		return s, nil, fmt.Errorf("reading the footer: %w", short(err))
	}
	var m format.FileMetaData
	if err := unmarshal(footer, &m); err != nil {
		return s, nil, fmt.Errorf("%w: footer: %w", ErrDamaged, err)
	}
	s = Summary{Rows: m.NumRows, Size: size, Tail: size - tailStart(&m, size-8-n)}
	if s.Tail > maxTail || s.Tail > size-int64(len(magic)) {
		return s, nil, fmt.Errorf("%w: footer of %d bytes in a file of %d", ErrDamaged, s.Tail, size)
	}
	tail := make([]byte, s.Tail)
	if got, err := r.ReadAt(tail, size-s.Tail); got < len(tail) {
		return s, nil, fmt.Errorf("reading the footer: %w", short(err))
	}
	s.TailSum = Checksum(tail)
	if err := checkTail(tail); err != nil {
		return s, nil, err
	}
	meta = make(map[string]string, len(m.KeyValueMetadata))
	for _, kv := range m.KeyValueMetadata {
		meta[kv.Key] = kv.Value
	}
	return s, meta, nil
}

// tailStart is where the first index lies, or the footer where there is none.
func tailStart(m *format.FileMetaData, footer int64) int64 {
	at := footer
	for g := range m.RowGroups {
		for k := range m.RowGroups[g].Columns {
			c := &m.RowGroups[g].Columns[k]
			for _, o := range [...]int64{c.ColumnIndexOffset, c.OffsetIndexOffset} {
				if o > 0 {
					at = min(at, o)
				}
			}
		}
	}
	return at
}

// tailSumIn returns the place of the tail's own checksum in it.
func tailSumIn(tail []byte) []byte {
	at := bytes.LastIndex(tail, []byte(tailKey))
	if at < 0 {
		return nil
	}
	at += len(tailKey) + 2 // the value's field and length
	return tail[min(at, len(tail)):min(at+len(noTailSum), len(tail))]
}

func checkTail(tail []byte) error {
	place := tailSumIn(tail)
	if len(place) != len(noTailSum) {
		return fmt.Errorf("%w: footer without its checksum", ErrDamaged)
	}
	own := string(place)
	copy(place, noTailSum)
	if got := fmt.Sprintf("%08x", Checksum(tail)); got != own {
		return fmt.Errorf("%w: footer: checksum differs", ErrDamaged)
	}
	return nil
}
