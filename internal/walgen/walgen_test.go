package walgen

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

func configs() map[string]Config {
	return map[string]Config{
		"default":    {Messages: 4000},
		"terms":      {Messages: 4000, Terms: 5},
		"batches":    {Messages: 4000, Terms: 3, Batches: true},
		"woodpecker": {Messages: 4000, Terms: 4, Backend: message.BackendWoodpecker, LedgerEntries: 300},
		"kafka":      {Messages: 3000, Terms: 2, Backend: message.BackendKafka},
		"ddl":        {Messages: 5000, Terms: 3, DDLRatio: 0.1, TxnRatio: 0.1, Collections: 6},
		"v30":        {Messages: 5000, Terms: 3, DDLRatio: 0.1, Version: Version30},
		"secondary":  {Messages: 4000, Terms: 3, Secondary: true, DDLRatio: 0.05},
		"idle":       {Messages: 3000, IdleStretches: 4, Rate: 50},
		"slow":       {Messages: 2000, Rate: 5, TxnRatio: 0.2},
		"row-based":  {Messages: 1000, RowBased: true},
		"no-control": {Messages: 3000, PChannel: "by-dev-rootcoord-dml_7", NoControlChannel: true, DDLRatio: 0.05, ShardIndex: 1},
		"cheap":      {Messages: 20000, Cheap: true, Terms: 2},
		"alter-wal":  {Messages: 1000, Terms: 2, AlterWAL: message.BackendWoodpecker},
		"tail":       {Messages: 1000, Tail: 40},
	}
}

func TestSameSeedSameBytes(t *testing.T) {
	for name, cfg := range configs() {
		a, b := sum(cfg), sum(cfg)
		require.Equal(t, a, b, name)
		cfg.Seed++
		require.NotEqual(t, a, sum(cfg), name)
	}
}

func sum(cfg Config) (s uint64) {
	g := New(cfg)
	for m, ok := g.Next(); ok; m, ok = g.Next() {
		s = s*31 + message.ComputeChecksum(m.Props, m.Payload) + uint64(m.ID.A*1000003+m.ID.B*7+int64(m.ID.Batch))
	}
	return s
}

// TestFieldsAreTheDecoders: what New fills in by hand is what Decode finds, and
// ids read as they are stored.
func TestFieldsAreTheDecoders(t *testing.T) {
	for name, cfg := range configs() {
		for _, m := range New(cfg).Messages() {
			d := &message.Message{Ordinal: m.Ordinal, PublishTime: m.PublishTime, Payload: m.Payload, Props: m.Props}
			d.SetID(m.ID, m.Form())
			new(message.Decoder).Decode(d)
			require.Equal(t, d, m, name)
			require.Equal(t, m.ID.Raw(m.Form()), m.RawID())
		}
	}
}

// TestRecordLinesComeBack writes a log as NDJSON and reads it again.
func TestRecordLinesComeBack(t *testing.T) {
	for name, cfg := range configs() {
		ms := New(cfg).Messages()
		var b bytes.Buffer
		w := jsonl.NewWriter(&b, jsonl.Options{Data: true})
		for _, m := range ms {
			require.NoError(t, w.Write(m))
		}
		require.NoError(t, w.Flush())
		r, err := jsonl.FromReader(name, &b).Open(context.Background(), source.Range{Props: true, Payload: source.PayloadAll})
		require.NoError(t, err)
		for _, want := range ms {
			got, err := r.Next(context.Background())
			require.NoError(t, err)
			require.Equal(t, []any{want.Props, string(want.Payload), want.RawID(), want.ID.String(), want.TimeTick},
				[]any{got.Props, string(got.Payload), got.RawID(), got.ID.String(), got.TimeTick}, name)
		}
		_, err = r.Next(context.Background())
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, r.Close())
	}
}

// TestOverload: the logs of one cluster agree with one another.
func TestOverload(t *testing.T) {
	var rows uint64
	var create string
	for _, cfg := range Overload(1, 16_003, 4) {
		for _, m := range New(cfg).Messages() {
			switch {
			case m.Type == message.TypeInsert:
				rows += m.Rows
			case m.Type == message.TypeCreateCollection && !strings.HasSuffix(m.VChannel, "_vcchan"):
				h, _ := m.Props.Get(message.KeyBroadcast)
				if create == "" {
					create = h + string(m.Payload)
				}
				require.Equal(t, create, h+string(m.Payload))
			}
		}
	}
	require.Equal(t, uint64(16_003), rows)
}

func TestCleanLogs(t *testing.T) {
	for name, cfg := range configs() {
		for seed := range uint64(4) {
			cfg.Seed = seed
			t.Run(fmt.Sprint(name, "/", seed), func(t *testing.T) {
				ms := New(cfg).Messages()
				require.GreaterOrEqual(t, len(ms), cfg.Messages)
				require.LessOrEqual(t, len(ms), cfg.Messages+cfg.Tail+40)
				for _, v := range check(ms) {
					t.Error(v)
				}
			})
		}
	}
}
