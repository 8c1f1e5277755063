package cmd

import (
	"context"
	"strings"
	"testing"

	"github.com/milvus-io/milvus-proto/go-api/v3/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// Roots with Milvus metadata are found; a checkpoint of the catalog is a place.
func TestDiscoverAndCheckpointOverEtcd(t *testing.T) {
	client, endpoints := testenv.Etcd(t)
	ctx := context.Background()
	put := func(key string, value []byte) {
		_, err := client.Put(ctx, key, string(value))
		require.NoError(t, err)
	}
	marshal := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		require.NoError(t, err)
		return b
	}
	id := message.ID{Backend: message.BackendPulsar, A: 1001, B: 321, Batch: 2}
	form := message.Form{Partition: -1}
	raw := id.Raw(form)
	const pchannel, vchannel = "by-dev-rootcoord-dml_0", "by-dev-rootcoord-dml_0_7v0"
	put("found-me/meta/streamingcoord-meta/pchannel/"+pchannel, nil)
	put("found-me/meta/session/streamingnode-1", []byte("{}"))
	put("found-me/meta/streamingnode-meta/wal/"+pchannel+"/consume-checkpoint", marshal(&streamingpb.WALCheckpoint{
		MessageId: &commonpb.MessageID{WALName: commonpb.WALName_Pulsar, Id: raw}, TimeTick: 1, RecoveryMagic: 1}))
	last := message.ID{Backend: message.BackendPulsar, A: 1001, B: 321, Batch: 3}
	put("found-me/meta/datacoord-meta/channel-cp/"+vchannel, marshal(&msgpb.MsgPosition{
		ChannelName: vchannel, MsgID: rawBytes(t, last.Raw(form)), WALName: commonpb.WALName_Pulsar}))
	put("something/else", nil)

	etcd := strings.TrimPrefix(strings.Join(endpoints, ","), "http://")
	code, out, errOut := run(t, nil, "context", "discover", "--etcd", etcd)
	require.Equal(t, 0, code, errOut)
	require.Contains(t, out, "found-me/meta\t1\t1\t4\n")
	require.NotContains(t, out, "something")

	code, _, errOut = run(t, nil, "catalog", "show", "--etcd", etcd, "--etcd-root", "mistyped/meta")
	require.Equal(t, 1, code, errOut)
	require.Contains(t, errOut, `there is no key below the metadata root "mistyped/meta"`)
	require.Contains(t, errOut, "found-me/meta")
	code, _, errOut = run(t, nil, "catalog", "show", "--catalog", "etcd://"+etcd+"/something")
	require.Equal(t, 1, code, errOut)
	require.Contains(t, errOut, `no key below the metadata root "something" is one of a Milvus`)
	require.NotContains(t, errOut, "something/", "only roots of a Milvus are named")

	wal := golden.WAL(t, "small")
	code, out, errOut = run(t, nil, "inspect", wal, "--records", "--from", "checkpoint", "--catalog", "etcd://"+etcd+"/found-me/meta")
	require.Equal(t, 0, code, errOut)
	require.Equal(t, 3, strings.Count(out, "\n"), out) // a header and two records
	require.Contains(t, out, "1001/321/2\t")
	code, out, errOut = run(t, nil, "inspect", wal, "--records", "--from", "checkpoint:"+vchannel, "--etcd", etcd, "--etcd-root", "found-me/meta")
	require.Equal(t, 0, code, errOut)
	require.NotContains(t, out, "1001/321/2\t")
	require.Contains(t, out, "1001/321/3\t")
	code, _, errOut = run(t, nil, "inspect", wal, "--records", "--from", "checkpoint:nobody", "--etcd", etcd, "--etcd-root", "found-me/meta")
	require.Equal(t, 1, code, errOut)
	code, _, errOut = run(t, nil, "inspect", wal, "--records", "--from", "checkpoint")
	require.Equal(t, 2, code, errOut)
	require.Contains(t, errOut, "--catalog")
}

// rawBytes is an id as DataCoord stores it: the bytes behind the base64.
func rawBytes(t *testing.T, raw string) []byte {
	t.Helper()
	b, err := b64(raw)
	require.NoError(t, err)
	return b
}
