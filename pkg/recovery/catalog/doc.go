// Package catalog is the metadata of a Milvus cluster as typed keys and values,
// wherever it lies: a live etcd, an etcd snapshot file, a bbolt file or a JSON
// object. docs/rules.md#catalog carries the rules.
//
//	<root>/                                            by default by-dev/meta/
//	├─ streamingnode-meta/wal/<pchannel>/
//	│  ├─ consume-checkpoint                           WALCheckpoint
//	│  ├─ salvage-checkpoint/<source cluster>          ReplicateCheckpoint
//	│  ├─ vchannel/<vchannel>                          VChannelMeta, without schemas
//	│  ├─ vchannel/<vchannel>/schema/<TimeTick>        CollectionSchemaOfVChannel
//	│  └─ segment-assign/<segment id>                  SegmentAssignmentMeta
//	├─ streamingcoord-meta/
//	│  ├─ pchannel/<pchannel>                          PChannelMeta
//	│  ├─ cchannel, version      (2.6.13–2.6.15: with a slash at the end)
//	│  ├─ broadcast-task/<broadcast id>                BroadcastTask
//	│  ├─ replicate-configuration                      ReplicateConfigurationMeta
//	│  └─ replicating-pchannel/<cluster>-<pchannel>    ReplicatePChannelMeta
//	├─ datacoord-meta/channel-cp/<vchannel>            MsgPosition
//	├─ root-coord/{database,collection,partitions,fields,functions,…}   read only
//	├─ session/<role>[-<id>]                           JSON, under a lease; session/id is a counter
//	└─ walctl/                                         walctl's own journals
//
// Values are protobuf. Keys in this package are always relative to the root,
// without a slash at the front. A Catalog reads ranges and commits guarded
// transactions; Decode and Encode translate between its keys and Metadata, byte
// for byte. What cannot be read becomes a Problem with its key; nothing panics.
package catalog
