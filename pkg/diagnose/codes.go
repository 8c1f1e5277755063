package diagnose

import (
	"slices"
	"sort"
	"strings"
)

// Explanation is what `walctl explain CODE` prints.
type Explanation struct {
	Code    string   `json:"code"`
	Title   string   `json:"title"`   // a few words
	Meaning string   `json:"meaning"` // what it means for data; one or two sentences
	Cause   string   `json:"cause"`
	Do      string   `json:"do"`
	Threads []string `json:"threads,omitempty"` // upstream, as milvus#NUMBER
}

// Lookup returns a code's explanation; the zero value where there is none.
func Lookup(code string) Explanation {
	for _, list := range [...][]Explanation{explanations[:], recoveryExplanations[:], channelExplanations[:]} {
		for i := range list {
			if list[i].Code == code {
				return list[i]
			}
		}
	}
	return Explanation{}
}

// Explanations lists every code, sorted.
func Explanations() []Explanation {
	out := slices.Concat(explanations[:], recoveryExplanations[:], channelExplanations[:])
	sort.Slice(out, func(i, j int) bool { return out[i].Code < out[j].Code })
	return out
}

// explanations is read only; docs/findings.md is made of it.
var explanations = [...]Explanation{
	{"bad-envelope", "a message's properties are not whole",
		"Milvus reads these properties without asking: a node that meets the message can panic, and what it carries is not replayed.",
		"A writer of another version, a foreign producer on the topic, or damage on the way.",
		"Look at the message with inspect --id. Do not restart the node before the log is captured.",
		[]string{"milvus#53558"}},
	{"unknown-type", "a message type neither 2.6 nor 3.0 knows",
		"Recovery passes over it, but a flusher that meets a type it does not know panics.",
		"Written by a newer Milvus, as after a downgrade, or a damaged type property.",
		"Start the version that wrote the log, or a newer one.", []string{"milvus#53558"}},
	{"chunked-payload", "a message whose payload stands in several records",
		"Written by a newer Milvus: its records share properties and TimeTick and are one message, counted once. Neither 2.6 nor 3.0 puts them together: their nodes take each for a message of its own.",
		"A payload too large for one record, split by a writer newer than 3.0; or a downgrade since. recover, state and salvage put it together.",
		"Start the version that wrote the log, or a newer one.", []string{"milvus#52775", "milvus#52474"}},
	{"chunked-incomplete", "a message in several records that cannot be put together",
		"Some of its records are gone while later ones are there, or two of them contradict each other: what it carried is lost. A newer Milvus passes over missing records in silence, and stops serving the pchannel at contradictory ones.",
		"Records lost from the log, a log that was cut or filtered when it was copied, or damage.",
		"Run verify: a ledger-hole shows lost records. Read the log from another copy, or from where it was captured.", []string{"milvus#52775"}},
	{"chunked-unfinished", "a message in several records whose last ones were never written",
		"Its writer stopped between two of them, so no client was told that it is safe: readers drop it, and nothing is lost that was promised.",
		"A node that crashed or lost the log in the middle of a large append.",
		"Nothing; the client's write failed and is to be repeated.", []string{"milvus#52775"}},
	{"stale-writer", "an older node still writes after a newer one opened the log",
		"A message written after a TimeTick that had already passed its time is dropped by every later reader and by recovery, although its writer was told it is safe: rows and definitions go missing.",
		"Pulsar fences nobody: two nodes can have the log open at once, as when a node was cut off from the coordinator but not from the broker.",
		"Make sure that one node only serves the pchannel. Capture the log before retention removes it; list the messages with verify --dropped. salvage --lost-only brings the rows out.",
		[]string{"milvus#53368", "milvus#53449", "milvus#53539", "milvus#53540"}},
	{"behind-timetick", "a message came too late: a TimeTick of its own term had passed it",
		"A reader has already moved past its time and drops it: its rows are never seen.",
		"An append that was given up and landed after all (then its writer was told it failed), or an order that was broken on the way.",
		"Compare with the client's errors of that moment: where the write was reported as failed, nothing is lost. salvage --lost-only brings the rows out.",
		[]string{"milvus#53368"}},
	{"timetick-stalled", "appends waited for a TimeTick",
		"Nothing written in this time could be read until it ended: queries waited or timed out. Nothing is lost.",
		"One append was not acknowledged, and all later ones wait for it: the broker was slow, refused, or rolled a ledger over.",
		"Look at the broker and at wal_impls_append_message_retry_total of that time.",
		[]string{"milvus#48998", "milvus#51423", "milvus#52341"}},
	{"timetick-lost", "a TimeTick is missing",
		"Appends were acknowledged, as later last confirmed ids show, but the TimeTick that confirms them is not in the log: readers stood still until the next one.",
		"TimeTicks were lost from the log, or the node stopped making them.",
		"Run verify: a ledger-hole shows lost messages. Look at the node's log of that time.",
		[]string{"milvus#41062", "milvus#36960"}},
	{"timetick-regress", "a TimeTick is not larger than the one before it",
		"Time went back. Readers go by the TimeTick read last, so they deliver what follows it; a restart skips what is not larger than its checkpoint's TimeTick: those rows and definitions are missing from the recovered state.",
		"The coordinator's clock went back at a restart (where the smaller TimeTick opens a term), two writers at once, or a log put together from two.",
		"Find the writers by term and id with inspect; capture the log. Set the coordinator's clock right before it is started again; recover names what a restart skips.",
		[]string{"milvus#51469", "milvus#53368"}},
	{"timetick-jump", "time leaps by more than ten years",
		"No pchannel is idle that long: one of the two TimeTicks is not of this time. Everything written later must be larger than the larger one, or readers drop it.",
		"A clock set wrong, a timestamp allocator restored wrongly, or damage.",
		"Look at both TimeTicks with inspect --records; compare with the broker's publish times. Do not restart before the coordinator's clock is known to be right.",
		[]string{"milvus#51469"}},
	{"duplicate-timetick", "two different messages carry one TimeTick",
		"A TimeTick belongs to one message. Recovery counts only one of two that share it, and their order is undefined.",
		"Two timestamp allocators, or damage on the way.",
		"Look at both with inspect --id.", nil},
	{"retry-duplicate", "an append was retried though it had landed",
		"The message stands twice under two ids. Readers get one of them; a part of a transaction is counted twice in its segment's statistics.",
		"The broker's answer was lost or late, and the node appended the same message again. Normal under broker trouble.",
		"Nothing for the data. Many of them point to a slow or restarting broker.", []string{"milvus#53388"}},
	{"last-confirmed-ahead", "a last confirmed id is not before its message",
		"A consumer that resumes from it misses the message itself.",
		"Damage, or ids of another log.", "Capture the log; compare with the broker's ids.", nil},
	{"last-confirmed-missing", "a last confirmed id names nothing in the log",
		"A position a consumer or checkpoint may hold does not exist; reading from it begins elsewhere.",
		"A lost message, or a log that was copied under new ids.",
		"Look for a ledger-hole beside it.", []string{"milvus#53581"}},
	{"last-confirmed-regress", "last confirmed ids go back within a term",
		"The writer's bookkeeping of what is safe contradicts itself; resuming from the larger one can miss messages.",
		"A writer up to 2.6.6 (say so with --milvus-version), or an altered log.",
		"Compare the two messages with inspect --id.", nil},
	{"last-confirmed-broken", "a last confirmed id hides a message it promises",
		"A consumer that resumes from this id never sees the message named: rows or a whole transaction are hidden from it. A warning where that transaction was never committed: nobody loses anything then.",
		"A known defect of Milvus 2.6 and 3.0 where a transaction is open across an opening of the log: the new term does not keep it, and confirms past its Begin. Otherwise a writer up to 2.6.6 under concurrent writes (say so with --milvus-version), or an altered log.",
		"Have consumers start at the earlier id, that of the Begin which the finding names. recover starts at the checkpoint: compare its position with the Begin.", nil},
	{"term-missing", "a message without a term",
		"Nobody can tell which opening wrote it; only opening TimeTicks carry none.",
		"A foreign producer or damage.", "Look at the message with inspect --id.", nil},
	{"term-unopened", "a term begins without its opening TimeTick",
		"The TimeTick that separates the terms is gone: what it would confirm, and what comes after it, can't be told.",
		"A lost message, or a writer that skipped its opening.",
		"Look for a ledger-hole before it; capture the log.", nil},
	{"exclusive-crossed", "a message passed an exclusive one",
		"Definitions change under a lock: a message whose time and place disagree with it is applied to the wrong state.",
		"Two writers, or an altered log.", "Look at both messages with inspect --id.", []string{"milvus#41615"}},
	{"torn-transaction", "a transaction's part without its Begin",
		"Readers drop the parts: the rows of the transaction are never seen.",
		"Its Begin was lost, or dropped because it came too late.",
		"Look for a stale-writer or ledger-hole before it.", []string{"milvus#50344", "milvus#45088"}},
	{"transaction-order", "a transaction's parts are out of order",
		"A reader assembles the transaction otherwise than it was written, or drops a part.",
		"Two writers, or an altered log.", "List the transaction's messages with inspect --records.", nil},
	{"transaction-late-part", "a transaction's part came after its end was decided",
		"The transaction had expired or had been ended by a definition change; readers drop what comes later.",
		"A clock or a lock that did not hold, or an altered log.", "List the transaction's messages with inspect --records.", nil},
	{"insert-malformed", "an insert or delete without rows, bytes or a segment",
		"Without a segment recovery can't assign its rows: they are not counted and may never be flushed. Without a size its rows count, the size does not: the segment is taken for smaller than it is; Milvus before 2.6.0 panicked on it.",
		"A foreign producer or damage.", "Look at the message with inspect --id.", []string{"milvus#41853"}},
	{"insert-outside-segment", "an insert outside its segment's life",
		"Recovery finds no growing segment and drops the rows.",
		"The segment's creation was lost or dropped because it came too late, or the insert was written after its seal.",
		"Look for a stale-writer or ledger-hole before it.", []string{"milvus#41766"}},
	{"insert-after-truncate", "an insert into a truncated segment",
		"Recovery drops these rows; the truncate would have ended them all the same.",
		"Before 3.0 a truncate takes no lock, so inserts can follow it. Legal.", "Nothing.", nil},
	{"insert-field-not-in-schema", "an insert carries a field that its schema does not have",
		"A node that loads the growing segment by the newest schema panics on it (\"unexpected new field in growing segment\") in releases of 2.6 before the fix of milvus#51137, and again after each restart until the segment is flushed; later ones pass over the field's values.",
		"The field was dropped while a proxy still wrote by the older schema: 2.6 refuses no such insert, 3.0 does by its schema version.",
		"Start a version with the fix. salvage keeps the field's values under its id.",
		[]string{"milvus#51117", "milvus#51137", "milvus#50364", "milvus#51835", "milvus#51436"}},
	{"unknown-partition", "a partition that is not there",
		"Rows or segments of a partition that was never created or is dropped are left out of the recovered state.",
		"A lost CreatePartition, or definition changes that raced.",
		"Compare with inspect --type CreatePartition,DropPartition.", []string{"milvus#41615"}},
	{"vchannel-unborn", "a vchannel without its CreateCollection",
		"Recovery does not know the vchannel: everything on it is passed over until the catalog names it.",
		"The CreateCollection was lost, trimmed, or dropped because it came too late.",
		"Look for a stale-writer or ledger-hole; the schema can still lie in the catalog.",
		[]string{"birdwatcher#524", "milvus#46214"}},
	{"vchannel-after-drop", "messages on a dropped vchannel",
		"Recovery passes over them, or applies them to a vchannel that is about to be removed: what they carry is not kept.",
		"A writer or a coordinator that did not see the drop, a vchannel's name used again, or an altered log. What was broadcast before the drop and is sent again is no fault.",
		"Look at the messages with inspect --vchannel. Where a collection was made again on the vchannel, recover says what of it a restart leaves out.",
		[]string{"milvus#47802", "milvus#47886"}},
	{"broadcast-mismatch", "a broadcast that contradicts its header",
		"The coordinator can't match the copy to its task and waits for ever.",
		"Damage or a foreign producer.", "Look at the message with inspect --id.", []string{"milvus#45285"}},
	{"barrier-ahead", "a barrier that is not before its message",
		"The message claims to come after messages that are later than itself; its flush boundary is wrong.",
		"Damage or two timestamp allocators.", "Look at the message with inspect --id.", nil},
	{"replicate-mismatch", "a replication header where none belongs, or none where one does",
		"A secondary takes messages from its source only: what breaks this is refused or applied twice, and the replicate checkpoint goes wrong.",
		"A write that went to the wrong cluster, a switch-over half done, or an altered log.",
		"Compare with the replicate configuration messages: inspect --type AlterReplicateConfig.",
		[]string{"milvus#50846", "milvus#45086", "milvus#50871"}},
	{"checkpoint-beyond", "the checkpoint lies after messages that were not consumed",
		"A restart begins reading too late: the messages before it are never replayed.",
		"A checkpoint edited by hand, or moved with the wrong id.", "Do not restart. Compare checkpoint and log.",
		[]string{"milvus#53581"}},
	{"position-gone", "a stored position cannot be read from any more",
		"It lies before the log's first record or beyond its end, the log is empty, or it is no position of this log. A restart silently begins at the next message it finds: everything between is lost to it.",
		"Retention removed it (nothing in Milvus pins a Pulsar log), the topic was made again, the end of the log was lost, or log and catalog do not belong together.",
		"Do not restart. Raise retention, capture what is left; compare the ids with inspect.", []string{"milvus#41904", "milvus#42653", "milvus#53581", "milvus#53539"}},
	{"ids-out-of-order", "ids do not increase",
		"The log is not in the order it was written: nothing about it can be relied on.",
		"A log put together from pieces, or a damaged copy.", "Capture it again from its origin.", nil},
	{"ledger-hole", "entries are missing",
		"Messages that were written are gone from a ledger or segment. What they carried is lost to this log.",
		"A lost ledger replica, a lost ledger, a skipped entry, or a copy that is not whole. The place names the last message before the loss and the first one after it.",
		"Read the place again from its origin; ask BookKeeper for the ledger's replicas.", []string{"milvus#41904"}},
	{"unreadable", "a place that cannot be read",
		"What lies there is unknown; everything else was judged.",
		"Damage on disk or in the copy.", "Read it from another replica or capture it again.", nil},
	{"torn-tail", "the log stops in the middle of a record",
		"The last append was not finished; nothing that was confirmed is lost.",
		"A crash while writing.", "Nothing: the next opening goes on after it.", nil},
	{"unconfirmed-tail", "messages after the last TimeTick",
		"No reader delivers them yet. The next opening's TimeTick confirms them.",
		"The log ended, or its node stopped, before the next TimeTick.", "Nothing while the node is running.", nil},
	{"open-transaction", "a transaction without an end",
		"Its rows are not visible. It ends by a commit, a rollback or its keepalive.",
		"Under way, or its client went away.", "Nothing.", []string{"milvus#45088"}},
	{"expired-transaction", "a transaction outlived its keepalive",
		"Its parts are never delivered. A lost Commit looks the same and can't be told from it.",
		"Its client went away without an end. Legal.", "Nothing, unless the client was told that it committed.", nil},
	{"partial-start", "the log starts in the middle",
		"What began before its first record (segments, transactions, vchannels) is taken as found.",
		"Retention or truncation removed the start, or --from cut it.", "Nothing.", nil},
	{"not-checked", "something could not be judged",
		"A rule needs what was not given or what the log does not hold.",
		"Named in the finding.", "Give what is missing and run again.", nil},
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
	b.WriteString("# Findings\n\nEvery code walctl reports, as `walctl explain CODE` tells it. Made from pkg/diagnose/codes*.go.\n")
	severity := map[string]Severity{}
	for _, c := range checkTable {
		severity[c.Code] = max(severity[c.Code], c.Severity)
	}
	for _, e := range Explanations() {
		b.WriteString("\n## " + e.Code + "\n\n")
		b.WriteString("**" + strings.ToUpper(e.Title[:1]) + e.Title[1:] + ".**")
		if s, ok := severity[e.Code]; ok {
			b.WriteString(" Severity: " + s.String() + ".")
		}
		b.WriteString("\n\n" + e.Meaning + "\n\n*Cause:* " + e.Cause + "\n\n*What to do:* " + e.Do + "\n")
		for i, t := range e.Threads {
			if i == 0 {
				b.WriteString("\n*Upstream:*")
			}
			b.WriteString(" [" + t + "](" + ThreadURL(t) + ")")
			if i == len(e.Threads)-1 {
				b.WriteString("\n")
			}
		}
	}
	return b.String()
}
