// Package recovery replays a WAL next to the metadata in its catalog and reaches
// the state Milvus's own recovery reaches, byte for byte.
//
//	catalog.Metadata ──► NewState ──► State ──► Snapshot   what Milvus hands to its managers
//	                                    ▲  ├──► All        dropped and flushed entries too
//	source ─► order.Scanner ─► Observe ─┘  ├──► Persist    the catalog after a graceful close
//	                                       └──► Issues     what Milvus would stumble over
//
// State is pure: no clock, no I/O, the same deliveries give the same bytes.
// Replay drives it from a source. Where a node would panic, hang or silently lose
// rows the replay goes on and keeps an Issue. The rules are docs/rules.md#recovery.
package recovery
