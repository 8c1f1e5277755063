// Package columnfile writes and reads flat Parquet files of required columns
// whose pages all break at the same rows, so that a page lost to damage costs
// the same rows in every column and nothing else, and a reader decodes a few
// columns of a run of rows straight into slices.
//
//	┌ "PAR1" ┬ row group 0 ────────────────────────────┬ row group 1 … ┐
//	│        │ column 0: [dictionary] page 0 page 1 …  │               │
//	│        │ column 1: [dictionary] page 0 page 1 …  │               │  data
//	├────────┴─────────────────────────────────────────┴───────────────┤
//	│ column indexes · offset indexes · FileMetaData · length · "PAR1" │  tail
//	└──────────────────────────────────────────────────────────────────┘
//
// Page n of every column of a row group holds the same rows: a block. Pages are
// data pages V2; the dictionary page, where there is one, stands first in its
// chunk. A page's own CRC covers its body alone, so FileMetaData carries under
// the key "walctl.pages" one CRC-32C a page over header and body:
//
//	base64 of little-endian uint32, by row group, by column: dictionary (0 where
//	there is none), then every data page
//
// and whoever names the file keeps the length and checksum of the tail. With
// both, no byte a reader uses is unchecked. For a file whose name got lost the
// key "walctl.tail" repeats that checksum: CRC-32C of the tail with the eight
// hexadecimal digits of the value as zeros. Encodings and structures are those
// of parquet-go; any Parquet reader reads the files.
package columnfile

import (
	"errors"
	"fmt"
	"hash/crc32"
)

// Kind is a column's physical type.
type Kind uint8

// The physical types. Bool values are 0 and 1.
const (
	Int64 Kind = iota
	Int32
	Bool
	Bytes
)

// Logical tells other readers what a column's values mean.
type Logical uint8

// The meanings. Millis are milliseconds of Unix time, UTC.
const (
	Plain Logical = iota
	Text
	JSON
	Millis
)

// Layout is how a column's values are best stored.
type Layout uint8

// The layouts. Dictionary falls back to Delta (integers) or to plain values
// within a row group that has too many distinct ones.
const (
	Delta      Layout = iota // increasing or small integers
	Dictionary               // few distinct values
	Raw                      // values that no encoding helps: hashes
	Repeats                  // like Dictionary, but falls back to plain values under ZSTD
)

// Column describes one column.
type Column struct {
	Name    string
	Kind    Kind
	Logical Logical
	Layout  Layout
}

// Limits. A file that asks for more is damaged or hostile.
const (
	BlockRows     = 16384    // rows a block holds at most
	maxIntPage    = 1 << 20  // bytes of a page of integers, uncompressed
	maxBytesPage  = 1 << 30  // bytes of a page of byte arrays, uncompressed
	maxTail       = 64 << 20 // bytes of indexes and footer
	maxPageHeader = 1 << 16  // bytes of a page's header and of what ZSTD adds to a body it cannot pack
	maxDict       = 1 << 16  // entries of a dictionary
	zstdMost      = 1 << 15  // bytes one byte of ZSTD can stand for: a run of 128 KiB takes four
)

// The footer keys of the page checksums and of the tail's own (file format).
const (
	pagesKey = "walctl.pages"
	tailKey  = "walctl.tail"
)

// noTailSum stands for the tail's checksum while it is computed.
const noTailSum = "00000000"

const magic = "PAR1"

// ErrDamaged is wrapped by every error that says a file's bytes are not what
// was written.
var ErrDamaged = errors.New("damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC-32C used for pages and tails.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// PageError says which page could not be read.
type PageError struct {
	Column     string
	RowGroup   int
	Page       int   // within the row group; −1 = the dictionary
	Offset     int64 // in the file
	FirstRow   int64 // in the file; what a dictionary loses is the row group
	Rows       int64
	Dictionary bool
	Cause      error
}

// Error implements error.
func (e *PageError) Error() string {
	page := fmt.Sprintf("page %d", e.Page)
	if e.Dictionary {
		page = "dictionary"
	}
	return fmt.Sprintf("row group %d, column %s, %s at byte %d (rows %d–%d): %v",
		e.RowGroup, e.Column, page, e.Offset, e.FirstRow, e.FirstRow+e.Rows-1, e.Cause)
}

// Unwrap returns the cause.
func (e *PageError) Unwrap() error { return e.Cause }
