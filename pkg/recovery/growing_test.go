package recovery_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// A state and the copy of it that goes on share what neither changes. What was given of
// the one, what differs, and what need not be decoded must be as if they shared nothing.
func TestStatesThatShareSegments(t *testing.T) {
	differ, known := 0, 0
	for seed := range seeds() {
		c := generated(seed)
		ticks := c.ticks()
		for i := 0; i < len(ticks); i += max(len(ticks)/8, 1) {
			r := c.replay(t, c.before, recovery.ReplayOptions{Tail: true, Until: source.Bound{Kind: source.AtTimeTick, TimeTick: ticks[i]}})
			alone := c.replay(t, c.before, recovery.ReplayOptions{Until: source.Bound{Kind: source.AtTimeTick, TimeTick: ticks[i]}})
			kv := persist(t, r)
			require.Equal(t, persist(t, alone), kv, c.name)
			after, err := r.Tail.Next.Persist()
			require.NoError(t, err)
			n, err := r.State.Differences(r.Tail.Next)
			require.NoError(t, err)
			require.Len(t, recovery.Diff(kv, after), n, c.name)
			differ += n
			known += decodesAlike(t, c.pchannel, after, r.Tail.Next)
		}
	}
	require.Positive(t, differ)
	require.Positive(t, known)
}

// decodesAlike holds the metadata that a state knows against that decoded from its bytes,
// and returns how much it knew.
func decodesAlike(t *testing.T, pchannel string, kv map[string][]byte, s *recovery.State) (known int) {
	t.Helper()
	want, problems := catalog.Decode(pchannel, kv)
	for id, meta := range want.Segments {
		key := catalog.SegmentKey(pchannel, id)
		if got := s.EncodedFrom(id, kv[key]); got != nil {
			known++
			require.True(t, proto.Equal(meta, got), key)
		}
		require.Nil(t, s.EncodedFrom(id, append([]byte{}, kv[key]...)), "other bytes are not those that were given")
	}
	got, again := catalog.DecodeKnown(pchannel, kv, s.EncodedFrom)
	require.Equal(t, problems, again)
	require.Len(t, got.Segments, len(want.Segments))
	return known
}
