package cmd

import (
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/pulsar-client-go/pulsar"
	"github.com/milvus-io/milvus/pkg/v3/proto/streamingpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// The tour on a real etcd and a real broker: recover, refused while anything
// lives, applied, recover says clean, undone. The log and its topic are left as
// they were.
func TestRepairLive(t *testing.T) {
	b := testenv.Pulsar(t)
	endpoint, _ := testenv.PrivateEtcd(t)
	ns := b.Namespace(t)
	expected := golden.Expectations(t, "live-pulsar")
	e := expected[len(expected)-1]
	topic := "persistent://public/" + ns + "/" + e.PChannel
	b.CreateTopic(t, topic)
	_, published := publishGolden(t, b, topic, "live-pulsar")

	before := moveCheckpoint(t, e.KVBefore, e.PChannel, published)
	cat, err := catalog.Open(t.Context(), "etcd://"+endpoint+"/by-dev/meta", catalog.Options{Write: true})
	require.NoError(t, err)
	defer cat.Close()
	put := func(kv map[string][]byte, deletes ...string) {
		_, err := cat.Txn(t.Context(), catalog.Guard{}, kv, deletes)
		require.NoError(t, err)
	}
	wal := func() map[string][]byte {
		kv, err := catalog.Export(t.Context(), cat, catalog.WALPrefix(e.PChannel))
		require.NoError(t, err)
		return kv
	}
	put(before)
	put(map[string][]byte{catalog.SessionCounterKey: []byte("7")})

	file := filepath.Join(t.TempDir(), "p.json")
	env := map[string]string{"WALCTL_PULSAR": b.URL, "WALCTL_PULSAR_ADMIN": b.AdminURL, "WALCTL_NAMESPACE": ns,
		"WALCTL_ETCD": endpoint, "WALCTL_ETCD_ROOT": "by-dev/meta", "WALCTL_MILVUS_VERSION": "2.6.14"}
	footprintBefore := footprint(t, b, ns, topic)
	code, out, errOut := run(t, env, "recover", e.PChannel, "--out", file)
	require.Equal(t, 0, code, errOut)
	require.Contains(t, out, "Applicable yes")
	apply := func() (int, string) {
		code, _, errOut := run(t, env, "apply", file, "--yes", "--reason", "test")
		return code, errOut
	}

	put(map[string][]byte{"session/streamingnode-7": []byte(`{"ServerID":7,"ServerName":"streamingnode"}`)})
	code, errOut = apply()
	require.Equal(t, 5, code, errOut)
	require.Contains(t, errOut, "live-session: streamingnode-7")
	put(nil, "session/streamingnode-7")

	producer, err := b.Client(t).CreateProducer(pulsar.ProducerOptions{Topic: topic, Name: "somebody"})
	require.NoError(t, err)
	code, errOut = apply()
	require.Equal(t, 5, code, errOut)
	require.Contains(t, errOut, "live-producer: producer somebody")
	producer.Close()
	require.Equal(t, before, wal(), "nothing was written so far")

	code, errOut = apply()
	require.Equal(t, 0, code, errOut)
	code, out, errOut = run(t, env, "recover", e.PChannel)
	require.Equal(t, 0, code, errOut)
	require.Contains(t, out, "no difference")

	code, _, errOut = run(t, env, "undo", "latest", "--yes", "--reason", "test")
	require.Equal(t, 0, code, errOut)
	require.Equal(t, before, wal())
	require.Equal(t, footprintBefore, footprint(t, b, ns, topic))

	// The log goes on: the plan is of an older end.
	code, _, errOut = run(t, env, "recover", e.PChannel, "--out", file)
	require.Equal(t, 0, code, errOut)
	producer, err = b.Client(t).CreateProducer(pulsar.ProducerOptions{Topic: topic})
	require.NoError(t, err)
	_, err = producer.Send(context.Background(), &pulsar.ProducerMessage{Payload: []byte("x"), Properties: map[string]string{"_v": "2", "_t": "1", "_tt": "zzzzzzzzzz"}})
	require.NoError(t, err)
	producer.Close()
	code, errOut = apply()
	require.Equal(t, 5, code, errOut)
	require.Contains(t, errOut, "log-moved")
}

// moveCheckpoint is a catalog whose checkpoint points at where the log went.
func moveCheckpoint(t *testing.T, kv map[string][]byte, pchannel string, p testenv.Published) map[string][]byte {
	t.Helper()
	out := maps.Clone(kv)
	var cp streamingpb.WALCheckpoint
	key := catalog.CheckpointKey(pchannel)
	require.NoError(t, proto.Unmarshal(kv[key], &cp))
	old, _, err := message.ParseRaw(message.BackendPulsar, cp.MessageId.Id)
	require.NoError(t, err)
	id, ok := p.NewID(old)
	if !ok {
		j, _ := json.Marshal(old)
		t.Fatalf("the log has no message %s", strings.TrimSpace(string(j)))
	}
	cp.MessageId.Id = id.Raw(message.Form{Partition: 0, BatchSize: 1})
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&cp)
	require.NoError(t, err)
	out[key] = b
	return out
}
