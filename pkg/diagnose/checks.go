package diagnose

import (
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/walctl/walctl/pkg/channelbuf"
	"github.com/walctl/walctl/pkg/check"
	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/recovery/plan"
)

// checks are those of this package; each stands beside the rule that raises it.
// Read only.
var checks = [...]*Check{
	badEnvelope, unknownType, barrierAhead,
	duplicateTimeTick, retryDuplicate,
	staleWriter, behindTimeTick, timeTickRegress, timeTickJump, lastConfirmedAhead, lastConfirmedMissing, lastConfirmedRegress, termMissing, termUnopened,
	lastConfirmedBroken, tornTransaction, transactionOrder, transactionLatePart, openTransaction, expiredTransaction,
	exclusiveCrossed,
	insertMalformed, insertOutsideSegment, insertAfterTruncate,
	insertFieldGone,
	unknownPartition, vchannelUnborn, vchannelAfterDrop,
	broadcastMismatch, replicateMismatch,
	checkpointBeyond, idsOutOfOrder, entryHole,
	unreadable, tornTail, unconfirmedTail, partialStart, notChecked,
	timeTickStalled, timeTickLost,
	vchannelUnknown, vchannelTwice, vchannelMisplaced, vchannelDropped,
	channelFrozen, channelAhead,
	catalogTermBehind, walOwnedTwice, walTermDiffers, walOpeningFails, channelReduplicates,
	scannerStuck, catchUpHangs, appendNotAcknowledged, flusherBlocked, walInRecovery, growingNearWatermark,
	positionSoon,
	diskWhole, diskStart,
}

// Checks lists every check of every room, sorted by code.
func Checks() []*Check {
	out := slices.Concat(checks[:], recovery.Checks(), catalog.Checks(), plan.Checks(), channelbuf.Checks())
	sort.Slice(out, func(i, j int) bool { return out[i].Code < out[j].Code })
	return out
}

// Lookup returns a code's check, nil where there is none.
func Lookup(code string) *Check {
	for _, c := range Checks() {
		if c.Code == code {
			return c
		}
	}
	return nil
}

// ofInvariant lists the checks of an invariant.
func ofInvariant(n int) []*Check {
	return slices.DeleteFunc(Checks(), func(c *Check) bool { return c.Invariant != n })
}

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

// ThreadURL spells out an upstream thread: milvus#N or birdwatcher#N.
func ThreadURL(thread string) string {
	repo, n, _ := strings.Cut(thread, "#")
	if repo == "birdwatcher" {
		return "https://github.com/milvus-io/birdwatcher/issues/" + n
	}
	return "https://github.com/milvus-io/milvus/issues/" + n
}

// Page returns docs/findings.md.
func Page() string {
	var b strings.Builder
	b.WriteString("# Findings\n\nEvery code walctl reports, as `walctl explain CODE` tells it. Made from the checks (pkg/check, and beside the rules).\n")
	for _, c := range Checks() {
		b.WriteString("\n## " + c.Code + "\n\n**" + strings.ToUpper(c.Title[:1]) + c.Title[1:] + ".** " + severityLine(c) + "\n\n" +
			c.Meaning + "\n\n*Cause:* " + c.Cause + "\n\n*What to do:* " + c.Do + "\n")
		if c.Needs != 0 {
			b.WriteString("\n*Needs, beside the log:* " + c.Needs.String() + ".\n")
		}
		for i, t := range c.Threads {
			if i == 0 {
				b.WriteString("\n*Upstream:*")
			}
			b.WriteString(" [" + t + "](" + ThreadURL(t) + ")")
			if i == len(c.Threads)-1 {
				b.WriteString("\n")
			}
		}
	}
	return b.String()
}

// severityLine says how bad a check's findings are, and of which invariant.
func severityLine(c *Check) string {
	switch c.Kind {
	case check.Retired:
		return "A code of older versions; what it told is reported as position-gone now."
	case check.Problem:
		return "A problem of a key, as `catalog show` lists it."
	case check.Refusal:
		return "A reason why `apply` or `undo` refuses (exit code 5)."
	}
	s := "Severity: " + c.Severity.String()
	if c.Else.Where != "" {
		s += "; " + c.Else.Severity.String() + " where " + c.Else.Where
	}
	s += "."
	if c.Invariant > 0 {
		s += " Invariant " + strconv.Itoa(c.Invariant) + " ([rules](rules.md#invariants)): " + invariantTitles[c.Invariant] + "."
	}
	return s
}
