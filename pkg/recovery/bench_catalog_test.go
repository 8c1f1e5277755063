package recovery_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// BenchmarkDiff100kSegments loads two catalogs of 100,000 segments, every tenth
// changed, and compares them field by field. x-decode is the time against a bare
// loop that unmarshals the same values once, in the same run.
func BenchmarkDiff100kSegments(b *testing.B) {
	kv := [2]map[string][]byte{{}, {}}
	for i := range int64(100_000) {
		for side := range kv {
			rows := uint64(i)
			if side == 1 && i%10 == 0 {
				rows++
			}
			k, v, err := catalog.EncodeSegment("dml_1", &streamingpb.SegmentAssignmentMeta{CollectionId: 1, PartitionId: 2, SegmentId: 460000000000000000 + i,
				Vchannel: "by-dev-rootcoord-dml_1_450000000001000001v0", State: 1, CheckpointTimeTick: 470603131025883139,
				Stat: &streamingpb.SegmentAssignmentStat{MaxBinarySize: 1 << 30, ModifiedRows: rows}})
			require.NoError(b, err)
			kv[side][k] = v
		}
	}
	var open [2]catalog.Catalog
	for side := range kv {
		spec := "file:" + filepath.Join(b.TempDir(), "c.db")
		require.NoError(b, catalog.Create(b.Context(), spec, kv[side], catalog.Options{}))
		c, err := catalog.Open(b.Context(), spec, catalog.Options{})
		require.NoError(b, err)
		defer c.Close()
		open[side] = c
	}
	var bare, own time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		for side := range kv {
			for _, v := range kv[side] {
				var m streamingpb.SegmentAssignmentMeta
				require.NoError(b, proto.Unmarshal(v, &m))
			}
		}
		bare += time.Since(start)
		start = time.Now()
		var md [2]catalog.Metadata
		for side := range open {
			var err error
			md[side], _, err = open[side].Load(b.Context(), "dml_1")
			require.NoError(b, err)
		}
		require.Len(b, recovery.Diff(md[0].KV, md[1].KV), 10_000)
		own += time.Since(start)
	}
	b.ReportMetric(own.Seconds()/bare.Seconds(), "x-decode")
	b.ReportMetric(own.Seconds()/float64(b.N), "s/load+diff")
}
