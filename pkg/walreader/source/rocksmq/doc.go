// Package rocksmq reads the log of a Milvus standalone off its disk: the RocksDB
// directory rdb_data that RocksMQ keeps its messages in. Nothing is opened by
// RocksDB, no lock is taken and nothing is written, so a damaged directory stays
// what it is; a running Milvus may write to it meanwhile.
//
//	rdb_data            the messages
//	├─ 000019.log       what is not in a table yet, in the order of writing
//	├─ 000011.sst …     tables, sorted by key
//	├─ MANIFEST-000018  which tables count; can be done without
//	└─ CURRENT          which manifest counts; can be done without
//	rdb_data_meta_kv    RocksMQ's bookkeeping; not looked at
//
//	key     TOPIC / ID           TOPIC is the pchannel, ID 18 digits
//	value   FF FE FD FC "STREAM" │ RMQMessageLayout{payload = 1, properties = 2}
//	        or, from before streaming nodes, the bare request; its properties are
//	        those of its base
//
// A log is what all files together hold of a topic, in the order of the ids:
//
//	snapshot ─ every file opened, its topics, what is deleted, what is missing
//	   └─ merge ─ one cursor a file ──► newest row of an id ──► message
//
// What cannot be read is a gap between two ids. Sequence numbers follow each other
// in RocksDB's log, so a hole in them counts what a bad record swallowed; a table
// says how many rows it has. Messages of a gap that another file still has are
// not lost.
package rocksmq
