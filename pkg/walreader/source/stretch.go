package source

import (
	"sort"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// Stretch is what was read of one ledger or segment: its first and last record.
type Stretch struct{ First, Last message.ID }

// LostBehind holds an id that a message names against the n stretches a pass has
// read so far, in log order: writers name only what was acknowledged, so an id that
// lies after the last record read of its ledger, or in a ledger that was not read
// though one before it was, is lost. Where a ledger is missing whole, or its end,
// this is all that tells. It returns the stretch behind which the loss begins. An id
// between two records of one stretch is not judged: entries that do not follow each
// other tell of those.
func LostBehind(n int, stretch func(i int) Stretch, named message.ID) (behind int, lost bool) {
	k := sort.Search(n, func(i int) bool { return stretch(i).Last.A >= named.A })
	switch {
	case k < n && stretch(k).Last.A == named.A:
		return k, named.B > stretch(k).Last.B
	case k == 0:
		return 0, false // older than all that was read
	}
	return k - 1, true
}
