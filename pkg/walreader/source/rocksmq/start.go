package rocksmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/walctl/walctl/pkg/walreader/internal/rocksdb"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/internal/english"
)

// Start implements source.StartSource: what a start of Milvus would make of the
// directory as it lies. docs/rules.md#rocksmq-start
func (s *Source) Start(ctx context.Context) (source.Start, error) {
	snap, _, err := s.acquire(ctx)
	if err != nil {
		return source.Start{}, err
	}
	defer snap.release()
	return snap.start(ctx)
}

func (s *snapshot) start(ctx context.Context) (source.Start, error) {
	if out, ok := s.refused(); ok {
		return out, nil
	}
	if out, ok := s.loses(); ok {
		return out, nil
	}
	hangs, err := s.hangs(ctx)
	if err != nil || hangs != nil {
		return source.Start{Outcome: source.StartHangs, Says: "Milvus starts and reads " + strings.Join(hangs, "; ") +
			", again and again: a reader gets no further than there, and no error"}, err
	}
	says := "Milvus starts and reads all of it"
	if s.torn != nil {
		says = fmt.Sprintf("Milvus starts and reads all of it; the record that %s ends in is dropped", s.torn.name)
	}
	if slices.ContainsFunc(s.deletions, func(d rocksdb.Entry) bool { return d.Seq > 0 }) {
		says += "; the messages that retention deleted and whose bytes still stand here are then gone"
	}
	return source.Start{Outcome: source.StartWhole, Says: says}, nil
}

// refused is a directory that RocksDB does not open. Without CURRENT it first
// takes it for a new one and deletes the tables.
func (s *snapshot) refused() (source.Start, bool) {
	tables := s.named(func(f *file) bool { return !f.log })
	switch {
	case !s.trusted() && s.current == "" && errors.Is(s.bad[0], errNoCurrent) && len(tables) > 0:
		return source.Start{Outcome: source.StartDeletes, Deletes: tables, Says: fmt.Sprintf(
			"CURRENT is missing: RocksDB takes the directory for a new one, deletes %s and then fails, so Milvus does not start", counted(tables, "table"))}, true
	case !s.trusted():
		return source.Start{Outcome: source.StartRefused, Says: fmt.Sprintf("Milvus does not start: %v. Nothing is deleted", s.bad[0])}, true
	}
	for _, live := range s.missing {
		return source.Start{Outcome: source.StartRefused, Says: fmt.Sprintf("Milvus does not start: the table %06d.sst is missing. Nothing is deleted", live.Number)}, true
	}
	for _, f := range s.files {
		live, ok := s.manifest.Files[f.number]
		if !ok || f.log {
			continue
		}
		if live.Size != uint64(f.size) {
			return source.Start{Outcome: source.StartRefused, Says: fmt.Sprintf(
				"Milvus does not start: the table %s has %d bytes, the manifest says %d. Nothing is deleted", f.name, f.size, live.Size)}, true
		}
		if f.frame != nil {
			return source.Start{Outcome: source.StartRefused, Says: fmt.Sprintf("Milvus does not start: %v. Nothing is deleted", f.frame)}, true
		}
	}
	return source.Start{}, false
}

// loses is a log file with a bad record: RocksDB reads up to it, and deletes the
// file once what it read stands in a table.
func (s *snapshot) loses() (source.Start, bool) {
	for _, h := range s.holes {
		if h.from == h.to { // no byte is bad: RocksDB does not notice
			continue
		}
		logs := s.named(func(f *file) bool { return f.log && f.number >= h.file.number })
		return source.Start{Outcome: source.StartDeletes, Deletes: logs, Loses: h.behind, Says: fmt.Sprintf(
			"Milvus starts without an error, reads %s up to byte %d (%v) and deletes %s: %s after it that %s intact here %s lost, and the next messages get the ids of the lost",
			h.file.name, h.from, h.cause, counted(logs, "log file"), english.Number(h.behind, "message"), english.Are(h.behind), english.Are(h.behind))}, true
	}
	return source.Start{}, false
}

// hangs lists the blocks of live tables that cannot be read.
func (s *snapshot) hangs(ctx context.Context) ([]string, error) {
	var out []string
	for _, f := range s.files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if _, live := s.manifest.Files[f.number]; f.log || !live {
			continue
		}
		if f.counted(); f.lost.blocks > 0 {
			out = append(out, fmt.Sprintf("%s of %s", english.Number(int64(f.lost.blocks), "bad block"), f.name))
		}
	}
	return out, nil
}

func (s *snapshot) named(fn func(*file) bool) []string {
	var out []string
	for _, f := range s.files {
		if fn(f) {
			out = append(out, f.name)
		}
	}
	return out
}

func counted(names []string, one string) string {
	if len(names) == 1 {
		return "the " + one + " " + names[0]
	}
	if len(names) > 4 {
		return fmt.Sprintf("the %s (%s, …)", english.Number(int64(len(names)), one), names[0])
	}
	return fmt.Sprintf("the %ss %s", one, strings.Join(names, ", "))
}
