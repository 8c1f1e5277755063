package walgen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	upstream "github.com/milvus-io/milvus/pkg/v3/streaming/util/message"
	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/recovery"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// TestUpstreamParsesEveryMessage holds the envelope, header and body of every
// message against Milvus's own message package.
func TestUpstreamParsesEveryMessage(t *testing.T) {
	for name, cfg := range configs() {
		seen := map[message.Type]int{}
		for _, m := range New(cfg).Messages() {
			seen[m.Type]++
			require.NoError(t, upstreamReads(m), "%s: %s %s", name, m.ID, m.Type)
		}
		t.Log(name, seen)
	}
}

func upstreamReads(m *message.Message) error {
	props := make(map[string]string, len(m.Props))
	for _, p := range m.Props {
		props[p.Key] = p.Value
	}
	u := upstream.NewImmutableMesasge(nil, m.Payload, props)
	if got := message.Type(u.MessageType()); got != m.Type {
		return fmt.Errorf("type %d", got)
	}
	if u.TimeTick() != m.TimeTick || u.VChannel() != m.VChannel || u.BarrierTimeTick() != m.Barrier {
		return fmt.Errorf("envelope reads otherwise: %d %s %d", u.TimeTick(), u.VChannel(), u.BarrierTimeTick())
	}
	if tx := u.TxnContext(); (tx != nil) != m.Has(message.HasTxn) || (tx != nil && int64(tx.TxnID) != m.TxnID) {
		return fmt.Errorf("transaction reads otherwise: %v", tx)
	}
	if b := u.BroadcastHeader(); b != nil {
		found := m.Has(message.PChannelLevel)
		for _, v := range b.VChannels {
			found = found || v == m.VChannel
		}
		if b.BroadcastID != m.BroadcastID || !found {
			return fmt.Errorf("broadcast %v does not name %s", b, m.VChannel)
		}
	}
	return upstreamBody(u)
}

func upstreamBody(u upstream.ImmutableMessage) error {
	var err error
	switch messagespb.MessageType(u.MessageType()) {
	case messagespb.MessageType_TimeTick:
		var x upstream.ImmutableTimeTickMessageV1
		if x, err = upstream.AsImmutableTimeTickMessageV1(u); err == nil {
			var b *upstream.TimeTickMsg
			if b, err = x.Body(); err == nil && b.Base.Timestamp != u.TimeTick() {
				err = errors.New("timestamp is not its TimeTick")
			}
		}
	case messagespb.MessageType_Insert:
		var x upstream.ImmutableInsertMessageV1
		if x, err = upstream.AsImmutableInsertMessageV1(u); err == nil {
			var b *upstream.InsertRequest
			if b, err = x.Body(); err == nil {
				h := x.Header()
				if h.Partitions[0].Rows != b.NumRows || h.Partitions[0].PartitionId != b.PartitionID || h.CollectionId != b.CollectionID || b.ShardName != u.VChannel() {
					err = errors.New("header and body of an insert differ")
				}
			}
		}
	case messagespb.MessageType_Delete:
		var x upstream.ImmutableDeleteMessageV1
		if x, err = upstream.AsImmutableDeleteMessageV1(u); err == nil {
			_, err = x.Body()
		}
	case messagespb.MessageType_CreateCollection:
		var x upstream.ImmutableCreateCollectionMessageV1
		if x, err = upstream.AsImmutableCreateCollectionMessageV1(u); err == nil {
			_, err = x.Body()
		}
	case messagespb.MessageType_AlterCollection:
		var x upstream.ImmutableAlterCollectionMessageV2
		if x, err = upstream.AsImmutableAlterCollectionMessageV2(u); err == nil {
			_, err = x.Body()
		}
	case messagespb.MessageType_CreateSegment:
		_, err = upstream.AsImmutableCreateSegmentMessageV2(u)
	case messagespb.MessageType_Flush:
		_, err = upstream.AsImmutableFlushMessageV2(u)
	case messagespb.MessageType_ManualFlush:
		_, err = upstream.AsImmutableManualFlushMessageV2(u)
	case messagespb.MessageType_BeginTxn:
		_, err = upstream.AsImmutableBeginTxnMessageV2(u)
	case messagespb.MessageType_Import:
		var x upstream.ImmutableImportMessageV1
		if x, err = upstream.AsImmutableImportMessageV1(u); err == nil {
			_, err = x.Body()
		}
	}
	return err
}

type drops map[order.Reason]int

func (d drops) Dropped(_ *message.Message, why order.Reason, _ uint64) { d[why]++ }

// TestScannerDropsOnlyUnfinishedTransactions reads clean logs as a node would.
func TestScannerDropsOnlyUnfinishedTransactions(t *testing.T) {
	for name, cfg := range configs() {
		cfg.Tail = 0
		ms := New(cfg).Messages()
		d := drops{}
		r, err := SliceSource("p", ms).Open(context.Background(), source.Range{})
		require.NoError(t, err)
		s := order.NewScanner(r, order.Options{Observer: d})
		for {
			if _, err = s.Next(context.Background()); err != nil {
				break
			}
		}
		require.ErrorIs(t, err, io.EOF)
		delete(d, order.RolledBack)
		delete(d, order.Expired)
		require.Empty(t, d, name)
		require.Empty(t, s.Waiting(), name)
	}
}

// TestReplayIsClean recovers clean logs from the catalog that goes with them.
func TestReplayIsClean(t *testing.T) {
	for name, cfg := range configs() {
		g := New(cfg)
		kv := g.CatalogBefore()
		md, problems := catalog.Decode(g.PChannel(), kv)
		require.Empty(t, problems, name)
		res, err := recovery.Replay(context.Background(), SliceSource(g.PChannel(), g.Messages()), md, recovery.ReplayOptions{})
		require.NoError(t, err, name)
		for _, i := range res.State.Issues().List() {
			if i.Code != "recovery-newer-type" && i.Code != "recovery-transaction-expired" {
				t.Errorf("%s: %+v", name, i)
			}
		}
	}
}
