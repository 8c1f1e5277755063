package diagnose

import (
	"strings"

	"github.com/walctl/walctl/pkg/check"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// StartFinding tells what a start of a log's owner would make of its files as they
// lie. It is said of every disk, also where nothing is wrong. wal is the log as
// walctl's arguments name it. docs/rules.md#rocksmq-start
// docs/rules.md#woodpecker-start docs/rules.md#kafka-start
func StartFinding(s source.Start, d source.Description, wal string) Finding {
	at := Where{PChannel: d.PChannel}
	seen := []Evidence{{"a start", string(s.Outcome)}}
	if s.Outcome == source.StartWhole {
		f := Found(diskWhole, at, seen...)
		f.Meaning = s.Says + ". Copy the directory before anything is started on it all the same."
		return f
	}
	if len(s.Deletes) > 0 {
		seen = append(seen, Evidence{"files a start deletes", strings.Join(s.Deletes, ", ")})
	}
	f := raise(diskStart, s.Outcome == source.StartDeletes || s.Outcome == source.StartSkips, at, seen)
	f.Count = s.Loses
	f.Meaning = s.Says + ". Start nothing on this directory: copy it first, and capture the log from the copy."
	f.Next = "walctl capture " + source.ShellWord(wal)
	if d.PChannel != "" {
		f.Next += " --log " + source.ShellWord(d.PChannel)
	}
	f.Next += " --dir ./evidence"
	return f
}

// SaidAlways reports whether a finding is shown though it is mere information.
func SaidAlways(f *Finding) bool { return f.Code == diskWhole.Code }

var diskWhole = &Check{
	Code: "disk-whole", Severity: SeverityInfo,
	Title:   "a start on this disk reads everything",
	Meaning: "Nothing on the disk stops the log's owner or makes it give up what is intact.",
	Cause:   "A log was read off the disk of a queue, and its files are as a start expects them.",
	Do:      "Copy the directory all the same before anything is started on it: a start changes it.",
}

var diskStart = &Check{
	Code: "disk-start", Severity: SeverityError, Else: check.Else{Severity: check.Critical, Where: "a start deletes files that hold intact messages, or passes by such messages without an error"},
	Title:   "a start on this disk fails, never ends, or destroys what is intact",
	Meaning: "The log's owner reads its files otherwise than walctl. RocksDB stops at the first bad record of its log, then deletes the file with every intact message after it; without CURRENT it deletes all tables; at a bad block of a table a reader tries for ever; where a table or the manifest is missing it does not start. Woodpecker reads nothing of a segment after a block that is not whole: it goes on with the next segment without an error, or waits for ever where the block is short. A Kafka broker that was not stopped cleanly cuts a partition at its first bad batch and deletes the segments after it; after a clean stop it gives the bad bytes out as they lie.",
	Cause:   "A disk that lost bytes, a crash in the middle of a write, a copy that is not whole, files removed by hand.",
	Do:      "Start nothing on the directory. Copy it, capture the log from the copy, and recover from the capture.",
}
