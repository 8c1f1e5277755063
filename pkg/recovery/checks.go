package recovery

import "github.com/walctl/walctl/pkg/check"

// checks are those of this package, with two of its replays' older codes. Read only.
var checks = [...]*check.Check{
	checkCatalogKey,
	checkEnvelope,
	checkHeader,
	checkBody,
	checkNeverOnWire,
	checkUnknownType,
	checkNewerType,
	checkReplicateConfig,
	CheckPositionGone,
	checkCheckpointBroken,
	checkNoCheckpoint,
	checkOpeningUnreadable,
	checkAlterWALStageLost,
	checkUnreadable,
	checkGap,
	checkIDBackwards,
	checkPayloadAbsent,
	checkImportWaits,
	CheckChunked,
	CheckChunksMissing,
	CheckChunksUnfinished,
	oldCheckpointOtherWAL,
	oldCheckpointGone,
	oldCheckpointBeyond,
	CheckVChannelMissing,
	CheckChannelDropped,
	checkVChannelUnknown,
	checkInsertNoSegment,
	checkInsertFlushed,
	checkInsertNoVChannel,
	checkInsertDropped,
	checkInsertNoPartition,
	checkSegmentSkipped,
	checkSegmentOrphan,
	checkFlushMissing,
	CheckCopyMissing,
	checkReplicateState,
	checkStale,
	checkDuplicateID,
	checkEqualTimeTick,
	checkTimeWentBack,
	checkTxnBroken,
	checkTxnExpired,
	checkTxnDiscarded,
}

// Checks lists what a replay can report.
func Checks() []*check.Check { return checks[:] }

// CheckOf returns a code's check; one without words where there is none.
func CheckOf(code Code) *check.Check {
	for _, c := range checks {
		if c.Code == string(code) {
			return c
		}
	}
	return &check.Check{Code: string(code), Severity: check.Warning}
}
