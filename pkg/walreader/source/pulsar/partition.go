package pulsar

import (
	"context"
	"fmt"
	"strings"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Unpartitioned is a topic's name without the number of its partition: what
// Milvus calls the pchannel.
func Unpartitioned(topic string) string { return message.PChannelOfTopic(topic) }

// IsPartition reports whether a topic is one part of a partitioned one, by its name.
func IsPartition(topic string) bool { return Unpartitioned(topic) != topic }

// partitions are the parts of a topic, by their full names, as internal-info of a
// partitioned topic lists them.
type partitions map[string]internalInfo

// part is the first part's name without its namespace, "" where there is none.
func (p partitions) part(topic string) (name string, info internalInfo, ok bool) {
	for full, info := range p {
		if strings.HasSuffix(full, "/"+topic+"-partition-0") {
			return topic + "-partition-0", info, true
		}
	}
	return "", internalInfo{}, false
}

// partitionCount is how many parts a topic has; 0 = it is a plain one. It loads
// nothing.
func (a *admin) partitionCount(ctx context.Context) (int, error) {
	var out struct{ Partitions int }
	err := a.get(ctx, a.policyPath()+"/partitions", &out)
	return out.Partitions, err
}

// Partitioned implements source.PartitionedSource: it says what is wrong with a topic that has parts; "" where it has none.
func (s *Source) Partitioned() string {
	if s.parts == 0 {
		return ""
	}
	whole := "persistent://" + s.cfg.Tenant + "/" + s.cfg.Namespace + "/" + Unpartitioned(s.cfg.Topic)
	words := fmt.Sprintf("%s is a partitioned topic with %d partitions; Milvus needs a non-partitioned one; partition 0 holds it: %s-partition-0",
		whole, s.parts, whole)
	if s.parts == 1 {
		words = strings.Replace(words, "1 partitions", "1 partition", 1)
	} else {
		words += "; what the others hold is not read"
	}
	return words
}
