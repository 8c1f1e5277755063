// Package bookkeeper reads the log of a pchannel off the disks of the bookies that
// keep it for Pulsar. Nothing is opened by BookKeeper, no index is needed and nothing
// is written; a running bookie may write meanwhile.
//
//	current/1a.log     an entry log: entries of all ledgers, in the order of flushing
//	current/1a1fd.txn  a journal: the same entries in the order of arrival
//	metadata           a standalone broker's RocksDB: which ledgers a topic is made of
//
// A place is a directory, or several separated by commas; whatever lies below them
// counts, so that the disks of several bookies are read as one. All integers of the
// disks are big-endian.
//
//	entry log  header 1024 │ (size i32 │ entry)…        size ≤ 0 is padding
//	journal    header 512  │ (size i32 │ entry)…        size −256: i32 bytes of padding follow
//	entry      ledger i64 │ entry i64 │ last confirmed i64 │ length i64 │ digest │ payload
//	payload    [0e02 │ size u32 │ broker's metadata] 0e01 │ crc32c u32 │ size u32 │ metadata │ body
//
// How a log is put together:
//
//	files ─ scan ──► every entry whose digest is right, by ledger and number; what is not
//	  metadata ────► topic ─► its ledgers, in order; without it, whose log the messages say
//	     └─ assemble ──► ledgers of a log ──► entry ──► messages, ids as the broker gives them
//
// An entry that stands in several places is read once. Entries of a ledger follow each
// other, so one that is missing is a gap, and the bytes where it ought to lie say why.
package bookkeeper
