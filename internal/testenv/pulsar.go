package testenv

import (
	"context"
	"os"
	"sync"
	"testing"
)

// shared is the one broker of a test process.
var shared struct {
	sync.Mutex
	broker *Broker
	dir    string
	err    error
	tried  bool
}

// Main runs a package's tests and stops what they shared. A package that calls
// Pulsar has a TestMain that is one line: os.Exit(testenv.Main(m)).
func Main(m *testing.M) int {
	defer stopShared()
	defer stopKafka()
	return m.Run()
}

func stopShared() {
	shared.Lock()
	defer shared.Unlock()
	if shared.broker != nil {
		shared.broker.Kill()
	}
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
}

// Pulsar returns the broker all tests of a run share. Tests keep apart by
// namespace (Namespace); none may kill it.
func Pulsar(t testing.TB) *Broker {
	t.Helper()
	if b := existing(); b != nil {
		return b
	}
	short(t, "Pulsar broker")
	shared.Lock()
	defer shared.Unlock()
	if !shared.tried {
		shared.tried = true
		if shared.dir, shared.err = os.MkdirTemp("", "walctl-pulsar-"); shared.err == nil {
			shared.broker, shared.err = LaunchBroker(context.Background(), shared.dir, nil)
		}
	}
	if shared.err != nil {
		Missing(t, "Pulsar broker", shared.err)
	}
	return shared.broker
}

// PrivatePulsar starts a broker for one test, which may kill and restart it.
// conf overrides keys of standalone.conf.
func PrivatePulsar(t testing.TB, conf map[string]string) *Broker {
	t.Helper()
	short(t, "Pulsar broker")
	b, err := LaunchBroker(t.Context(), t.TempDir(), conf)
	if err != nil {
		Missing(t, "Pulsar broker", err)
	}
	t.Cleanup(b.Kill)
	return b
}

func existing() *Broker {
	url := os.Getenv("WALCTL_TEST_PULSAR_URL")
	if url == "" {
		return nil
	}
	return &Broker{URL: url, AdminURL: os.Getenv("WALCTL_TEST_PULSAR_ADMIN_URL")}
}

// Home is where the Pulsar distribution lies, with its own tools in bin.
func Home(t testing.TB) string {
	t.Helper()
	home, err := distribution()
	if err != nil {
		Missing(t, "Pulsar distribution", err)
	}
	return home
}
