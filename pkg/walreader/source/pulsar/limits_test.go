package pulsar_test

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/pulsar"
)

func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Large messages after many small ones, and a caller that takes its time: what
// is held ahead stays within the bound, and nothing of the log is lost.
func TestMemoryIsBounded(t *testing.T) {
	b := testenv.Pulsar(t)
	topic := b.Topic(t, "large")
	const small, large, size = 3000, 200, 1 << 20
	b.Publish(t, topic, numbered(small, 100), 0)
	b.Publish(t, topic, numbered(large, size), 0)
	cfg := config(b, topic)
	cfg.Memory = 16 << 20
	rd, err := open(t, cfg).Open(t.Context(), source.Range{Props: true, Payload: source.PayloadAll})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rd.Close() }()
	before, peak := liveHeap(), int64(0)
	for i := range small + large {
		m, err := rd.Next(t.Context())
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		n := int(m.Payload[len(m.Payload)-1]) | int(m.Payload[len(m.Payload)-2])<<8
		if want := i % small; n != want {
			t.Fatalf("record %d carries number %d, want %d", i, n, want)
		}
		if i == 0 || i > small && i%40 == 0 {
			time.Sleep(300 * time.Millisecond)
			peak = max(peak, liveHeap()-before)
		}
	}
	t.Logf("%d MiB of messages, %d MiB held at most", large*size>>20, peak>>20)
	if peak > 4*cfg.Memory {
		t.Errorf("%d MiB held ahead, the bound is %d MiB", peak>>20, cfg.Memory>>20)
	}
}

// The rate holds back a read, and a read without one is not held back.
func TestRate(t *testing.T) {
	b := testenv.Pulsar(t)
	topic := b.Topic(t, "paced")
	b.Publish(t, topic, numbered(40, 500_000), 0)
	read := func(bytes int64) time.Duration {
		cfg := config(b, topic)
		cfg.RateBytes = bytes
		rd, err := open(t, cfg).Open(t.Context(), source.Range{Payload: source.PayloadAll})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rd.Close() }()
		from := time.Now()
		for range 40 {
			if _, err := rd.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return time.Since(from)
	}
	paced, free := read(4<<20), read(0)
	t.Logf("20 MB at 4 MiB/s in %s, without a limit in %s", paced, free)
	if paced < free {
		t.Errorf("a read held to 4 MiB/s was faster (%s) than one without a limit (%s)", paced, free)
	}
}

// A token never shows in an error, and a file that is missing is named.
func TestTokenIsNotShown(t *testing.T) {
	secret := "eyJhbGciOi.secret.token"
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := pulsar.Config{ServiceURL: "pulsar://127.0.0.1:1", AdminURL: "http://127.0.0.1:1", Topic: "t", TokenFile: file, TopicExists: true, Touch: true}
	s := open(t, cfg)
	_, err := s.Open(t.Context(), source.Range{})
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("open with a token: %v", err)
	}
	cfg.TokenFile = file + "-not"
	if _, err := pulsar.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), url.PathEscape("token-not")) {
		t.Errorf("a token file that is missing: %v", err)
	}
}

// A broker that is slow is asked again; configurations that can't be right are told.
func TestConfigurationErrors(t *testing.T) {
	for name, cfg := range map[string]pulsar.Config{
		"no URL":         {Topic: "t"},
		"wrong scheme":   {ServiceURL: "http://h:8080", Topic: "t"},
		"no topic":       {ServiceURL: "pulsar://h:6650"},
		"half a topic":   {ServiceURL: "pulsar://h:6650", Topic: "persistent://public/t"},
		"half a keypair": {ServiceURL: "pulsar+ssl://h:6651", Topic: "t", TLSCert: "cert.pem"},
		"no authorities": {ServiceURL: "pulsar+ssl://h:6651", Topic: "t", TLSTrustCerts: "/nowhere.pem"},
	} {
		if _, err := pulsar.Open(t.Context(), cfg); err == nil || errors.Is(err, source.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
