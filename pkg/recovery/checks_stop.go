package recovery

import "github.com/walctl/walctl/pkg/check"

// What stops a node (docs/rules.md#recovery-obstacles).
const (
	CodeCatalogKey        Code = "recovery-catalog-key"           // a key Milvus panics on or gives up at
	CodeEnvelope          Code = "recovery-envelope-undecodable"  // properties it panics on
	CodeHeader            Code = "recovery-header-undecodable"    // typed header missing or broken
	CodeBody              Code = "recovery-body-undecodable"      // DDL payload missing or broken
	CodeNeverOnWire       Code = "recovery-never-on-wire"         // a consumer-side type, or `_np`
	CodeUnknownType       Code = "recovery-unknown-type"          // no line knows the type
	CodeNewerType         Code = "recovery-newer-type"            // an older line panics on it
	CodeReplicateConfig   Code = "recovery-replicate-config"      // a configuration that panics
	CodePositionGone      Code = "position-gone"                  // a stored position cannot be read from: source.Standing says why
	CodeCheckpointBroken  Code = "recovery-checkpoint-unreadable" // its id cannot be parsed
	CodeNoCheckpoint      Code = "recovery-no-checkpoint"         // collections come from the root coordinator
	CodeOpeningUnreadable Code = "recovery-opening-unreadable"    // the TimeTick to stop at is not in the log
	CodeAlterWALStageLost Code = "recovery-alter-wal-stage-lost"  // a WAL switch was cut off between its stages
	CodeUnreadable        Code = "recovery-log-unreadable"        // a place in the log is corrupt
	CodeGap               Code = "recovery-log-gap"               // ids are missing
	CodeIDBackwards       Code = "recovery-id-backwards"          // an id lies before its predecessor
	CodePayloadAbsent     Code = "recovery-payload-absent"        // a definition that was copied without its payload
	CodeImportWaits       Code = "recovery-import-waits"          // a flusher waits at a CommitImport
	CodeChunked           Code = "chunked-payload"                // a message in several records, put together
	CodeChunksMissing     Code = "chunked-incomplete"             // one that cannot be
	CodeChunksUnfinished  Code = "chunked-unfinished"             // one whose append was never finished
)

var checkCatalogKey = &check.Check{
	Code: string(CodeCatalogKey), Severity: check.Warning, Else: check.Stops, Needs: check.NeedCatalog,
	Title:   "a catalog key stops every node that loads it",
	Says:    "every node that opens this WAL stops while it loads the key",
	Meaning: "The node panics or gives up while it opens the WAL, again at each restart; nothing of the log is served.",
	Cause:   "A write of many keys that was cut off between two batches, an edit by hand, or damage.",
	Do:      "Look at the key with diff against an older snapshot of etcd. Capture log and catalog before anything is changed.",
	Threads: []string{"milvus#41615", "milvus#47802"},
}

var checkEnvelope = &check.Check{
	Code: string(CodeEnvelope), Severity: check.Warning, Else: check.Stops, Needs: check.NeedCatalog,
	Title:   "a message's properties cannot be parsed",
	Says:    "every node that reads this message panics",
	Meaning: "Every node that reads the message panics. The replay goes on without it.",
	Cause:   "A foreign producer on the topic, a writer of another version, or damage.",
	Do:      "Look at the message with inspect --id.",
}

var checkHeader = &check.Check{
	Code: string(CodeHeader), Severity: check.Warning, Else: check.Stops, Needs: check.NeedCatalog,
	Title:   "a message's typed header is missing or broken",
	Says:    "every node that recovers over this message panics",
	Meaning: "A node that recovers over the message panics. The replay leaves the metadata as it is and goes on.",
	Cause:   "A writer of another version, or damage.",
	Do:      "Look at the message with inspect --id; state --until shows the metadata right before it.",
}

var checkBody = &check.Check{
	Code: string(CodeBody), Severity: check.Warning, Else: check.Stops, Needs: check.NeedCatalog,
	Title:   "the body of a definition cannot be decoded",
	Says:    "every node that recovers over this message panics",
	Meaning: "A node that recovers over the message panics; the schema it brings is not known.",
	Cause:   "Damage, or a log that was copied without its payloads.",
	Do:      "Read the log from where its payloads are; take the schema from the root coordinator's keys.",
}

var checkNeverOnWire = &check.Check{
	Code: string(CodeNeverOnWire), Severity: check.Warning, Else: check.Stops, Needs: check.NeedCatalog,
	Title:   "a record that no writer puts into a log",
	Says:    "every node that recovers over this message panics or drops it",
	Meaning: "Whole transactions and unpersisted TimeTicks live in memory only. A node panics on the first and misreads the second.",
	Cause:   "A foreign producer on the topic, or damage.",
	Do:      "Look at the message with inspect --id.",
}

var checkUnknownType = &check.Check{
	Code: string(CodeUnknownType), Severity: check.Warning, Else: check.Stops, Needs: check.NeedCatalog,
	Title:   "a message type neither 2.6 nor 3.0 knows",
	Says:    "recovery passes over it; the flusher of a live vchannel that gets it panics, again at each restart",
	Meaning: "Recovery passes over it, but a flusher that gets it panics.",
	Cause:   "A newer Milvus wrote it, as before a downgrade, or damage.",
	Do:      "Start the version that wrote the log, or a newer one.",
	Threads: []string{"milvus#53558"},
}

var checkNewerType = &check.Check{
	Code: string(CodeNewerType), Severity: check.Info, Else: check.Stops, Needs: check.NeedCatalog,
	Title:   "a message type that 2.6 does not know",
	Says:    "a flusher of the older line panics when it gets it: the downgrade fails",
	Meaning: "3.0 handles it; a flusher of 2.6 panics when it gets it.",
	Cause:   "The cluster ran 3.0 before.",
	Do:      "Do not go back to 2.6 while the message lies after the checkpoint.",
}

var checkReplicateConfig = &check.Check{
	Code: string(CodeReplicateConfig), Severity: check.Warning, Else: check.Stops, Needs: check.NeedCatalog,
	Title:   "a replicate configuration that panics a node",
	Says:    "every node that recovers over this message panics, again at each restart",
	Meaning: "Every node that recovers over the message panics, again at each restart.",
	Cause:   "A configuration without the own cluster or pchannel, with other than one primary, or with unequal numbers of pchannels.",
	Do:      "Compare it with the cluster's prefix; name another with --cluster if this one is not by-dev.",
}

// CheckPositionGone finds a stored position that cannot be read from any more.
var CheckPositionGone = &check.Check{
	Code: string(CodePositionGone), Severity: check.Critical, Invariant: 15, Needs: check.NeedCheckpoint,
	Title:   "a stored position cannot be read from any more",
	Says:    "nothing can be read from there: a node silently begins at the next message it finds, and what lay between is lost to it",
	Meaning: "It lies before the log's first record or beyond its end, the log is empty, or it is no position of this log. A restart silently begins at the next message it finds: everything between is lost to it.",
	Cause:   "Retention removed it (nothing in Milvus pins a Pulsar log), the topic was made again, the end of the log was lost, or log and catalog do not belong together.",
	Do:      "Do not restart. Raise retention, capture what is left; compare the ids with inspect.",
	Threads: []string{"milvus#41904", "milvus#42653", "milvus#53581", "milvus#53539"},
}

var checkCheckpointBroken = &check.Check{
	Code: string(CodeCheckpointBroken), Severity: check.Warning, Else: check.Stops, Needs: check.NeedCatalog,
	Title:   "the checkpoint's position cannot be parsed",
	Says:    "the opening fails while it loads the checkpoint",
	Meaning: "The opening fails while it loads the checkpoint.",
	Cause:   "Damage, or an edit by hand.",
	Do:      "Take the position from an older snapshot of etcd.",
}

var checkNoCheckpoint = &check.Check{
	Code: string(CodeNoCheckpoint), Severity: check.Error, Needs: check.NeedCatalog,
	Else:    check.Else{Severity: check.Info, Where: "the log holds nothing but messages from before streaming: it is so until the first start after the upgrade"},
	Title:   "the catalog has no checkpoint of this WAL",
	Says:    "the node starts from the root coordinator's collections and ignores everything in the log",
	Meaning: "A node takes the root coordinator's collections and starts at its own opening TimeTick: everything in the log before it is ignored.",
	Cause:   "The WAL was never opened, the key was deleted, or the catalog is of another cluster.",
	Do:      "Make sure that log and catalog belong together before any node starts.",
}

var checkOpeningUnreadable = &check.Check{
	Code: string(CodeOpeningUnreadable), Severity: check.Error, Needs: check.NeedCatalog,
	Title:   "the TimeTick to stop at is not in the log",
	Says:    "the opening waits for this TimeTick for ever",
	Meaning: "A node that opened with this TimeTick waits for it for ever. With --until, the question has no answer.",
	Cause:   "The opening TimeTick was lost, lies before the checkpoint, or was typed wrongly.",
	Do:      "List TimeTicks with inspect --records --type TimeTick.",
}

var checkAlterWALStageLost = &check.Check{
	Code: string(CodeAlterWALStageLost), Severity: check.Warning, Else: check.Stops, Needs: check.NeedCatalog,
	Title:   "a switch to another WAL was cut off",
	Says:    "the switch to the other WAL was cut off; no node finishes it by itself",
	Meaning: "The catalog notes a switch that no node finishes by itself.",
	Cause:   "A crash between the stages of the switch.",
	Do:      "Find out on which WAL the other pchannels are; finish or drop the switch there.",
}

var checkUnreadable = &check.Check{
	Code: string(CodeUnreadable), Severity: check.Error, Needs: check.NeedCatalog,
	Title:   "a place in the log cannot be read",
	Says:    "what lay there is not replayed; whether a node could read it is not known here",
	Meaning: "What lay there is not replayed; whether a node could read it is not known here.",
	Cause:   "Damage in the file or archive, or an entry the broker cannot give.",
	Do:      "Run verify to see where; read the log from another copy.",
}

var checkGap = &check.Check{
	Code: string(CodeGap), Severity: check.Error, Needs: check.NeedCatalog,
	Title:   "ids are missing in the log",
	Says:    "the missing messages are not replayed",
	Meaning: "Messages were lost between the two ids; the state may lack rows or definitions.",
	Cause:   "Lost entries, or a log that was cut or filtered when it was copied.",
	Do:      "Run verify: it tells what refers to the lost messages.",
}

var checkIDBackwards = &check.Check{
	Code: string(CodeIDBackwards), Severity: check.Warning, Needs: check.NeedCatalog,
	Title:   "an id is smaller than the one read before it",
	Says:    "the log is not in the order of its ids",
	Meaning: "The log is not in the order of its ids, so it is not as a broker gives it.",
	Cause:   "A log put together from several, or edited.",
	Do:      "Read the log from where it was captured.",
}

var checkPayloadAbsent = &check.Check{
	Code: string(CodePayloadAbsent), Severity: check.Warning, Needs: check.NeedCatalog,
	Title:   "a definition was copied without its payload",
	Says:    "not checked: this copy of the log lacks the definition's payload; export it with --data, or capture it with its payloads",
	Meaning: "Not checked: the schema it brings is not known here, so the state reached and a plan would lack it. Nothing is said about what a node does with it.",
	Cause:   "A log exported without --data, or an archive without payload/.",
	Do:      "Export it with inspect --records -o ndjson --data, or capture the log with its payloads.",
}

var checkImportWaits = &check.Check{
	Code: string(CodeImportWaits), Severity: check.Error, Needs: check.NeedCatalog,
	Title:   "a CommitImport right after the checkpoint",
	Says:    "the flusher tries this import again until its job is Uncommitted, and so it does after each restart: no restart cures it",
	Meaning: "A flusher tries a CommitImport again and again before it passes it on, so the checkpoint stops before it, and everything after it is read again at each restart.",
	Cause:   "The import job is not in state Uncommitted, so the commit can't be done.",
	Do:      "Bring the import job to Uncommitted, or end it. A restart cures nothing.",
	Threads: []string{"milvus#50499", "milvus#51721"},
}

var oldCheckpointOtherWAL = &check.Check{
	Code: "recovery-checkpoint-other-wal", Severity: check.Critical, Needs: check.NeedCatalog, Kind: check.Retired,
	Title:   "the checkpoint belongs to another WAL (now position-gone)",
	Meaning: "The opening fails: a position of one backend means nothing in another. The replay reads the log from its start instead.",
	Cause:   "The WAL was switched, the configuration names another backend than the one in use, or log and catalog are not of one cluster.",
	Do:      "Make sure that log and catalog belong together. Since positions are judged in one place, this is reported as position-gone.",
}

var oldCheckpointGone = &check.Check{
	Code: "recovery-checkpoint-gone", Severity: check.Critical, Needs: check.NeedCatalog, Kind: check.Retired,
	Title:   "the checkpoint's message does not exist any more (now position-gone)",
	Meaning: "A node begins at the next message that survived, in silence. What lay between is lost: rows, definitions, transactions.",
	Cause:   "Retention removed it: nothing in Milvus pins the log.",
	Do:      "Raise retention on the broker at once; see what is left with inspect. Now reported as position-gone.",
	Threads: []string{"milvus#53539"},
}

var oldCheckpointBeyond = &check.Check{
	Code: "recovery-checkpoint-beyond-end", Severity: check.Critical, Needs: check.NeedCatalog, Kind: check.Retired,
	Title:   "the checkpoint lies beyond the end of the log (now position-gone)",
	Meaning: "The end of the log is lost, or this is not the log the catalog belongs to: nothing can be replayed.",
	Cause:   "A broker that lost acknowledged entries, a topic made again, or a log and a catalog that do not belong together.",
	Do:      "Compare the ids with inspect; look for the lost ledgers on the bookies. Now reported as position-gone.",
}

// CheckChunked finds a message whose payload stands in several records.
var CheckChunked = &check.Check{
	Code: string(CodeChunked), Severity: check.Warning, Else: check.Stops, Invariant: 1,
	Title:   "a message whose payload stands in several records",
	Says:    "a newer Milvus wrote it in several records and reads it as one message; nodes of 2.6 and 3.0 do not put them together",
	Meaning: "Written by a newer Milvus: its records share properties and TimeTick and are one message, counted once. Neither 2.6 nor 3.0 puts them together: their nodes take each for a message of its own.",
	Cause:   "A payload too large for one record, split by a writer newer than 3.0; or a downgrade since. recover, state and salvage put it together.",
	Do:      "Start the version that wrote the log, or a newer one.",
	Threads: []string{"milvus#52775", "milvus#52474"},
}

// CheckChunksMissing finds a message in several records that cannot be put together.
var CheckChunksMissing = &check.Check{
	Code: string(CodeChunksMissing), Severity: check.Error, Invariant: 1,
	Title:   "a message in several records that cannot be put together",
	Says:    "its records are not all there, or contradict each other: the Milvus that wrote it cannot read it, and what it carried is lost",
	Meaning: "Some of its records are gone while later ones are there, or two of them contradict each other: what it carried is lost. A newer Milvus passes over missing records in silence, and stops serving the pchannel at contradictory ones.",
	Cause:   "Records lost from the log, a log that was cut or filtered when it was copied, or damage.",
	Do:      "Run verify: a ledger-hole shows lost records. Read the log from another copy, or from where it was captured.",
	Threads: []string{"milvus#52775"},
}

// CheckChunksUnfinished finds a message in several records whose last ones were never written.
var CheckChunksUnfinished = &check.Check{
	Code: string(CodeChunksUnfinished), Severity: check.Warning, Invariant: 1,
	Title:   "a message in several records whose last ones were never written",
	Says:    "its writer stopped between its records and told no client that it is safe: readers drop it",
	Meaning: "Its writer stopped between two of them, so no client was told that it is safe: readers drop it, and nothing is lost that was promised.",
	Cause:   "A node that crashed or lost the log in the middle of a large append.",
	Do:      "Nothing; the client's write failed and is to be repeated.",
	Threads: []string{"milvus#52775"},
}
