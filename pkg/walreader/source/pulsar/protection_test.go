package pulsar

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// What is expired, and when the oldest ledger is lost, by retention.
func TestLedgersPastRetention(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	ago := func(d time.Duration) int64 { return now.Add(-d).UnixMilli() }
	info := internalInfo{Ledgers: []ledger{
		{ID: 1, Entries: 10, Size: 30 << 20, Timestamp: ago(48 * time.Hour)},
		{ID: 2, Entries: 10, Size: 20 << 20, Timestamp: ago(3 * time.Hour)},
		{ID: 4, Timestamp: now.UnixMilli()}, // open: the broker answers the present
	}}
	for name, c := range map[string]struct {
		time    time.Duration
		bytes   int64
		expired int
		lostAt  time.Time
	}{
		"for ever":                  {-1, -1, 0, time.Time{}},
		"longer than all":           {72 * time.Hour, -1, 0, now.Add(24 * time.Hour)},
		"the oldest is past it":     {36 * time.Hour, -1, 1, now.Add(-12 * time.Hour)},
		"short: the last one too":   {time.Minute, -1, 3, now.Add(-48*time.Hour + time.Minute)},
		"nothing is kept":           {0, 0, 3, now.Add(-48 * time.Hour)},
		"size, oldest over it":      {-1, 20 << 20, 1, now},
		"size, all within":          {-1, 50 << 20, 0, time.Time{}},
		"size zero, last untouched": {-1, 0, 2, now},
	} {
		p := Protection{RetentionKnown: true, Retention: c.time, RetentionBytes: c.bytes}
		p.ledgers(info, now)
		if p.Expired != c.expired || !p.LostAt.Equal(c.lostAt) || p.OldestLedger != 1 || p.Ledgers != 3 {
			t.Errorf("%s: %d expired, lost at %s; want %d, %s", name, p.Expired, p.LostAt, c.expired, c.lostAt)
		}
	}
	p := Protection{}
	p.ledgers(info, now)
	if p.Expired != 0 || !p.LostAt.IsZero() {
		t.Errorf("unknown retention gives %d expired, lost at %s", p.Expired, p.LostAt)
	}
}

// An admin port that says no counts as closed; one that says nonsense is an
// error; the token goes along to the broker that owns the topic.
func TestAdminAnswers(t *testing.T) {
	var seen []string
	owner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		_, _ = w.Write([]byte(`{"retentionTimeInMinutes":5,"retentionSizeInMB":-1}`))
	}))
	defer owner.Close()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "/moved/"):
			http.Redirect(w, r, owner.URL+r.URL.Path, http.StatusTemporaryRedirect)
		case strings.Contains(r.URL.Path, "/forbidden/"):
			http.Error(w, `{"reason":"not you"}`, http.StatusForbidden)
		default:
			_, _ = w.Write([]byte("<html>"))
		}
	}))
	defer front.Close()
	ask := func(topic string) (*retention, error) {
		cfg, err := Config{ServiceURL: "pulsar://h:6650", AdminURL: front.URL, Topic: topic, Token: "secret"}.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		a, err := newAdmin(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer a.close()
		return a.appliedRetention(context.Background())
	}
	if r, err := ask("moved"); err != nil || r == nil || r.Minutes != 5 || len(seen) != 1 || seen[0] != "Bearer secret" {
		t.Errorf("redirected: %+v, %v, authorization %q", r, err, seen)
	}
	if _, err := ask("forbidden"); !errors.Is(err, errAdminClosed) || !strings.Contains(err.Error(), "not you") {
		t.Errorf("forbidden: %v", err)
	}
	if _, err := ask("nonsense"); err == nil || errors.Is(err, errAdminClosed) {
		t.Errorf("nonsense: %v", err)
	}
	if _, err := Open(context.Background(), Config{ServiceURL: "pulsar://h:6650", AdminURL: front.URL, Topic: "forbidden"}); !errors.Is(err, source.ErrRefused) {
		t.Errorf("open where admin is forbidden: %v, want a refusal", err)
	}
}
