package demo

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// demos is read only.
var demos = [...]Demo{
	{Name: "healthy", Title: "a shop's log, three terms and a quiet night; nothing is wrong", build: healthy,
		Next: []string{"walctl inspect $DIR", "walctl doctor $DIR", "walctl verify $DIR", "walctl timetick $DIR", "walctl recover $DIR"}},
	{Name: "idle-collection", Aliases: []string{"idle"}, Title: "a collection nobody writes to is loaded, and its queries hang: a stuck scanner", build: idleCollection,
		Next: []string{"walctl doctor $DIR", "walctl timetick $DIR", "walctl scanners $DIR --simulate"}},
	{Name: "partition-ddl", Title: "partitions created and dropped at once: inserts into a dropped one, a vchannel without its schema", build: partitionDDL,
		Next: []string{"walctl doctor $DIR", "walctl verify $DIR", "walctl recover $DIR --catalog $CATALOG --milvus-version 2.6.14 --out p.json", "walctl apply p.json --yes --reason demo"}},
	{Name: "stuck-terminating", Title: "a node's pod does not end: an opening on it never does, and the next term waits", build: stuckTerminating,
		Next: []string{"walctl doctor $DIR", "walctl recover $DIR"}},
	{Name: "oom", Title: "more shards and partitions than the node has memory for: it is past its mark", build: outOfMemory,
		Next: []string{"walctl doctor $DIR", "walctl recover $DIR --forecast --node-memory $MEMORY"}},
	{Name: "reduplicates", Aliases: []string{"reduplicate"}, Title: "\"channel reduplicates\": vchannels registered twice, not at all, and though they were dropped", build: reduplicate,
		Next: []string{"walctl doctor $DIR", "walctl channels $DIR", "walctl channels repair $DIR --catalog $CATALOG --milvus-version 2.6.14 --out p.json", "walctl apply p.json --yes --reason demo"}},
	{Name: "stale-writer", Title: "an old node writes on after a new one took over: rows no reader sees", build: staleWriter,
		Next: []string{"walctl verify $DIR", "walctl explain stale-writer", "walctl salvage $DIR --lost-only --dir ./rows"}},
	{Name: "crash", Title: "a node killed before it could save: what a restart makes of the log", build: crash,
		Next: []string{"walctl recover $DIR --catalog $CATALOG --milvus-version 2.6.14 --out p.json", "walctl apply p.json --yes --reason demo", "walctl undo latest --catalog $CATALOG --yes --reason demo"}},
	{Name: "trimmed", Title: "retention took the beginning: the checkpoint points nowhere, a schema is gone from log and catalog", build: trimmed,
		Next: []string{"walctl positions $DIR", "walctl recover $DIR --catalog $CATALOG",
			"walctl recover $DIR --catalog $CATALOG --accept-gap $GAP --milvus-version 2.6.14 --out p.json", "walctl apply p.json --yes --reason demo"}},
	{Name: "unregistered", Title: "a vchannel without its registration: nothing of it is recovered or flushed", build: unregistered,
		Next: []string{"walctl doctor $DIR", "walctl channels repair $DIR --catalog $CATALOG --milvus-version 2.6.14 --out p.json", "walctl apply p.json --yes --reason demo"}},
	{Name: "backlog-full", Title: "the broker refuses the producer for its backlog quota: appends hang", build: backlogFull,
		Next: []string{"walctl doctor $DIR", "walctl timetick $DIR"}},
	{Name: "old-catalog", Title: "etcd was restored from an older copy than the log", build: oldCatalog,
		Next: []string{"walctl doctor $DIR", "walctl doctor $DIR --catalog file:$DIR/catalog-later.db"}},
	{Name: "replication-stopped", Title: "the log is to be replicated to another cluster, and is not", build: replicationStopped,
		Next: []string{"walctl doctor $DIR", "walctl doctor $DIR --catalog file:$DIR/catalog-later.db"}},
	{Name: "idle-hours", Title: "nobody has written for hours, and nothing is wrong", Sound: true, build: idleHours, Next: []string{"walctl doctor $DIR", "walctl timetick $DIR"}},
	{Name: "restarted", Title: "a node that has just opened its log; nothing is wrong", Sound: true, build: restarted, Next: []string{"walctl doctor $DIR"}},
	{Name: "dropped", Title: "collections and partitions come and go; nothing is wrong", Sound: true, build: droppedAway, Next: []string{"walctl doctor $DIR"}},
	{Name: "replaced", Title: "another node has just taken the log over; nothing is wrong", Sound: true, build: replaced, Next: []string{"walctl doctor $DIR"}},
}

func shop(seed uint64) walgen.Config {
	return walgen.Config{
		Seed: seed, Messages: 20_000, Terms: 3, Rate: 60, Collections: 3, Schemas: []walgen.SchemaKind{walgen.SchemaShop},
		VectorDim: 8, RowsPerInsert: 12, SegmentBytes: 256 << 10, DDLRatio: 0.002, IdleStretches: 1, Idle: 3 * time.Hour,
		Start: time.Date(2026, 1, 5, 20, 0, 0, 0, time.UTC),
	}
}

func healthy(s *story) error {
	if err := s.write(shop(1)); err != nil {
		return err
	}
	s.tell("Three streaming nodes wrote this log one after the other; nobody wrote for three hours in between.")
	s.tell("The catalog is what the last of them left when it stopped; its metrics, the broker's answers and its log lie beside it.")
	s.well(300 * time.Millisecond)
	return nil
}

func staleWriter(s *story) error {
	if err := s.write(shop(2)); err != nil {
		return err
	}
	truth, err := s.inject(walgen.StaleWriter, 2)
	if err != nil {
		return err
	}
	s.tell("A node lost its pchannel and did not notice: %d of its messages (%s … %s), %d rows, came after the next node's first TimeTick.",
		len(truth.IDs), truth.IDs[0], truth.IDs[len(truth.IDs)-1], truth.Rows)
	s.tell("Its clients were told these writes are safe. No reader will ever deliver them.")
	return nil
}

func crash(s *story) error {
	cfg := shop(7)
	cfg.Messages, cfg.DDLRatio, cfg.IdleStretches = 10_000, 0.01, -1
	if err := s.write(cfg); err != nil {
		return err
	}
	if err := s.persist(len(s.ms) / 2); err != nil {
		return err
	}
	s.tell("The last node was killed; the catalog is what it had saved half-way through the log.")
	s.tell("Collections, partitions and segments have come and gone since then.")
	return nil
}

func partitionDDL(s *story) error {
	cfg := shop(4)
	cfg.Messages, cfg.DDLRatio, cfg.Partitions = 8000, 0.02, 6
	if err := s.write(cfg); err != nil {
		return err
	}
	truth, err := s.inject(walgen.DroppedPartition, 4)
	if err != nil {
		return err
	}
	s.tell("An insert (%s, %d rows) names a partition that had been dropped.", truth.IDs[0], truth.Rows)
	if v := s.dropSchema(); v != "" {
		s.tell("The catalog lists %s without a schema: a node panics when it loads it, and again after its restart.", v)
		s.crashLoop(v)
	}
	return nil
}

// walKeys returns the sorted keys of one kind of the log's own metadata.
func (s *story) walKeys(kind catalog.KeyKind) (keys []string) {
	for _, k := range catalog.Keys(s.kv) {
		if catalog.ParseKey(k).Kind == kind {
			keys = append(keys, k)
		}
	}
	return keys
}

// dropSchema takes every schema of the first vchannel out of the catalog.
func (s *story) dropSchema() string {
	keys := s.walKeys(catalog.KeyVChannel)
	if len(keys) == 0 {
		return ""
	}
	for k := range s.kv {
		if strings.HasPrefix(k, keys[0]+"/schema/") {
			delete(s.kv, k)
		}
	}
	return keys[0][strings.LastIndexByte(keys[0], '/')+1:]
}

func reduplicate(s *story) error {
	cfg := shop(5)
	cfg.Messages, cfg.Collections = 6000, 5
	if err := s.write(cfg); err != nil {
		return err
	}
	keys := s.walKeys(catalog.KeyVChannel)
	if len(keys) < 3 {
		return fmt.Errorf("%d vchannels are too few", len(keys))
	}
	name := func(i int) string { return keys[i][strings.LastIndexByte(keys[i], '/')+1:] }
	p := s.gen.PChannel()
	twin := strings.TrimRight(p, "0123456789") + "9"
	for k, v := range s.kv {
		if k == keys[0] || strings.HasPrefix(k, keys[0]+"/") {
			s.kv[strings.Replace(k, "/wal/"+p+"/", "/wal/"+twin+"/", 1)] = v
		}
	}
	s.tell("%s is registered under %s as well: the node refuses the second buffer, and its flusher's recovery does not end.", name(0), twin)
	s.registeredTwice(name(0))
	for _, k := range catalog.Keys(s.kv) {
		if k == keys[1] || strings.HasPrefix(k, keys[1]+"/") {
			delete(s.kv, k)
		}
	}
	s.tell("%s is in the log, but not registered.", name(1))
	for _, k := range catalog.Keys(s.kv) {
		if c := "root-coord/database/collection-info/1/"; strings.HasPrefix(k, c) && strings.Contains(name(2), "_"+k[len(c):]+"v") {
			delete(s.kv, k)
		}
	}
	s.tell("%s is registered, but its collection is gone from RootCoord.", name(2))
	return nil
}

func trimmed(s *story) error {
	cfg := shop(6)
	cfg.Messages, cfg.LedgerEntries = 9000, 1500
	if err := s.write(cfg); err != nil {
		return err
	}
	from := slices.IndexFunc(s.ms, func(m *message.Message) bool { return m.ID.A > s.ms[len(s.ms)/3].ID.A })
	if from < 0 {
		return fmt.Errorf("no ledger ends in the log")
	}
	old := s.gen.CatalogBefore()
	k := catalog.CheckpointKey(s.gen.PChannel())
	s.kv[k] = old[k]
	first, gone := s.ms[from], s.ms[0]
	s.ms = s.ms[from:]
	s.gap = fmt.Sprintf("%s..%s", gone.ID, first.ID)
	s.tell("Retention removed %d messages, %s … before %s.", from, gone.ID, first.ID)
	s.tell("The consume checkpoint still names %s.", gone.ID)
	if v := s.dropSchema(); v != "" {
		s.tell("The schema of %s is neither in the log nor beside it; RootCoord still has it.", v)
	}
	return nil
}
