// Package pulsar reads a pchannel's topic from a running Pulsar broker without
// leaving a trace on it.
//
//	admin HTTP ── internal-info, applied retention ──► first contact: refuse or go on
//	     │
//	     └─ ledgers, last id ──► spans ──► one pump a span ──► Reader (spans in order)
//	                                         │
//	        own connection, own client ──────┤ non-durable reader, explicit start
//	        bounded queue in bytes ──────────┤ ids deduplicated, entries proven contiguous
//	        reopened after the last id ─────┘ whenever the connection was lost
//
// What it never does: open a producer, make a durable subscription or a topic,
// seek, or acknowledge anything on a cursor that is not its own. The rules are
// docs/rules.md#pulsar and docs/safety.md.
package pulsar
