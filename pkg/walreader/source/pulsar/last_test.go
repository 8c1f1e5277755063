package pulsar

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// A broker that was read from and starts again is waited for while its last
// message is asked for; one that was never read from is told of at once.
func TestLastMessageWaitsForABrokerThatRestarts(t *testing.T) {
	for name, c := range map[string]struct {
		answer    int
		connected bool
		asked     int
	}{
		"read from before":            {http.StatusServiceUnavailable, true, 3},
		"read from, owns nothing yet": {http.StatusPreconditionFailed, true, 3},
		"never read from":             {http.StatusServiceUnavailable, false, 1},
	} {
		asked := 0
		admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if asked++; asked < 3 {
				http.Error(w, `{"reason":"not ready"}`, c.answer)
				return
			}
			_, _ = fmt.Fprint(w, `{"ledgerId":7,"entryId":9,"batchIndex":-1}`)
		}))
		s := ofAdmin(t, admin.URL)
		s.connected.Store(c.connected)
		id, err := s.lastID(t.Context())
		admin.Close()
		if asked != c.asked || (err == nil) != c.connected || err == nil && id.String() != "7/9/0" {
			t.Errorf("%s: %v, %v after %d calls, want %d", name, id, err, asked, c.asked)
		}
	}
}

// A port that closed since first contact is waited for, and the wait obeys its context.
func TestLastMessageWaitsForAPortThatClosed(t *testing.T) {
	admin := httptest.NewServer(http.NotFoundHandler())
	s := ofAdmin(t, admin.URL)
	admin.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*retryEvery)
	defer cancel()
	if _, err := s.lastID(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the wait to go on until its context ends", err)
	}
	s.cfg.Patience = time.Nanosecond
	if _, err := s.lastID(t.Context()); !errors.Is(err, source.ErrUnavailable) {
		t.Errorf("%v, want the broker to be unavailable after patience", err)
	}
}

func ofAdmin(t *testing.T, url string) *Source {
	t.Helper()
	cfg, err := Config{ServiceURL: "pulsar://127.0.0.1:1", AdminURL: url, Topic: "dml_0"}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	a, err := newAdmin(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &Source{cfg: cfg, admin: a, open: true, waits: &waits{}}
}
