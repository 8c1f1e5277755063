package testenv

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Call sends an admin request (path below /admin/v2) and decodes the JSON answer
// into out where out is not nil. body may be nil.
func (b *Broker) Call(ctx context.Context, method, path string, body, out any) error {
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, b.AdminURL+"/admin/v2/"+path, payload)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	b.authorize(req)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	if out == nil || len(text) == 0 {
		return nil
	}
	return json.Unmarshal(text, out)
}

func (b *Broker) must(t testing.TB, method, path string, body, out any) {
	t.Helper()
	if err := b.Call(context.Background(), method, path, body, out); err != nil {
		t.Fatal(err)
	}
}

// Namespace makes a namespace of the test's own in tenant public and returns
// its name. It is removed, topics included, when the test ends.
func (b *Broker) Namespace(t testing.TB) string {
	t.Helper()
	return b.NamespaceOf(t, 4)
}

// NamespaceOf is Namespace with a number of bundles: topics of one bundle are
// owned, and may be loaded, together.
func (b *Broker) NamespaceOf(t testing.TB, bundles int) string {
	t.Helper()
	boundaries := make([]string, bundles+1)
	for i := range boundaries {
		boundaries[i] = fmt.Sprintf("0x%08x", min(int64(i)*(1<<32)/int64(bundles), 1<<32-1))
	}
	ns := fmt.Sprintf("t%x", time.Now().UnixNano())
	b.must(t, http.MethodPut, "namespaces/public/"+ns,
		map[string]any{"bundles": map[string]any{"numBundles": bundles, "boundaries": boundaries}}, nil)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = b.Call(ctx, http.MethodDelete, "namespaces/public/"+ns+"?force=true", nil, nil)
	})
	return ns
}

// Topic makes an empty topic in a namespace of the test's own and returns its
// full name.
func (b *Broker) Topic(t testing.TB, name string) string {
	t.Helper()
	topic := "persistent://public/" + b.Namespace(t) + "/" + name
	b.CreateTopic(t, topic)
	return topic
}

func topicPath(topic string) string { return strings.Replace(topic, "://", "/", 1) }

// CreateTopic makes an empty topic.
func (b *Broker) CreateTopic(t testing.TB, topic string) {
	t.Helper()
	b.must(t, http.MethodPut, topicPath(topic), nil, nil)
}

// DeleteTopic deletes a topic that nobody has open, with all it holds.
func (b *Broker) DeleteTopic(t testing.TB, topic string) {
	t.Helper()
	b.must(t, http.MethodDelete, topicPath(topic)+"?force=true", nil, nil)
}

// SetRetention sets the namespace's retention; −1 is for ever.
func (b *Broker) SetRetention(t testing.TB, namespace string, minutes, megabytes int) {
	t.Helper()
	b.must(t, http.MethodPost, "namespaces/public/"+namespace+"/retention",
		map[string]int{"retentionTimeInMinutes": minutes, "retentionSizeInMB": megabytes}, nil)
}

// Unload makes the broker drop the topic from memory and close its ledger; the
// next touch loads it and opens a new one.
func (b *Broker) Unload(t testing.TB, topic string) {
	t.Helper()
	b.must(t, http.MethodPut, topicPath(topic)+"/unload", nil, nil)
}

// RollLedger closes the topic's ledger, so that the next message opens a new one.
func (b *Broker) RollLedger(t testing.TB, topic string) {
	t.Helper()
	b.Unload(t, topic)
	var stats map[string]any
	b.must(t, http.MethodGet, topicPath(topic)+"/stats", nil, &stats)
}

// Truncate makes the broker delete every ledger of the topic but the one it writes to,
// whatever retention says, and waits until they are gone.
func (b *Broker) Truncate(t testing.TB, topic string) {
	t.Helper()
	b.must(t, http.MethodDelete, topicPath(topic)+"/truncate", nil, nil)
	for range 100 {
		if ledgers, _ := b.InternalStats(t, topic)["ledgers"].([]any); len(ledgers) <= 1 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("truncate %s: its ledgers are still there", topic)
}

// InternalInfo returns a topic's managed-ledger metadata without loading it.
func (b *Broker) InternalInfo(t testing.TB, topic string) map[string]any {
	t.Helper()
	var out map[string]any
	b.must(t, http.MethodGet, topicPath(topic)+"/internal-info", nil, &out)
	return out
}

// InternalStats returns a topic's ledgers and cursors. It loads the topic.
func (b *Broker) InternalStats(t testing.TB, topic string) map[string]any {
	t.Helper()
	var out map[string]any
	b.must(t, http.MethodGet, topicPath(topic)+"/internalStats", nil, &out)
	return out
}

// Stats returns a topic's publishers and subscriptions. It loads the topic.
func (b *Broker) Stats(t testing.TB, topic string) map[string]any {
	t.Helper()
	var out map[string]any
	b.must(t, http.MethodGet, topicPath(topic)+"/stats", nil, &out)
	return out
}

// Topics lists a namespace's topics.
func (b *Broker) Topics(t testing.TB, namespace string) []string {
	t.Helper()
	var out []string
	b.must(t, http.MethodGet, "persistent/public/"+namespace, nil, &out)
	return out
}

// Subscribe makes a durable subscription at the topic's end, as Milvus keeps
// one named backlog-clear.
func (b *Broker) Subscribe(t testing.TB, topic, name string) {
	t.Helper()
	b.must(t, http.MethodPut, topicPath(topic)+"/subscription/"+name, nil, nil)
	b.must(t, http.MethodPost, topicPath(topic)+"/subscription/"+name+"/skip_all", nil, nil)
}
