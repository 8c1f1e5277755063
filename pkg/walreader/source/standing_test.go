package source_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

func TestStanding(t *testing.T) {
	id := func(ledger, entry int64) message.ID {
		return message.ID{Backend: message.BackendPulsar, A: ledger, B: entry}
	}
	offset := func(b message.Backend, n int64) message.ID { return message.ID{Backend: b, A: n} }
	pulsar := source.Bounds{First: id(15, 0), Last: id(17, 9)}
	offsets := source.Bounds{First: offset(message.BackendOffset, 5), Last: offset(message.BackendOffset, 9)}
	for _, c := range []struct {
		in   source.Bounds
		at   message.ID
		want source.Standing
	}{
		{pulsar, id(15, 0), source.Within},
		{pulsar, id(17, 9), source.Within},
		{pulsar, id(14, 99), source.BeforeFirst},
		{pulsar, id(17, 10), source.BehindEnd},
		{pulsar, message.ID{}, source.NoPosition},
		{pulsar, message.EarliestID(), source.Within},
		{pulsar, offset(message.BackendKafka, 3), source.OtherWAL},
		{source.Bounds{Empty: true}, id(15, 0), source.EmptyLog},
		{source.Bounds{Empty: true}, message.EarliestID(), source.Within},
		{offsets, offset(message.BackendKafka, 7), source.Within},
		{offsets, offset(message.BackendRocksMQ, 4), source.BeforeFirst},
		{offsets, offset(message.BackendOffset, 10), source.BehindEnd},
	} {
		require.Equal(t, c.want, c.in.Standing(c.at), "%s in %s…%s", c.at, c.in.First, c.in.Last)
		require.Equal(t, c.want != source.Within, c.want.Gone())
		require.NotEmpty(t, c.want.String())
	}
}

// What a copy does not hold is not gone.
func TestStandingInAPartOfALog(t *testing.T) {
	at := func(b int64) message.ID { return message.ID{Backend: message.BackendPulsar, A: 1, B: b} }
	half := source.Bounds{First: at(10), Last: at(20), Lacks: source.Lacks{Start: true, End: true, Of: at(30)}}
	for id, want := range map[int64]source.Standing{5: source.NotHeld, 10: source.Within, 20: source.Within, 21: source.NotHeld, 30: source.NotHeld, 31: source.BehindEnd} {
		require.Equal(t, want, half.Standing(at(id)), "%d", id)
	}
	require.False(t, source.NotHeld.Gone())
	require.Equal(t, source.NotHeld, source.Bounds{Empty: true, Lacks: source.Lacks{End: true}}.Standing(at(1)))
	require.Equal(t, source.EmptyLog, source.Bounds{Empty: true}.Standing(at(1)))
}
