package recovery

import (
	"fmt"
	"slices"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// alterReplicateConfig makes this cluster a primary or a secondary.
// docs/rules.md#recovery-replicate
func (s *State) alterReplicateConfig(m *message.Message) {
	h, ok := header[*messagespb.AlterReplicateConfigMessageHeader](s, m)
	if !ok || h.GetIgnore() {
		return
	}
	source, err := replicationSource(s.cluster, s.pchannel, h.GetReplicateConfiguration())
	if err != nil {
		s.stops(CodeReplicateConfig, m, err)
		return
	}
	s.base.ReplicateConfig = h.GetReplicateConfiguration()
	old := s.base.ReplicateCheckpoint
	switch {
	case source == nil:
		if h.GetForcePromote() && old != nil {
			s.salvage[old.ClusterId] = old
		}
		s.base.ReplicateCheckpoint = nil
	case old == nil || old.ClusterId != source.ClusterId:
		s.base.ReplicateCheckpoint = source
	}
}

// replicationSource returns the replicate checkpoint a secondary starts with,
// nil for a primary. Its errors are what makes a node panic.
func replicationSource(cluster, pchannel string, cfg *commonpb.ReplicateConfiguration) (*commonpb.ReplicateCheckpoint, error) {
	clusters := make(map[string]*commonpb.MilvusCluster)
	for _, c := range cfg.GetClusters() {
		clusters[c.GetClusterId()] = c
	}
	sources, err := topology(clusters, cfg)
	if err != nil {
		return nil, err
	}
	own := clusters[cluster]
	if own == nil {
		return nil, fmt.Errorf("the configuration does not name the own cluster %q", cluster)
	}
	if primaries := len(clusters) - len(sources); primaries != 1 {
		return nil, fmt.Errorf("%d clusters are primary, want 1", primaries)
	}
	for id, c := range clusters {
		if len(c.GetPchannels()) != len(own.GetPchannels()) {
			return nil, fmt.Errorf("cluster %q has %d pchannels, %q has %d", id, len(c.GetPchannels()), cluster, len(own.GetPchannels()))
		}
	}
	role, _ := message.RoleOf(cfg, cluster)
	if role.Source == "" {
		return nil, nil
	}
	i := slices.Index(own.GetPchannels(), pchannel)
	if i < 0 {
		return nil, fmt.Errorf("the configuration does not name the own pchannel %q", pchannel)
	}
	return &commonpb.ReplicateCheckpoint{ClusterId: role.Source, Pchannel: clusters[role.Source].GetPchannels()[i]}, nil
}

// topology maps every target to its source.
func topology(clusters map[string]*commonpb.MilvusCluster, cfg *commonpb.ReplicateConfiguration) (map[string]string, error) {
	sources := make(map[string]string)
	for _, t := range cfg.GetCrossClusterTopology() {
		from, to := t.GetSourceClusterId(), t.GetTargetClusterId()
		if clusters[from] == nil || clusters[to] == nil {
			return nil, fmt.Errorf("the topology names a cluster that is not configured: %q to %q", from, to)
		}
		if sources[to] != "" {
			return nil, fmt.Errorf("cluster %q has two sources", to)
		}
		sources[to] = from
	}
	return sources, nil
}

// advanceReplicate moves the replicate checkpoint on. It follows the source's
// last confirmed id, from where a resume would read.
func (s *State) advanceReplicate(m *message.Message) {
	h, err := m.ReplicateHeader()
	if err != nil {
		s.stops(CodeEnvelope, m, err)
		return
	}
	cp := s.base.ReplicateCheckpoint
	switch {
	case cp == nil:
		i := about(CodeReplicateState, m)
		i.Detail = "a replicated message, but the catalog has no replicate checkpoint"
		s.issues.add(i)
	case cp.ClusterId != h.GetClusterId():
		i := about(CodeReplicateState, m)
		i.Detail = fmt.Sprintf("replicated from %q, the replicate checkpoint is of %q", h.GetClusterId(), cp.ClusterId)
		s.issues.add(i)
	default:
		cp.MessageId, cp.TimeTick = h.GetLastConfirmedMessageId(), h.GetTimeTick()
	}
}

// alterWALTo seals everything and stages the switch to another WAL.
func (s *State) alterWALTo(m *message.Message, tick uint64) {
	h, ok := header[*messagespb.AlterWALMessageHeader](s, m)
	if !ok {
		return
	}
	s.alterWAL = true
	s.flushAll(tick)
	if s.base.AlterWalState == nil {
		s.base.AlterWalState = &streamingpb.AlterWALState{
			TargetWalName: h.GetTargetWalName(),
			TimeTick:      tick,
			Configs:       h.GetConfig(),
			Stage:         streamingpb.AlterWALStage_FLUSHING,
		}
	}
}
