package pulsar_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	client "github.com/apache/pulsar-client-go/pulsar"

	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/pulsar"
	"github.com/walctl/walctl/pkg/walreader/source/sourcetest"
)

// footprint is what a read must leave as it was: topics, publishers,
// subscriptions, every cursor's position, every ledger.
func footprint(t *testing.T, b *testenv.Broker, topic string) map[string]any {
	t.Helper()
	namespace := strings.Split(topic, "/")[3]
	stats, internal := b.Stats(t, topic), b.InternalStats(t, topic)
	subscriptions := map[string]any{}
	for name := range stats["subscriptions"].(map[string]any) {
		subscriptions[name] = true
	}
	cursors := map[string]any{}
	for name, c := range internal["cursors"].(map[string]any) {
		c := c.(map[string]any)
		cursors[name] = []any{c["markDeletePosition"], c["readPosition"], c["individuallyDeletedMessages"]}
	}
	return map[string]any{"topics": b.Topics(t, namespace), "publishers": stats["publishers"],
		"subscriptions": subscriptions, "cursors": cursors, "ledgers": internal["ledgers"], "last": internal["lastConfirmedEntry"]}
}

// Everything a source can do leaves topics, publishers, subscriptions, cursors
// and ledgers as they were.
func TestFootprint(t *testing.T) {
	b := testenv.Pulsar(t)
	topic := b.Topic(t, "by-dev-rootcoord-dml_0")
	records := numbered(300, 100)
	published := b.Publish(t, topic, records, 100)
	b.Subscribe(t, topic, "backlog-clear")
	before := footprint(t, b, topic)

	cfg := config(b, topic)
	cfg.Parallel = 2
	s, err := pulsar.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	sourcetest.All(t, s, source.Range{})
	sourcetest.All(t, s, source.Range{From: source.Bound{Kind: source.AtID, ID: published.IDs[150], Offset: -20}, Limit: 10})
	sourcetest.All(t, s, source.Range{From: source.Bound{Kind: source.AtTime, Time: time.Now()}})
	rd, err := s.Follow(t.Context(), source.Range{})
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		if _, err := rd.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Bounds(t.Context()); err != nil {
		t.Fatal(err)
	}
	metadata, _ := s.Metadata(t.Context())
	if stats := s.Stats(t.Context()); len(metadata.Errors)+len(stats.Errors) != 0 || len(metadata.Answers) != 5 || len(stats.Answers) != 2 {
		t.Errorf("evidence: %+v, %+v", metadata, stats)
	}
	if _, err := pulsar.ListTopics(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if during := footprint(t, b, topic); reflect.DeepEqual(during, before) {
		t.Error("an open reader does not show: this test could not see one left behind")
	}
	_ = rd.Close()
	_ = s.Close()
	after := footprint(t, b, topic)
	if !reflect.DeepEqual(before, after) {
		x, _ := json.MarshalIndent(before, "", " ")
		y, _ := json.MarshalIndent(after, "", " ")
		t.Errorf("the read left traces: before\n%s\nafter\n%s", x, y)
	}
}

// A name that is no topic is told, and no topic comes of it.
func TestNoTopicIsCreated(t *testing.T) {
	b := testenv.Pulsar(t)
	namespace := b.Namespace(t)
	for _, touch := range []bool{false, true} {
		cfg := config(b, "persistent://public/"+namespace+"/mistyped")
		cfg.Touch, cfg.TopicExists = touch, touch
		if _, err := pulsar.Open(t.Context(), cfg); !errors.Is(err, source.ErrNotFound) {
			t.Errorf("open a topic that is not there (touch %v): %v, want ErrNotFound", touch, err)
		}
	}
	cfg := config(b, "persistent://public/"+namespace+"-not/mistyped")
	if _, err := pulsar.Open(t.Context(), cfg); !errors.Is(err, source.ErrNotFound) {
		t.Errorf("open in a namespace that is not there: %v, want ErrNotFound", err)
	}
	if topics := b.Topics(t, namespace); len(topics) > 0 {
		t.Errorf("topics came into being: %v", topics)
	}
}

// Without the admin port nothing is known: it takes both words to go on, and
// then the read is whole.
func TestAdminPortClosed(t *testing.T) {
	b := testenv.Pulsar(t)
	topic := b.Topic(t, "closed-admin")
	b.Publish(t, topic, numbered(50, 100), 20)
	cfg := config(b, topic)
	cfg.AdminURL = "http://127.0.0.1:1"
	for _, c := range []struct{ exists, touch bool }{{false, false}, {true, false}, {false, true}} {
		cfg.TopicExists, cfg.Touch = c.exists, c.touch
		var refused *pulsar.RefusedError
		if _, err := pulsar.Open(t.Context(), cfg); !errors.As(err, &refused) || !errors.Is(err, source.ErrRefused) {
			t.Errorf("exists %v, touch %v: %v, want a refusal", c.exists, c.touch, err)
		}
	}
	cfg.TopicExists, cfg.Touch = true, true
	src := open(t, cfg)
	if n := len(sourcetest.All(t, src, source.Range{})); n != 50 {
		t.Errorf("%d records, want 50", n)
	}
	// What cannot be asked is evidence too.
	metadata, _ := src.Metadata(t.Context())
	stats := src.Stats(t.Context())
	if len(metadata.Answers)+len(stats.Answers) != 0 || len(metadata.Errors) != 6 || len(stats.Errors) != 2 {
		t.Errorf("evidence without an admin port: %+v, %+v", metadata, stats)
	}
}

// ledgerCount is how many ledgers the metadata lists; reading it touches nothing.
func ledgerCount(t *testing.T, b *testenv.Broker, topic string) int {
	t.Helper()
	return len(b.InternalInfo(t, topic)["ledgers"].([]any))
}

// A broker that enforces retention within seconds.
func TestRetention(t *testing.T) {
	b := testenv.PrivatePulsar(t, map[string]string{"retentionCheckIntervalInSeconds": "2",
		"managedLedgerMinLedgerRolloverTimeMinutes": "0"})
	t.Run("first contact keeps expired ledgers", func(t *testing.T) { firstContactKeeps(t, b) })
	t.Run("a trimmed start", func(t *testing.T) { trimmedStart(t, b) })
}

// Ledgers past their retention live on while their topic is not loaded. First
// the destruction by a plain reader, to know that it is real; beside it a topic
// the guard keeps with all its neighbours, however many bundles they lie in, and
// one that the printed command saves. internal-info may load topics where it is
// the first call: nothing asks for it before the guard has been there.
func firstContactKeeps(t *testing.T, b *testenv.Broker) {
	const held, neighbours = 3, 4
	namespaces := map[string]string{"bare": b.NamespaceOf(t, 1), "one bundle": b.NamespaceOf(t, 1),
		"four bundles": b.NamespaceOf(t, 4), "raised": b.NamespaceOf(t, 1)}
	topic := func(name string, i int) string {
		return fmt.Sprintf("persistent://public/%s/by-dev-rootcoord-dml_%d", namespaces[name], i)
	}
	for name, namespace := range namespaces {
		b.SetRetention(t, namespace, -1, -1)
		for i := range neighbours {
			b.CreateTopic(t, topic(name, i))
			b.Publish(t, topic(name, i), numbered(30, 100), 10)
			b.Subscribe(t, topic(name, i), "backlog-clear")
		}
	}
	b.Kill()
	if err := b.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, namespace := range namespaces {
		b.SetRetention(t, namespace, 0, 0)
	}

	for _, name := range []string{"one bundle", "four bundles", "raised"} {
		_, err := pulsar.Open(t.Context(), config(b, topic(name, 0)))
		var refused *pulsar.RefusedError
		if !errors.As(err, &refused) {
			t.Fatalf("first contact: %v, want a refusal", err)
		}
		for _, word := range []string{"3 of 3 ledgers", "namespaces set-retention --time -1 --size -1", "namespaces set-retention --time 0 --size 0", "--touch"} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("the refusal does not say %q: %v", word, err)
			}
		}
	}
	b.SetRetention(t, namespaces["raised"], -1, -1) // what the refusal says to do
	for i := range neighbours {
		if n := len(sourcetest.All(t, open(t, config(b, topic("raised", i))), source.Range{})); n != 30 {
			t.Errorf("read after raising retention: %d records, want 30", n)
		}
	}

	bareRead(t, b, topic("bare", 0))
	for deadline := time.Now().Add(time.Minute); ledgerCount(t, b, topic("bare", 0)) >= held; {
		if time.Now().After(deadline) {
			t.Fatal("a plain reader destroyed nothing: the guard is not proven")
		}
		time.Sleep(time.Second)
	}
	time.Sleep(5 * time.Second) // two more checks of retention
	for _, name := range []string{"one bundle", "four bundles", "raised"} {
		for i := range neighbours {
			if n := ledgerCount(t, b, topic(name, i)); n < held {
				t.Errorf("%s: %d of %d ledgers left of topic %d", name, n, held, i)
			}
		}
	}
}

// bareRead reads a topic as any tool would.
func bareRead(t *testing.T, b *testenv.Broker, topic string) {
	t.Helper()
	r, err := b.Client(t).CreateReader(client.ReaderOptions{Topic: topic, StartMessageID: client.EarliestMessageID()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, _ = r.Next(ctx)
}

// A read that begins where the log no longer is begins with what is left, as over every
// other source: that the position is gone is Standing's to say.
func trimmedStart(t *testing.T, b *testenv.Broker) {
	namespace := b.Namespace(t)
	topic := "persistent://public/" + namespace + "/trimmed"
	b.CreateTopic(t, topic)
	records := numbered(30, 100)
	published := b.Publish(t, topic, records, 10)
	b.Subscribe(t, topic, "backlog-clear")
	b.SetRetention(t, namespace, 0, 0)
	for deadline := time.Now().Add(time.Minute); ledgerCount(t, b, topic) > 1 && time.Now().Before(deadline); {
		time.Sleep(200 * time.Millisecond)
	}
	cfg := config(b, topic)
	cfg.Touch = true
	rd, err := open(t, cfg).Open(t.Context(), source.Range{From: source.Bound{Kind: source.AtID, ID: published.IDs[3]}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rd.Close() }()
	n := 0
	for ; err == nil; n++ {
		_, err = rd.Next(t.Context())
	}
	if n--; !errors.Is(err, io.EOF) || n > 10 { // bytes that can't be read are another matter
		t.Fatalf("after %d records: %v", n, err)
	}
	if b, err := open(t, cfg).Bounds(t.Context()); err != nil || b.Standing(published.IDs[3]) != source.BeforeFirst && !b.Empty {
		t.Errorf("%s in what is left, %v, %v", b.Standing(published.IDs[3]), b, err)
	}
}
