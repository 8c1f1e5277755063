package catalog

import (
	"path/filepath"
	"testing"

	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/stretchr/testify/require"
)

// BenchmarkLoad100kSegments loads a WAL's catalog of 100,000 segments from each
// kind of file, decoded and held to its bytes.
func BenchmarkLoad100kSegments(b *testing.B) {
	kv := map[string][]byte{}
	for i := range int64(100_000) {
		k, v, err := EncodeSegment("dml_1", &streamingpb.SegmentAssignmentMeta{CollectionId: 1, PartitionId: 2, SegmentId: 460000000000000000 + i,
			Vchannel: "by-dev-rootcoord-dml_1_450000000001000001v0", State: 1, CheckpointTimeTick: 470603131025883139,
			Stat: &streamingpb.SegmentAssignmentStat{MaxBinarySize: 1 << 30, ModifiedRows: uint64(i)}})
		require.NoError(b, err)
		kv[k] = v
	}
	for _, kind := range []string{"file", "kvjson"} {
		spec := kind + ":" + filepath.Join(b.TempDir(), "c")
		require.NoError(b, Create(b.Context(), spec, kv, Options{}))
		c, err := Open(b.Context(), spec, Options{})
		require.NoError(b, err)
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				md, _, err := c.Load(b.Context(), "dml_1")
				if err != nil || len(md.Segments) != len(kv) {
					b.Fatal(len(md.Segments), err)
				}
			}
		})
		require.NoError(b, c.Close())
	}
}
