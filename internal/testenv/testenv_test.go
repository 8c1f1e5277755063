package testenv_test

import (
	"os"
	"testing"

	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/walreader/message"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// A log published keeps its order and has its last-confirmed ids moved with it.
func TestPublishMovesLastConfirmed(t *testing.T) {
	b := testenv.Pulsar(t)
	topic := b.Topic(t, "moved")
	old := func(entry int64) message.ID {
		return message.ID{Backend: message.BackendPulsar, A: 1001, B: entry}
	}
	var log []testenv.Record
	for i := range int64(20) {
		log = append(log, testenv.Record{ID: old(i), Payload: []byte{byte(i)},
			Props: map[string]string{message.KeyLastConfirmed: old(max(i-3, 0)).Raw(message.Form{Partition: -1})}})
	}
	p := b.Publish(t, topic, log, 7)
	for i := 1; i < len(p.IDs); i++ {
		if !p.IDs[i-1].Less(p.IDs[i]) {
			t.Errorf("record %d at %s lies behind record %d at %s", i-1, p.IDs[i-1], i, p.IDs[i])
		}
	}
	ledgers := b.InternalInfo(t, topic)["ledgers"].([]any)
	if len(ledgers) < 3 {
		t.Errorf("20 records rolled every 7 lie in %d ledgers, want at least 3", len(ledgers))
	}
}

func TestEtcdServes(t *testing.T) {
	cli, _ := testenv.Etcd(t)
	if _, err := cli.Put(t.Context(), t.Name(), "here"); err != nil {
		t.Fatal(err)
	}
	got, err := cli.Get(t.Context(), t.Name())
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "here" {
		t.Fatalf("got %v, %v", got, err)
	}
}
