package cli

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

func testEnv(b message.Backend) PlaceEnv {
	first, last := message.ID{Backend: b, A: 5}, message.ID{Backend: b, A: 9, B: 20}
	return PlaceEnv{
		Now:     time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC),
		Backend: func(context.Context) (message.Backend, error) { return b, nil },
		Bounds: func(context.Context) (source.Bounds, error) {
			return source.Bounds{First: first, Last: last, Records: -1}, nil
		},
		Checkpoint: func(_ context.Context, v string) (source.Bound, error) {
			return source.Bound{Kind: source.AtID, ID: message.ID{Backend: b, A: 7, B: int64(len(v))}}, nil
		},
	}
}

func TestParsePlace(t *testing.T) {
	const p = message.BackendPulsar
	at := func(a, b int64, batch int32, off int64) source.Bound {
		return source.Bound{Kind: source.AtID, ID: message.ID{Backend: p, A: a, B: b, Batch: batch}, Offset: off}
	}
	when := func(s string) source.Bound {
		v, err := time.Parse(time.RFC3339Nano, s)
		require.NoError(t, err)
		return source.Bound{Kind: source.AtTime, Time: v}
	}
	for _, c := range []struct {
		in   string
		to   bool
		want source.Bound
	}{
		{"12/345/0", false, at(12, 345, 0, 0)},
		{"12:345", false, at(12, 345, 0, 0)},
		{"12/345/3+7", false, at(12, 345, 3, 7)},
		{"12/345-7", true, at(12, 345, 0, -7)},
		{"CAUQDBgAIAAwAQ==", false, at(5, 12, 0, 0)},
		{"tt:459467412668751872", false, source.Bound{Kind: source.AtTimeTick, TimeTick: 459467412668751872}},
		{"tt:459467412668751872+1", true, source.Bound{Kind: source.AtTimeTick, TimeTick: 459467412668751872, Offset: 1}},
		{"earliest", false, source.Bound{}},
		{"earliest", true, at(5, 0, 0, 0)},
		{"earliest+3", false, source.Bound{Offset: 3}},
		{"latest", true, source.Bound{}},
		{"latest", false, at(9, 20, 0, 0)},
		{"latest-100", false, at(9, 20, 0, -100)},
		{"latest-100", true, at(9, 20, 0, -100)},
		{"+3", false, source.Bound{Offset: 3}},
		{"+3", true, at(5, 0, 0, 2)},
		{"-3", false, at(9, 20, 0, -2)},
		{"checkpoint", false, at(7, 0, 0, 0)},
		{"checkpoint-5", false, at(7, 0, 0, -5)},
		{"checkpoint:abc", false, at(7, 3, 0, 0)},
		{"@2026-11-21T03:11:02Z", false, when("2026-11-21T03:11:02Z")},
		{"2026-11-21T03:11:02+02:00", false, when("2026-11-21T01:11:02Z")},
		{"@2026-11-21", false, when("2026-11-21T00:00:00Z")},
		{"2026-11-21", true, when("2026-11-21T00:00:00Z")},
		{"@1795000000", false, when("2026-11-18T11:06:40Z")},
		{"@1795000000123", false, when("2026-11-18T11:06:40.123Z")},
		{"-2h", false, when("2026-11-21T10:00:00Z")},
		{"@-90m", false, when("2026-11-21T10:30:00Z")},
		{"-1.5d", false, when("2026-11-20T00:00:00Z")},
	} {
		got, err := ParsePlace(context.Background(), c.in, c.to, testEnv(p))
		require.NoError(t, err, c.in)
		got.Time = got.Time.UTC()
		c.want.Time = c.want.Time.UTC()
		require.Equal(t, c.want, got, "%s to=%v", c.in, c.to)
	}
	for _, bad := range []string{"", "nonsense!", "@12", "tt:x", "@2026-13-01", "12/345/0/1", "99999999999999999999999"} {
		_, err := ParsePlace(context.Background(), bad, false, testEnv(p))
		var u *UsageError
		require.ErrorAs(t, err, &u, "%q", bad)
	}
}

func TestPlaceOfWoodpecker(t *testing.T) {
	got, err := ParsePlace(context.Background(), "4/8", false, testEnv(message.BackendWoodpecker))
	require.NoError(t, err)
	require.Equal(t, message.ID{Backend: message.BackendWoodpecker, A: 4, B: 8}, got.ID)
}

func TestPlacesThatCannotBeHad(t *testing.T) {
	_, err := ParsePlace(context.Background(), "checkpoint", false, PlaceEnv{})
	require.Equal(t, CodeUsage, CodeOf(err))
	broken := errors.New("broker gone")
	_, err = ParsePlace(context.Background(), "latest", false, PlaceEnv{Bounds: func(context.Context) (source.Bounds, error) {
		return source.Bounds{}, broken
	}})
	require.ErrorIs(t, err, broken)
}

func TestVChannelFilterIsNoPrefix(t *testing.T) {
	f, err := (&FilterFlags{VChannels: []string{"dml_1_7v0"}}).Filter()
	require.NoError(t, err)
	require.True(t, f.MatchesVChannel("by-dev-rootcoord-dml_1_7v0"))
	require.True(t, f.MatchesVChannel("dml_1_7v0"))
	require.False(t, f.MatchesVChannel("by-dev-rootcoord-dml_1_7v01"))
	require.False(t, f.MatchesVChannel("by-dev-rootcoord-xdml_1_7v0"))
	require.False(t, f.MatchesVChannel("by-dev-rootcoord-dml_10_7v0"))
}
