package message

import "time"

// logicalBits is how many low bits of a TSO count within a millisecond.
const logicalBits = 18

// PhysicalMillis returns a TSO's time in Unix milliseconds. docs/rules.md#tso
func PhysicalMillis(tso uint64) int64 { return int64(tso >> logicalBits) }

// Logical returns a TSO's counter within its millisecond, 0 to 262143.
func Logical(tso uint64) uint32 { return uint32(tso & (1<<logicalBits - 1)) }

// ComposeTSO builds a TSO; times before 1970 give 0, a logical part that does
// not fit is cut.
func ComposeTSO(unixMillis int64, logical uint32) uint64 {
	return uint64(max(unixMillis, 0))<<logicalBits | uint64(logical)&(1<<logicalBits-1)
}

// TimeOf returns a TSO's time in UTC, to the millisecond.
func TimeOf(tso uint64) time.Time { return time.UnixMilli(PhysicalMillis(tso)).UTC() }

// TSOAt returns the smallest TSO of a time's millisecond.
func TSOAt(t time.Time) uint64 { return ComposeTSO(t.UnixMilli(), 0) }

// LastTSOAt returns the largest TSO of a time's millisecond.
func LastTSOAt(t time.Time) uint64 { return ComposeTSO(t.UnixMilli(), 1<<logicalBits-1) }

// AddMillis returns the TSO that many milliseconds later, of the same counter. It wraps
// around as Milvus's own arithmetic does.
func AddMillis(tso uint64, millis int64) uint64 { return tso + uint64(millis)<<logicalBits }

// FormatTSO prints a TSO's time as RFC 3339 with milliseconds, UTC; "-" for 0.
func FormatTSO(tso uint64) string {
	if tso == 0 {
		return "-"
	}
	return TimeOf(tso).Format("2006-01-02T15:04:05.000Z07:00")
}
