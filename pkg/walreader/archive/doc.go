// Package archive keeps a WAL as a directory of Parquet files that walctl reads
// column by column, and DuckDB, Spark or Trino with plain SQL.
//
//	<dir>/
//	├─ manifest/<pchannel>.json           what belongs to the log; <pchannel>.copy.json is the same
//	│           <pchannel>.lock           held by the capture that writes it
//	├─ index/pchannel=<pchannel>/
//	│    <first id>-<last id>.parquet     one row a message: ids, envelope, properties
//	├─ payload/pchannel=<pchannel>/
//	│    <first id>-<last id>.parquet     the same rows: ordinal, payload, payload_ddl
//	└─ evidence/pchannel=<pchannel>/      catalog.json, topic stats, metrics of the same moment
//
// An id in a file name is three numbers, 12_345_0, m1 for −1. Index and payload
// of the same rows form a segment. Files are 0600, directories 0700.
//
//	manifest ──► segment ──► tail (footer, page places and checksums) ──► pages
//	 xxh64        xxh64       crc32c                                       crc32c
//
// Each arrow is a checksum of what lies right of it, kept left of it, so a
// reader that opens a segment and decodes three columns has checked every byte
// it used. VerifyBytes reads the rest as well.
//
// A segment is written under temporary names, completed, synced, named, read
// back and compared, and only then put into the manifest, which is replaced in
// one rename. What no manifest names is not part of the archive: the next
// capture clears it away and goes on after the last row that is named.
//
// In the index, columns hold what Decoder made of a message. Column "canonical"
// has a bit for each property that the columns give back byte for byte; a
// property that they do not stands in "properties" (JSON), what JSON cannot
// spell in "extra". docs/formats.md lists the columns.
package archive
