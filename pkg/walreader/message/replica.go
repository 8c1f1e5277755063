package message

import (
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
)

// ClusterRole is a cluster's part in replication: a secondary takes everything from
// its source, a primary, which has none, takes nothing.
type ClusterRole struct {
	Cluster string
	Source  string // "" = a primary
}

// OwnCluster finds, in a replicate configuration, the cluster that a pchannel
// belongs to: the one that lists it, else the one whose name it begins with, the
// longest where several do. It is "" where the configuration names none.
func OwnCluster(cfg *commonpb.ReplicateConfiguration, pchannel string) string {
	own := ""
	for _, c := range cfg.GetClusters() {
		id := c.GetClusterId()
		if slices.Contains(c.GetPchannels(), pchannel) {
			return id
		}
		if strings.HasPrefix(pchannel, id+"-") && len(id) > len(own) {
			own = id
		}
	}
	return own
}

// RoleOf returns the part that a replicate configuration gives a cluster: no target
// of the topology is a primary. It is false where the configuration does not name
// the cluster. docs/rules.md#replica-role
func RoleOf(cfg *commonpb.ReplicateConfiguration, cluster string) (ClusterRole, bool) {
	named := cluster != "" && slices.ContainsFunc(cfg.GetClusters(), func(c *commonpb.MilvusCluster) bool { return c.GetClusterId() == cluster })
	if !named {
		return ClusterRole{}, false
	}
	for _, t := range cfg.GetCrossClusterTopology() {
		if t.GetTargetClusterId() == cluster {
			return ClusterRole{cluster, t.GetSourceClusterId()}, true
		}
	}
	return ClusterRole{Cluster: cluster}, true
}
