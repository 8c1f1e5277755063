// Package message is one persisted WAL message: its position, its envelope and
// its typed header. It imports nothing of the project and panics on nothing.
//
// A message on the wire is a payload and string properties:
//
//	┌ properties (keys beginning with _ are Milvus's) ──────────────────────────┐
//	│ _v  version 0/1/2, decimal        _t   type, decimal                      │
//	│ _tt TimeTick, base36              _btt barrier TimeTick, base36           │
//	│ _wt term, base36                  _vc  vchannel; absent = all             │
//	│ _lc last confirmed id             _lcs the last confirmed id is the own   │
//	│ _h  typed header     ┐                                                    │
//	│ _bh BroadcastHeader  │                                                    │
//	│ _tx TxnContext       ├ base64 of protobuf                                 │
//	│ _ch CipherHeader     │                                                    │
//	│ _rh ReplicateHeader  ┘                                                    │
//	│ _np not persisted   _pcl pchannel-level   _ur unsafe to replicate         │
//	│ _puc partial update                       (all four: empty value)         │
//	└───────────────────────────────────────────────────────────────────────────┘
//	payload: V1 a msgpb request, V2 a messagespb body, V0 a pre-streaming msgpb message
//
// A stored id is base64 of
//
//	Pulsar      1 ledger · 2 entry · 3 partition · 4 batch index · 6 batch size
//	Woodpecker  1 segment · 2 entry (zeros omitted: 0/0 is the empty string)
//
// or, for Kafka and RocksMQ, the offset in base36. docs/rules.md carries the rules.
package message
