// Package rocksdb reads RocksDB's files as they lie on a disk: read-only, without
// its lock, and past what is damaged. It knows nothing of what is stored in them.
//
//	CURRENT          "MANIFEST-000018\n"
//	MANIFEST-000018  a log file whose records are version edits: which tables are live
//	000019.log       a log file whose records are write batches
//	000017.sst       a table: sorted rows in blocks
//
//	log file   32 KiB blocks of  crc32c u32 │ length u16 │ type u8 │ data
//	           type 1 whole, 2 first, 3 middle, 4 last; 5…8 the same with the log's
//	           number u32 before the data; under 7 bytes left in a block are padding
//	batch      sequence u64 │ count u32 │ (tag u8 │ [family] │ key │ [value])…
//	table      data block… │ index │ [range deletions] │ properties │ metaindex │ footer
//	block      contents │ compression u8 │ checksum u32
//	contents   (shared │ unshared │ value length │ key rest │ value)… │ restart u32… │ count u32
//	footer     checksum kind u8 │ metaindex │ index (40 bytes) │ version u32 │ magic u64
//
// Integers are little-endian, lengths varints; checksums of log records and of
// tables of kind 1 are CRC32C, masked. A key in a table carries (sequence << 8 |
// kind) behind it. Every length is capped before it is allocated; what cannot be
// read is a *Damage with its place, and the next call goes on after it.
package rocksdb

import (
	"errors"
	"fmt"
	"hash/crc32"
)

// MaxRecord caps a log record and a decompressed block, in bytes; Milvus's
// largest message is a tenth of it.
const MaxRecord = 64 << 20

// ErrTorn means that a log file stops in the middle of a record, as after a crash
// or while it is being written; all before it was returned.
var ErrTorn = errors.New("the file ends in the middle of a record")

// Damage is a stretch of a file that cannot be read. It unwraps to its cause.
type Damage struct {
	File     string
	From, To int64 // bytes of the file, To excluded
	Cause    error
}

// Error implements error.
func (d *Damage) Error() string {
	return fmt.Sprintf("%s: bytes %d to %d: %v", d.File, d.From, d.To, d.Cause)
}

// Unwrap returns the cause.
func (d *Damage) Unwrap() error { return d.Cause }

// Kind is what an entry does to its key.
type Kind uint8

// The kinds (wire format). A RangeDelete's key is where it begins and its value
// the key it ends before.
const (
	KindDelete       Kind = 0
	KindPut          Kind = 1
	KindMerge        Kind = 2
	KindSingleDelete Kind = 7
	KindRangeDelete  Kind = 15
)

// Entry is one change of one key.
type Entry struct {
	Seq        uint64
	Kind       Kind
	Key, Value []byte // valid until the next entry is read
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// mask is what RocksDB does to a CRC before it stores it.
func mask(crc uint32) uint32 { return (crc>>15 | crc<<17) + 0xa282ead8 }
