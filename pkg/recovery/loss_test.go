package recovery

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// What a writer behind the next node's opening wrote is lost, and counted to the
// row: against a count of the log itself.
func TestLossesOfStaleMessages(t *testing.T) {
	g := walgen.New(walgen.Config{Seed: 11, Messages: 4000, Terms: 2})
	clean := g.Messages()
	md, _ := catalog.Decode(g.PChannel(), g.CatalogBefore())
	res, err := Replay(t.Context(), walgen.SliceSource(g.PChannel(), clean), md, ReplayOptions{})
	require.NoError(t, err)
	base := res.Losses()

	ms, truth, err := walgen.Inject(clean, walgen.StaleWriter, 3)
	require.NoError(t, err)
	res, err = Replay(t.Context(), walgen.SliceSource(g.PChannel(), ms), md, ReplayOptions{Tail: true})
	require.NoError(t, err)
	at := map[message.ID]bool{}
	for _, id := range truth.IDs {
		at[id] = true
	}
	want, droppedLater := map[string]Loss{}, map[string]bool{}
	for _, m := range ms {
		droppedLater[m.VChannel] = droppedLater[m.VChannel] || m.Type == message.TypeDropCollection
	}
	for _, m := range ms {
		if at[m.ID] && !droppedLater[m.VChannel] {
			l := want[m.VChannel]
			l.message(m)
			want[m.VChannel] = l
		}
	}
	var rows uint64
	for name, w := range want {
		got, was := res.Losses()[name], base[name]
		require.GreaterOrEqual(t, got.Rows, was.Rows+w.Rows, name)
		require.GreaterOrEqual(t, got.Deletes, w.Deletes, name)
		rows += w.Rows
	}
	require.Positive(t, rows, "the fault loses rows")
}

// The list of issues is bounded, the count of what is lost is not.
func TestLossesAreNotCapped(t *testing.T) {
	s, err := NewState(catalog.Metadata{PChannel: "p"}, Options{})
	require.NoError(t, err)
	for range maxIssues + 500 {
		s.quarantine(&message.Message{Type: message.TypeInsert, VChannel: "p_1v0", Rows: 3}, nil)
	}
	require.Len(t, s.Issues().List(), maxIssues)
	require.Equal(t, map[string]Loss{"p_1v0": {Rows: 3 * (maxIssues + 500)}}, s.Losses())
	c := s.Clone()
	c.quarantine(&message.Message{Type: message.TypeInsert, VChannel: "p_1v0", Rows: 3}, nil)
	require.NotEqual(t, c.Losses(), s.Losses())
}
