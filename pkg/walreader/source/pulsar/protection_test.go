package pulsar

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
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
		p := protection{Protection: source.Protection{RetentionKnown: true, Retention: c.time, RetentionBytes: c.bytes}}
		p.ledgers(info, now, false)
		if p.Expired != c.expired || !p.LostAt.Equal(c.lostAt) || p.OldestLedger != 1 || p.Ledgers != 3 {
			t.Errorf("%s: %d expired, lost at %s; want %d, %s", name, p.Expired, p.LostAt, c.expired, c.lostAt)
		}
	}
	p := protection{}
	p.ledgers(info, now, false)
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

// First contact asks in an order that loads nothing (docs/safety.md#first-contact):
// the policy topic's retention has its bundle taken over, then the topic's own,
// and internal-info comes when both are owned. Nothing that loads is asked for
// before the guard has decided.
func TestFirstContactAsksInOrder(t *testing.T) {
	for name, retention := range map[string]string{
		"refused":         `{"retentionTimeInMinutes":1,"retentionSizeInMB":-1}`,
		"let through":     `{"retentionTimeInMinutes":-1,"retentionSizeInMB":-1}`,
		"policy unknown":  "",
		"unknown, and ok": "",
	} {
		var asked []string
		broker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			path := strings.TrimPrefix(r.URL.RequestURI(), "/admin/v2/")
			asked = append(asked, path)
			switch {
			case strings.HasSuffix(path, "/internal-info"):
				_, _ = w.Write([]byte(`{"ledgers":[{"ledgerId":1,"entries":3,"size":30,"timestamp":1000}]}`))
			case strings.Contains(path, "/dml_0/retention?applied=true"):
				_, _ = w.Write([]byte(retention))
			}
		}))
		s, err := Open(context.Background(), Config{ServiceURL: "pulsar://h:6650", AdminURL: broker.URL, Topic: "dml_0", Touch: name == "unknown, and ok"})
		broker.Close()
		through := name == "let through" || name == "unknown, and ok"
		if through != (err == nil) || !through && !errors.Is(err, source.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
		if s != nil {
			_ = s.Close()
		}
		want := []string{"persistent/public/default/__change_events/retention?applied=true",
			"persistent/public/default/dml_0/retention?applied=true", "persistent/public/default/dml_0/internal-info"}
		if len(asked) < len(want) || !slices.Equal(asked[:len(want)], want) {
			t.Errorf("%s: asked\n%s\nwant first\n%s", name, strings.Join(asked, "\n"), strings.Join(want, "\n"))
		}
		for _, path := range asked {
			for _, loads := range []string{"stats", "internalStats", "lastMessageId", "messageid"} {
				if strings.HasSuffix(path, "/"+loads) {
					t.Errorf("%s: first contact loads the topic: %s", name, path)
				}
			}
		}
	}
}
