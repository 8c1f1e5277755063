// Package testenv gives tests the real services walctl works against: a Pulsar
// standalone, a Kafka broker and an etcd, on free loopback ports, gone when the test process is.
//
//	WALCTL_TEST_PULSAR_URL        a broker that runs already (pulsar://host:port)
//	WALCTL_TEST_PULSAR_ADMIN_URL  its admin port (http://host:port)
//	WALCTL_TEST_KAFKA             a Kafka that runs already (host:port)
//	WALCTL_TEST_ETCD              an etcd that runs already (host:port,…)
//	WALCTL_TEST_SERVICES=1        a service that can't be had fails the test
//	                              instead of skipping it
//	-short                        no service is started
//	WALCTL_TEST_CACHE             where scripts/fetch-pulsar and scripts/fetch-kafka keep theirs
//
// One broker serves a test process; `go run ./internal/testenv/run COMMAND` starts
// one for a whole run over all packages and hands it down in the environment.
// It is the only package that may write to a topic, and only tests import it.
package testenv

import (
	"errors"
	"os"
	"testing"
)

// short skips a test that would start a service in a short run.
func short(t testing.TB, service string) {
	t.Helper()
	if testing.Short() && os.Getenv("WALCTL_TEST_SERVICES") == "" {
		Missing(t, service, errors.New("a short run starts none"))
	}
}

// Missing skips the test aloud, or fails it where services are demanded.
func Missing(t testing.TB, service string, err error) {
	t.Helper()
	if os.Getenv("WALCTL_TEST_SERVICES") != "" {
		t.Fatalf("%s is demanded by WALCTL_TEST_SERVICES but can't be had: %v", service, err)
	}
	t.Skipf("SKIPPED: no %s (%v); what this test proves is not proven by this run", service, err)
}
