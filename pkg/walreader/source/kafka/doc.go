// Package kafka reads Milvus's log out of Kafka: off a broker's log directory, with
// nothing of Kafka running, or from the brokers.
//
//	log.dirs/
//	├─ meta.properties, *-checkpoint, .kafka_cleanshutdown   of the broker
//	└─ TOPIC-PARTITION/        a pchannel is partition 0 of its topic
//	   ├─ OFFSET.log           a segment, named after its first offset
//	   └─ OFFSET.index, …      not needed
//
//	offset i64 │ length i32 │ epoch i32 │ version i8 │ crc32c u32 │ the rest      a batch, big endian
//
// Before the checksum stands what it does not cover: a batch's offset and its length.
// They are held against what stands around the batch:
//
//	walk ─ batch by batch, checked and placed ──► batches and gaps
//	  └─ reader ─ record by record ──► message
//
// A batch is the smallest thing with a checksum: of one whose checksum does not match no
// record is read, and the next batch that checks out is looked for behind it.
package kafka
