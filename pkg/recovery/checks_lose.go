package recovery

import "github.com/walctl/walctl/pkg/check"

// What loses rows, or only puzzles (docs/rules.md#recovery-quarantine).
const (
	CodeVChannelMissing   Code = "vchannel-missing"   // RootCoord lists it, neither catalog nor log brings it
	CodeChannelDropped    Code = "channel-cp-dropped" // DataCoord counts a channel as dropped that lives
	CodeVChannelUnknown   Code = "recovery-vchannel-unknown"
	CodeInsertNoSegment   Code = "recovery-insert-segment-missing"
	CodeInsertFlushed     Code = "recovery-insert-segment-flushed"
	CodeInsertNoVChannel  Code = "recovery-insert-vchannel-unknown"
	CodeInsertDropped     Code = "recovery-insert-vchannel-dropped"
	CodeInsertNoPartition Code = "recovery-insert-partition-unknown"
	CodeSegmentSkipped    Code = "recovery-segment-without-vchannel"
	CodeSegmentOrphan     Code = "recovery-segment-orphan"
	CodeFlushMissing      Code = "recovery-flush-segment-missing"
	CodeCopyMissing       Code = "broadcast-copy-missing"
	CodeReplicateState    Code = "recovery-replicate-checkpoint"
	CodeStale             Code = "recovery-message-stale"
	CodeDuplicateID       Code = "recovery-duplicate-id"
	CodeEqualTimeTick     Code = "recovery-equal-timetick"
	CodeTimeWentBack      Code = "recovery-time-went-back"
	CodeTxnBroken         Code = "recovery-transaction-broken"
	CodeTxnExpired        Code = "recovery-transaction-expired"
	CodeTxnDiscarded      Code = "recovery-transaction-discarded"
)

// CheckVChannelMissing finds a vchannel without its registration.
var CheckVChannelMissing = &check.Check{
	Code: string(CodeVChannelMissing), Severity: check.Critical, Needs: check.NeedCatalog,
	Title:   "a vchannel without its registration",
	Says:    "nothing on this vchannel is recovered or flushed, and no restart registers it",
	Meaning: "A node that opens the WAL does not know the vchannel: what the log holds on it is passed over, its checkpoint freezes, flushing everything hangs.",
	Cause:   "A registration lost in a write that was cut off, or removed by hand.",
	Do:      "Stop Milvus, make a plan with channels repair, apply it. The registration is made from RootCoord's keys.",
	Threads: []string{"birdwatcher#524", "birdwatcher#531"},
}

// CheckChannelDropped finds a channel marked as dropped that is registered.
var CheckChannelDropped = &check.Check{
	Code: string(CodeChannelDropped), Severity: check.Critical, Invariant: 15, Needs: check.NeedCatalog,
	Title:   "a channel marked as dropped that is registered",
	Says:    "DataCoord marks the channel as dropped, yet it is registered and its collection lives: its flusher has no place to begin at, and a node that seeks there can panic",
	Meaning: "DataCoord counts the channel as gone: its position is never moved again, its segments may be collected as garbage, and a node that seeks to the position, which has no id, can panic.",
	Cause:   "A drop that was cut off, or a mark set by hand.",
	Do:      "Find out whether the collection is to live before anything is changed.",
	Threads: []string{"birdwatcher#527", "milvus#36016", "milvus#49996"},
}

var checkVChannelUnknown = &check.Check{
	Code: string(CodeVChannelUnknown), Severity: check.Error, Needs: check.NeedCatalog,
	Title:   "a message on a vchannel the metadata does not know",
	Says:    "a node logs it as inconsistent and goes on; metadata for its vchannel is missing",
	Meaning: "A node logs it as inconsistent and goes on. The collection is missing from the recovered metadata.",
	Cause:   "The message that created it was dropped or lost, or the vchannel's keys were deleted.",
	Do:      "Find the CreateCollection with inspect --records --type CreateCollection; recovery-message-stale shows whether it was dropped.",
	Threads: []string{"milvus#47802", "milvus#47886"},
}

var checkInsertNoSegment = &check.Check{
	Code: string(CodeInsertNoSegment), Severity: check.Warning, Needs: check.NeedCatalog,
	Title:   "rows for a segment recovery does not know",
	Says:    "recovery passes over the rows: it knows no such segment, and no growing segment serves them",
	Meaning: "Recovery passes over the rows; no growing segment serves them.",
	Cause:   "The message that created the segment was dropped, lost, or lies before the log's start.",
	Do:      "List the messages with state -o json; verify tells what is missing.",
}

var checkInsertFlushed = &check.Check{
	Code: string(CodeInsertFlushed), Severity: check.Info, Needs: check.NeedCatalog,
	Title:   "rows committed after their segment was sealed",
	Says:    "recovery passes over the rows: their segment was sealed before they were committed",
	Meaning: "Recovery passes over the rows in its metadata. A healthy node leaves some of these.",
	Cause:   "A transaction committed after a flush of its segment.",
	Do:      "Nothing, unless there are many.",
}

var checkInsertNoVChannel = &check.Check{
	Code: string(CodeInsertNoVChannel), Severity: check.Error, Needs: check.NeedCatalog,
	Title:   "rows on a vchannel without metadata",
	Says:    "recovery passes over the rows: their vchannel has no metadata",
	Meaning: "Recovery passes over the rows.",
	Cause:   "As recovery-vchannel-unknown.",
	Do:      "As recovery-vchannel-unknown.",
}

var checkInsertDropped = &check.Check{
	Code: string(CodeInsertDropped), Severity: check.Warning, Needs: check.NeedCatalog,
	Title:   "rows of a dropped collection",
	Says:    "recovery passes over the rows: their collection is dropped",
	Meaning: "The rows are gone with their collection.",
	Cause:   "The collection was dropped while rows were still being written.",
	Do:      "Nothing, where the drop was meant.",
}

var checkInsertNoPartition = &check.Check{
	Code: string(CodeInsertNoPartition), Severity: check.Warning, Needs: check.NeedCatalog,
	Title:   "rows of a dropped or unknown partition",
	Says:    "recovery passes over the rows, or counts them in a segment it then hides: their partition is dropped or unknown",
	Meaning: "Recovery passes over the rows, or counts them in a segment it then hides.",
	Cause:   "Partitions created or dropped while rows were being written, or a definition that was lost.",
	Do:      "Compare the partition's definitions in the log: inspect --records --type CreatePartition,DropPartition.",
	Threads: []string{"milvus#41615"},
}

var checkSegmentSkipped = &check.Check{
	Code: string(CodeSegmentSkipped), Severity: check.Warning, Needs: check.NeedCatalog,
	Title:   "a segment on a vchannel without metadata",
	Says:    "the segment is not created, so rows written into it are passed over",
	Meaning: "The segment is not created, so rows written into it are passed over.",
	Cause:   "As recovery-vchannel-unknown.",
	Do:      "As recovery-vchannel-unknown.",
}

var checkSegmentOrphan = &check.Check{
	Code: string(CodeSegmentOrphan), Severity: check.Warning, Needs: check.NeedCatalog,
	Title:   "a growing segment whose partition is not active",
	Says:    "the growing segment is hidden from the node: its rows are not served as growing data",
	Meaning: "The segment is hidden from the node; unfiltered it would panic.",
	Cause:   "A partition dropped around the creation of the segment.",
	Do:      "Look at it with state --view all.",
	Threads: []string{"milvus#41615"},
}

var checkFlushMissing = &check.Check{
	Code: string(CodeFlushMissing), Severity: check.Warning, Needs: check.NeedCatalog,
	Title:   "a flush names a segment recovery does not know",
	Says:    "the flush names a segment recovery does not know",
	Meaning: "Nothing is sealed; a node logs it as inconsistent.",
	Cause:   "As recovery-insert-segment-missing, or a segment from before streaming.",
	Do:      "Nothing, unless rows are missing too.",
}

// CheckCopyMissing finds a broadcast whose copy on a vchannel never came.
var CheckCopyMissing = &check.Check{
	Code: string(CodeCopyMissing), Severity: check.Error, Else: check.Else{Severity: check.Warning, Where: "the copy may still be on its way, and in recover"}, Invariant: 12,
	Title:   "a broadcast whose copy on a vchannel never came",
	Says:    "the broadcast is not finished: the coordinator sends the copy when it runs, and later changes of the same object wait",
	Meaning: "The change it carries is not finished: this vchannel goes by the old definition, and later changes of the same object wait.",
	Cause:   "The coordinator was stopped, or the pchannel was not open, while the broadcast was sent.",
	Do:      "Let the coordinator run: it sends the copy again. Where it does not, look for what keeps the pchannel from opening.",
	Threads: []string{"milvus#45285"},
}

var checkReplicateState = &check.Check{
	Code: string(CodeReplicateState), Severity: check.Warning, Needs: check.NeedCatalog,
	Title:   "a replicated message the replicate checkpoint does not follow",
	Says:    "the replicate checkpoint does not advance: replication may resend or stall",
	Meaning: "The replicate checkpoint does not advance: replication may resend or stall.",
	Cause:   "The catalog has no replicate checkpoint, or one of another source cluster.",
	Do:      "Compare the configuration in state -o json with the source cluster's.",
}

var checkStale = &check.Check{
	Code: string(CodeStale), Severity: check.Error, Needs: check.NeedCatalog,
	Title:   "a message that came too late: a TimeTick had passed it",
	Says:    "the message came too late for a TimeTick: every later reader drops it",
	Meaning: "Every later reader and recovery drop it, although its writer was told it is safe.",
	Cause:   "Two nodes had the log open at once, or an append was given up and landed after all.",
	Do:      "Run verify: stale-writer and behind-timetick tell which.",
	Threads: []string{"milvus#53368"},
}

var checkDuplicateID = &check.Check{
	Code: string(CodeDuplicateID), Severity: check.Warning, Needs: check.NeedCatalog,
	Title:   "an id twice among the messages that wait",
	Says:    "the message is delivered once",
	Meaning: "The message is delivered once.",
	Cause:   "A log put together from two copies.",
	Do:      "Nothing, where both are the same.",
}

var checkEqualTimeTick = &check.Check{
	Code: string(CodeEqualTimeTick), Severity: check.Warning, Needs: check.NeedCatalog,
	Title:   "another message with the TimeTick of the one before",
	Says:    "recovery takes it for a second copy and passes over it; a flusher delivers it",
	Meaning: "Recovery passes over it as a second copy of an append that was tried again, although it is another: its rows or definition are not in the recovered state.",
	Cause:   "A clock that gave a TimeTick twice, or a log put together by hand.",
	Do:      "Run verify: it names both messages.",
}

var checkTimeWentBack = &check.Check{
	Code: string(CodeTimeWentBack), Severity: check.Error, Needs: check.NeedCatalog,
	Title:   "messages whose TimeTick lies before an earlier one",
	Says:    "its TimeTick lies before one delivered earlier: readers deliver it, recovery ignores it, so it is missing from the recovered state",
	Meaning: "Readers deliver them, but recovery ignores what is not larger than its checkpoint's TimeTick: their rows, segments and definitions are missing from the recovered state.",
	Cause:   "The coordinator's timestamps went back at a restart.",
	Do:      "Capture the log first. salvage reads the rows; Cost says how many.",
	Threads: []string{"milvus#51469"},
}

var checkTxnBroken = &check.Check{
	Code: string(CodeTxnBroken), Severity: check.Info, Needs: check.NeedCatalog,
	Title:   "a part of a transaction without its Begin",
	Says:    "a part without its Begin: the part is dropped",
	Meaning: "The part is dropped.",
	Cause:   "The transaction was failed by a definition or ended before, or its Begin was lost.",
	Do:      "Nothing, where the client was told; else run verify.",
}

var checkTxnExpired = &check.Check{
	Code: string(CodeTxnExpired), Severity: check.Info, Needs: check.NeedCatalog,
	Title:   "an abandoned transaction",
	Says:    "the transaction was abandoned; its parts are dropped",
	Meaning: "Its parts are dropped once its keepalive is over. Its writer was never told that it committed.",
	Cause:   "A client that went away, or a transaction failed by a definition without a rollback.",
	Do:      "Nothing.",
}

var checkTxnDiscarded = &check.Check{
	Code: string(CodeTxnDiscarded), Severity: check.Info, Needs: check.NeedCatalog,
	Title:   "a transaction that was given up",
	Says:    "the transaction was given up; its parts are dropped",
	Meaning: "Its parts are dropped: its Begin came again, or a promotion by force ended it.",
	Cause:   "Replication that resent a transaction, or a promotion by force.",
	Do:      "Nothing, where replication resent it whole.",
}
