package demo

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// unregistered: a vchannel whose registration is gone while its collection lives.
func unregistered(s *story) error {
	cfg := shop(13)
	cfg.Messages, cfg.IdleStretches, cfg.DDLRatio = 4000, -1, -1
	if err := s.write(cfg); err != nil {
		return err
	}
	s.well(300 * time.Millisecond)
	keys := s.walKeys(catalog.KeyVChannel)
	if len(keys) < 2 {
		return fmt.Errorf("%d vchannels are too few", len(keys))
	}
	for _, k := range catalog.Keys(s.kv) {
		if k == keys[0] || strings.HasPrefix(k, keys[0]+"/") {
			delete(s.kv, k)
		}
	}
	s.tell("%s has messages and rows, and RootCoord lists its collection.", keys[0][strings.LastIndexByte(keys[0], '/')+1:])
	s.tell("Its registration is gone from the WAL's catalog: the node looks well, and recovers and flushes nothing of it.")
	return nil
}

// backlogFull: the broker refuses the producer, for its topic holds more than it may.
func backlogFull(s *story) error {
	cfg := shop(14)
	cfg.Messages, cfg.IdleStretches, cfg.DDLRatio = 4000, -1, -1
	if err := s.write(cfg); err != nil {
		return err
	}
	const held = 40 * time.Second
	w := s.sound(200 * time.Millisecond)
	last := w.confirmed
	w.allocated = last.Add(200 * time.Millisecond)
	w.retries = 69
	before := w
	before.retries = 54
	t := s.topicNow()
	t.publishers = nil
	channel := fmt.Sprintf("%s:rw@%d", w.pchannel, w.term)
	log := opened(last.Add(-time.Hour), w.pchannel, w.term)
	for i := range 20 {
		log = append(log, line(last.Add(time.Duration(i+1)*2*time.Second), "WARN", "adaptor/wal_adaptor.go:260", "append message into wal impls failed, retrying...",
			"module", "streamingnode", "component", "wal", "channel", channel, "retry", strconv.Itoa(49+i), "error", `"producer blocked: ProducerBlockedQuotaExceededException"`))
	}
	s.watch(&moment{at: last.Add(held), looks: [][]nodeMetrics{{on(1, before)}, {on(1, w)}}, topic: t, log: log, named: "streamingnode-1.log"})
	s.tell("The topic holds as much backlog as it may, and the broker has thrown the producer out.")
	s.tell("Appends are tried again and again; no TimeTick can be written, so writes, flushes and strong reads hang.")
	return nil
}

// oldCatalog: etcd came back from a copy that is older than the log's last opening.
func oldCatalog(s *story) error {
	cfg := shop(15)
	cfg.Messages, cfg.IdleStretches, cfg.DDLRatio = 6000, -1, -1
	if err := s.write(cfg); err != nil {
		return err
	}
	s.newer = s.kv
	term := s.term()
	last := 0
	for i, m := range s.ms {
		if m.OpensTerm() {
			last = i
		}
	}
	if err := s.persist(last); err != nil {
		return err
	}
	if err := s.assign(term-1, 1); err != nil {
		return err
	}
	s.tell("etcd was restored from a copy that was made under term %d; the log was opened by term %d since.", term-1, term)
	s.tell("Milvus is stopped. A later copy is there too: catalog-later.db.")
	return nil
}

// replicationStopped: the log is to be sent to another cluster, and the key that says
// how far it was sent is gone.
func replicationStopped(s *story) error {
	cfg := shop(16)
	cfg.Messages, cfg.IdleStretches, cfg.DDLRatio = 4000, -1, -1
	if err := s.write(cfg); err != nil {
		return err
	}
	const here, there, target = "by-dev", "backup", "backup-rootcoord-dml_0"
	p := s.gen.PChannel()
	to := &commonpb.MilvusCluster{ClusterId: there, Pchannels: []string{target}, ConnectionParam: &commonpb.ConnectionParam{Uri: "http://backup.example:19530"}}
	config, err := proto.Marshal(&streamingpb.ReplicateConfigurationMeta{ReplicateConfiguration: &commonpb.ReplicateConfiguration{
		Clusters:             []*commonpb.MilvusCluster{{ClusterId: here, Pchannels: []string{p}}, to},
		CrossClusterTopology: []*commonpb.CrossClusterTopology{{SourceClusterId: here, TargetClusterId: there}},
	}})
	if err != nil {
		return err
	}
	sent, err := proto.Marshal(&streamingpb.ReplicatePChannelMeta{SourceChannelName: p, TargetChannelName: target, TargetCluster: to})
	if err != nil {
		return err
	}
	s.kv[catalog.ReplicateConfigurationKey] = config
	s.newer = maps.Clone(s.kv)
	s.newer["streamingcoord-meta/replicating-pchannel/"+there+"-"+p] = sent
	s.well(300 * time.Millisecond)
	s.tell("%s is to be replicated to the cluster %q; the key that says how far is gone, and nothing arrives there.", p, there)
	s.tell("catalog-later.db is the catalog after the configuration was sent once more.")
	return nil
}
