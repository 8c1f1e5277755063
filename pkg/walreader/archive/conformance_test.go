package archive

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/sourcetest"
)

// An archive behaves as every other source, in one segment and in several.
func TestConformance(t *testing.T) {
	want := goldenMessages(t, "small")
	for name, rows := range map[string]int64{"one segment": 0, "many segments": 37} {
		t.Run(name, func(t *testing.T) {
			dir, opt := t.TempDir(), writerOptions(want)
			opt.SegmentRows = rows
			write(t, dir, opt, want)
			sourcetest.Run(t, sourcetest.Suite{Want: want, Open: func(t testing.TB) source.Source {
				s, err := Open(t.Context(), dir, Options{})
				require.NoError(t, err)
				return s
			}})
		})
	}
}
