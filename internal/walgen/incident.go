package walgen

import "strconv"

// Overload returns the logs of one cluster, one a pchannel, in the shape that
// brings streaming nodes out of memory: a collection of 16 shards with a
// partition key over 16 partitions, rows inserted over all of them, nothing
// flushed. 6,680,000 rows are the shape's own number. dim is that of its vectors.
func Overload(seed, rows uint64, dim int) []Config {
	const shards = 16
	out := make([]Config, shards)
	for i := range out {
		n := rows / shards
		if uint64(i) < rows%shards {
			n++
		}
		out[i] = Config{
			Seed: seed + uint64(i)<<32, PChannel: "by-dev-rootcoord-dml_" + strconv.Itoa(i), Rows: n,
			Collections: 1, Shards: shards, ShardIndex: i, Partitions: 16, PartitionKey: true,
			Schemas: []SchemaKind{SchemaAutoID}, VectorDim: dim, RowsPerInsert: 500, FixedRows: true,
			SegmentBytes: 120 << 20, DeleteRatio: -1, UpsertRatio: -1, TxnRatio: -1, DDLRatio: -1,
			NoControlChannel: i > 0, ControlPChannel: "by-dev-rootcoord-dml_0", Rate: 200,
		}
	}
	return out
}
