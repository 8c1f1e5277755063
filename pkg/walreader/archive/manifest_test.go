package archive

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// A manifest whose own words contradict each other is refused: what it names
// would be read twice, or as ids of another WAL.
func TestAManifestThatContradictsItselfIsRefused(t *testing.T) {
	all := goldenMessages(t, "small")[:100]
	dir := t.TempDir()
	write(t, dir, WriterOptions{PChannel: "p", SegmentRows: 50, Backend: message.BackendPulsar}, all)
	for name, spoil := range map[string]func(m *Manifest){
		"a segment twice":          func(m *Manifest) { m.Segments = append(m.Segments, m.Segments[0]) },
		"one payload for two":      func(m *Manifest) { m.Segments[1].Payload = m.Segments[0].Payload },
		"a backend of offsets":     func(m *Manifest) { m.Backend = message.BackendKafka },
		"a backend the files deny": func(m *Manifest) { m.Backend = message.BackendWoodpecker },
		"an ending there is not":   func(m *Manifest) { m.Copied.Ended = "somehow" },
	} {
		t.Run(name, func(t *testing.T) {
			good, _, err := loadManifest(Dir(dir), "p")
			require.NoError(t, err)
			bad, _, err := loadManifest(Dir(dir), "p")
			require.NoError(t, err)
			spoil(bad)
			require.NoError(t, storeManifest(Dir(dir), bad))
			s, err := Open(t.Context(), dir, Options{})
			require.NoError(t, err)
			got, corrupt := readAll(t, s, everything())
			require.NotEmpty(t, corrupt)
			require.ErrorIs(t, corrupt[0], ErrDamaged)
			require.LessOrEqual(t, len(got), len(all))
			require.NoError(t, storeManifest(Dir(dir), good))
		})
	}
}
