package diagnose

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A backlog answers as a list that every TimeTick walks would.
func TestBacklogIsAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b Backlog
		var list []pendingAppend
		for n := range rapid.IntRange(1, 200).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "what") > 0 {
				p := pendingAppend{tt: rapid.Uint64Range(0, 60).Draw(t, "tt"), at: int64(n)}
				b.add(p)
				list = append(list, p)
				continue
			}
			tick, want, kept := rapid.Uint64Range(0, 50).Draw(t, "tick"), int64(0), []pendingAppend(nil)
			for _, p := range list {
				if p.tt <= tick {
					want++
				} else {
					kept = append(kept, p)
				}
			}
			list = kept
			require.Equal(t, want, b.Confirm(tick))
			require.Equal(t, len(list), b.Len())
			if len(list) > 0 {
				require.Equal(t, list[0].at, b.first().at)
			}
		}
	})
}
