// Package walgen writes valid write-ahead logs: a seeded model of one streaming
// node, its clients and its restarts, for demos, property tests and benchmarks.
//
//	clients ──► start: lock, TimeTick, last confirmed ──► pending ──► write: id ──► log
//	               ▲                                         │
//	               └────── 200 ms sync: TimeTick of the acknowledged prefix ◄──┘
//
// The same Config gives the same bytes on every machine. What it writes keeps
// every rule of docs/rules.md; Faults break one rule each, with the ids they
// touched as ground truth (docs/faults.md). Nothing of it comes from a cluster:
// rows, names and numbers are made up.
package walgen

import (
	"math"
	"time"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Version is the Milvus line whose shapes a log has.
type Version string

// The lines walgen can write.
const (
	Version26 Version = "2.6"
	Version30 Version = "3.0"
)

// Config says what a log holds. The zero value of every field has a default;
// ratios and counts that may be none are switched off with a negative number.
type Config struct {
	Seed     uint64
	PChannel string          // default by-dev-rootcoord-dml_0
	Backend  message.Backend // default Pulsar
	Version  Version         // default 2.6
	Start    time.Time       // of the first opening; default 2026-01-05 00:00 UTC

	Rows        uint64 // where set, the log ends once exactly so many rows are inserted
	Messages    int    // the log ends at the first TimeTick at or after it; default 1000
	Tail        int    // messages after the last TimeTick, unconfirmed
	Terms       int    // openings; default 1
	Rate        int    // appends a second; default 2000
	Concurrency int    // appends in flight at once; default 8

	Collections   int // created at the start; default 3
	Shards        int // of a collection, one a pchannel; default 2
	ShardIndex    int // which of them lies in this log; default 0
	Partitions    int // of a collection; default 2; 16 and PartitionKey for a partition-key collection
	PartitionKey  bool
	Schemas       []SchemaKind // taken in turn by collections; default: all that fit
	VectorDim     int          // default 4
	RowsPerInsert int          // at most; default 10
	FixedRows     bool         // every insert has exactly RowsPerInsert rows
	SegmentBytes  int          // a growing segment is sealed after it; default 64 KiB

	DeleteRatio float64 // of data operations; default 0.1
	UpsertRatio float64 // default 0.05: a transaction of a delete and an insert of the same keys
	TxnRatio    float64 // default 0.05
	DDLRatio    float64 // default 0.01

	IdleStretches int           // pauses without any append, spread over the log
	Idle          time.Duration // how long each is; default 3 h

	Batches          bool            // Pulsar entries hold up to four messages
	LedgerEntries    int             // entries until a new Pulsar ledger or Woodpecker segment; default 50000
	NoControlChannel bool            // another pchannel hosts the control channel
	ControlPChannel  string          // which; default another of the cluster
	Secondary        bool            // the cluster becomes a replication target after a quarter of the log
	AlterWAL         message.Backend // the log ends with the switch to another WAL, and the opening after it
	RowBased         bool            // inserts are row-based, as old SDKs wrote them
	Cheap            bool            // tiny payloads and only data operations: for benchmarks
	Collection0      int64
	NodeID           int64 // of the streaming node; default 1
}

func (c *Config) setDefaults() {
	def(&c.PChannel, "by-dev-rootcoord-dml_0")
	def(&c.Backend, message.BackendPulsar)
	def(&c.Version, Version26)
	if c.Start.IsZero() {
		c.Start = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	}
	if c.Rows > 0 {
		c.Messages = math.MaxInt32 // never reached first
	}
	def(&c.Messages, 1000)
	def(&c.Terms, 1)
	def(&c.Rate, 2000)
	def(&c.Concurrency, 8)
	def(&c.Collections, 3)
	def(&c.Shards, 2)
	def(&c.Partitions, 2)
	if len(c.Schemas) == 0 {
		c.Schemas = []SchemaKind{SchemaBasic, SchemaScalars, SchemaVectors, SchemaAutoID}
	}
	if c.RowBased {
		c.Schemas = []SchemaKind{SchemaFixed}
	}
	def(&c.VectorDim, 4)
	def(&c.RowsPerInsert, 10)
	def(&c.SegmentBytes, 64<<10)
	def(&c.DeleteRatio, 0.1)
	def(&c.UpsertRatio, 0.05)
	def(&c.TxnRatio, 0.05)
	def(&c.DDLRatio, 0.01)
	if c.Cheap {
		c.UpsertRatio, c.TxnRatio, c.DDLRatio = -1, -1, -1
		c.Schemas = []SchemaKind{SchemaBasic}
	}
	def(&c.Idle, 3*time.Hour)
	def(&c.LedgerEntries, 50_000)
	def(&c.Collection0, 450_000_000_000_000_000)
	def(&c.NodeID, 1)
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
