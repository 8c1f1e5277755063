// Package woodpecker reads Milvus's log off the disks of Woodpecker: the directories its
// segments lie in, or a copied prefix of its bucket. Nothing of Woodpecker is opened, no
// lock is taken and nothing is written; a running writer may go on meanwhile.
//
//	wp/files/wp/LOG/SEGMENT/      LOG and SEGMENT are numbers
//	├─ data.log                   the whole segment; or, as it lies in a bucket:
//	├─ 0.blk, 1.blk, …            a block each
//	├─ m_0.blk, …                 the same, compacted
//	├─ footer.blk                 index and footer; says which of the two counts
//	└─ write.lock, write.fence    say nothing about the log
//
//	header, (block header, data …) …, index …, footer      of format 5 and 6
//	crc32 u32 │ type u8 │ length u32 │ payload             each, little endian
//
// An entry bears no id: it is the block's first and as many further as stand before it.
// A segment is read record by record:
//
//	scan ─ every record's checksum ──► pieces, whose ids are told, and holes between
//	   └─ reader ─ piece by piece ──► message
//
// Behind a bad record the next one that checks out is looked for. Its id is counted from
// the block's first entry or back from its last, never guessed.
package woodpecker
