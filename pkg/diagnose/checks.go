package diagnose

// Check is one registered rule of verify: what it is called, how bad a break
// is, which invariant of docs/rules.md#invariants it belongs to and what it
// needs to run. The table below is the only place checks are registered.
type Check struct {
	Code      string   // stable; also a key of Codes
	Severity  Severity // of a break
	Invariant int      // 1–16; 0 = no invariant, an observation
	Needs     Need
}

// Need says what a check cannot run without.
type Need uint8

// The needs. NeedCheckpoint is a catalog's consume checkpoint; NeedEntries are
// ids that count entries (Pulsar, Woodpecker); NeedWriter267 is a writer from
// 2.6.7 on, before which last confirmed ids could be wrong; NeedPayload are the
// inserts' payloads.
const (
	NeedCheckpoint Need = 1 << iota
	NeedEntries
	NeedWriter267
	NeedPayload
)

type checkID uint8

// One name for each check, in the order of the table.
const (
	badEnvelope checkID = iota
	unknownType
	chunkedPayload
	chunkedIncomplete
	chunkedUnfinished
	staleWriter
	behindTimeTick
	timeTickRegress
	timeTickJump
	duplicateTimeTick
	retryDuplicate
	lastConfirmedAhead
	lastConfirmedMissing
	lastConfirmedRegress
	lastConfirmedBroken
	lastConfirmedOpen
	termMissing
	termUnopened
	catalogTermBehind
	exclusiveCrossed
	tornTransaction
	transactionOrder
	transactionLatePart
	insertMalformed
	insertOutsideSegment
	insertAfterTruncate
	insertFieldGone
	unknownPartition
	vchannelUnborn
	vchannelAfterDrop
	broadcastMismatch
	broadcastCopyMissing
	barrierAhead
	replicateMismatch
	checkpointBeyond
	positionGone
	idsOutOfOrder
	entryHole
	unreadable
	tornTail
	unconfirmedTail
	openTransaction
	expiredTransaction
	partialStart
	notChecked
	checkCount
)

// checkTable registers every check of verify, read only.
var checkTable = [checkCount]Check{
	badEnvelope:          {"bad-envelope", SeverityError, 1, 0},
	unknownType:          {"unknown-type", SeverityError, 1, 0},
	chunkedPayload:       {"chunked-payload", SeverityWarning, 1, 0},
	chunkedIncomplete:    {"chunked-incomplete", SeverityError, 1, 0},
	chunkedUnfinished:    {"chunked-unfinished", SeverityWarning, 1, 0},
	staleWriter:          {"stale-writer", SeverityError, 7, 0},
	behindTimeTick:       {"behind-timetick", SeverityError, 2, 0},
	timeTickRegress:      {"timetick-regress", SeverityError, 3, 0},
	timeTickJump:         {"timetick-jump", SeverityError, 3, 0},
	duplicateTimeTick:    {"duplicate-timetick", SeverityError, 4, 0},
	retryDuplicate:       {"retry-duplicate", SeverityWarning, 4, 0},
	lastConfirmedAhead:   {"last-confirmed-ahead", SeverityError, 5, 0},
	lastConfirmedMissing: {"last-confirmed-missing", SeverityError, 5, NeedEntries},
	lastConfirmedRegress: {"last-confirmed-regress", SeverityError, 5, NeedWriter267},
	lastConfirmedBroken:  {"last-confirmed-broken", SeverityError, 6, NeedWriter267},
	lastConfirmedOpen:    {"last-confirmed-broken", SeverityWarning, 6, NeedWriter267},
	termMissing:          {"term-missing", SeverityError, 7, 0},
	termUnopened:         {"term-unopened", SeverityError, 7, 0},
	catalogTermBehind:    {"catalog-term-behind", SeverityError, 7, 0},
	exclusiveCrossed:     {"exclusive-crossed", SeverityError, 8, 0},
	tornTransaction:      {"torn-transaction", SeverityError, 9, 0},
	transactionOrder:     {"transaction-order", SeverityError, 9, 0},
	transactionLatePart:  {"transaction-late-part", SeverityError, 9, 0},
	insertMalformed:      {"insert-malformed", SeverityError, 10, 0},
	insertOutsideSegment: {"insert-outside-segment", SeverityError, 10, 0},
	insertAfterTruncate:  {"insert-after-truncate", SeverityInfo, 10, 0},
	insertFieldGone:      {codeFieldGone, SeverityError, 10, NeedPayload}, // told by FieldWatch
	unknownPartition:     {"unknown-partition", SeverityError, 11, 0},
	vchannelUnborn:       {"vchannel-unborn", SeverityError, 11, 0},
	vchannelAfterDrop:    {"vchannel-after-drop", SeverityError, 11, 0},
	broadcastMismatch:    {"broadcast-mismatch", SeverityError, 12, 0},
	broadcastCopyMissing: {"broadcast-copy-missing", SeverityError, 12, 0},
	barrierAhead:         {"barrier-ahead", SeverityError, 13, 0},
	replicateMismatch:    {"replicate-mismatch", SeverityError, 14, 0},
	checkpointBeyond:     {"checkpoint-beyond", SeverityCritical, 15, NeedCheckpoint},
	positionGone:         {"position-gone", SeverityCritical, 15, NeedCheckpoint},
	idsOutOfOrder:        {"ids-out-of-order", SeverityError, 16, 0},
	entryHole:            {"ledger-hole", SeverityCritical, 16, NeedEntries},
	unreadable:           {"unreadable", SeverityCritical, 16, 0},
	tornTail:             {"torn-tail", SeverityInfo, 0, 0},
	unconfirmedTail:      {"unconfirmed-tail", SeverityInfo, 0, 0},
	openTransaction:      {"open-transaction", SeverityInfo, 0, 0},
	expiredTransaction:   {"expired-transaction", SeverityInfo, 0, 0},
	partialStart:         {"partial-start", SeverityInfo, 0, 0},
	notChecked:           {"not-checked", SeverityInfo, 0, 0},
}

// Checks lists every registered check.
func Checks() []Check { return append([]Check(nil), checkTable[:]...) }

// invariantTitles name the invariants of docs/rules.md#invariants, from 1.
var invariantTitles = [17]string{
	1:  "envelopes are whole",
	2:  "nothing comes too late for a TimeTick",
	3:  "TimeTicks increase",
	4:  "one TimeTick, one message",
	5:  "last confirmed ids advance",
	6:  "last confirmed ids keep their promise",
	7:  "terms never decrease",
	8:  "exclusive messages are not crossed",
	9:  "transactions are whole and in order",
	10: "inserts fall into a growing segment",
	11: "vchannels live from create to drop",
	12: "broadcasts name their vchannels",
	13: "barriers come before their messages",
	14: "replication headers where they belong",
	15: "the checkpoint can be read on from",
	16: "no entry is missing",
}
