package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/walctl/walctl/internal/render"
	"github.com/walctl/walctl/pkg/diagnose"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// Protection is what keeps a log from being deleted, for answers.
type Protection struct {
	CapturedAt       string `json:"captured_at,omitempty"` // of an archive: when this was so
	AdminOpen        bool   `json:"admin_open"`            // false: nothing else here is known
	RetentionKnown   bool   `json:"retention_known"`
	RetentionSeconds int64  `json:"retention_seconds"` // applied; −1 = for ever
	RetentionBytes   int64  `json:"retention_bytes"`   // applied; −1 = no limit
	TTLSeconds       int64  `json:"ttl_seconds"`       // 0 = none
	Ledgers          int    `json:"ledgers"`
	OldestLedger     int64  `json:"oldest_ledger"` // −1 = none, or not known
	OldestTime       string `json:"oldest_time,omitempty"`
	LostAt           string `json:"lost_at,omitempty"` // the oldest ledger may go from then on
	Expired          int    `json:"expired"`           // ledgers kept only because the topic is not loaded
}

// Line says for a person what keeps the log from being deleted, and until when.
func (p *Protection) Line(now time.Time) string {
	words := ""
	if p.CapturedAt != "" {
		words = "as of " + p.CapturedAt + ": "
	}
	if !p.AdminOpen {
		return words + "retention unknown (the admin port did not tell)"
	}
	words += p.retention()
	switch at, err := time.Parse(time.RFC3339, p.LostAt); {
	case p.Expired > 0:
		words += " · " + outlived(p.Expired)
	case err == nil && at.Before(now):
		words += " · oldest may be gone since " + render.HumanTime(at)
	case err == nil:
		words += " · oldest expires in " + render.HumanDuration(at.Sub(now))
	}
	return words
}

func outlived(ledgers int) string {
	if ledgers == 1 {
		return "1 ledger outlived it and goes when the broker next trims"
	}
	return fmt.Sprintf("%d ledgers outlived it and go when the broker next trims", ledgers)
}

// Soon judges whether what is still needed of a live log is about to be deleted:
// what lies after the catalog's checkpoint or, where none is known, its last record.
// wal is the log as it was named.
func (f *Factory) Soon(ctx context.Context, s source.Source, wal string, c CatalogFlags, last message.ID) []diagnose.Finding {
	live, ok := source.As[source.ProtectedSource](s)
	if !ok {
		return nil
	}
	p, now := live.Protection(), f.Now()
	if !p.Told || !p.Ends() {
		return nil
	}
	l := diagnose.Lifetime{PChannel: s.Describe().PChannel, WAL: wal, Position: last, Ledgers: p.Ledgers}
	if !p.Loaded { // a broker that has it in memory trims by itself, all the time
		l.Expired = p.Expired
	}
	if at, err := f.EnvWithCatalog(s, c).Checkpoint(ctx, ""); err == nil && at.ID.Backend == message.BackendPulsar {
		l.Position, l.Checkpoint = at.ID, true
	}
	l.At = live.LostAt(l.Position, now)
	return diagnose.PositionSoon(l, now)
}

// Started says what a start of the log's owner would make of its files, for a log
// read off a disk.
func (f *Factory) Started(ctx context.Context, s source.Source, wal string) ([]diagnose.Finding, error) {
	disk, ok := source.As[source.StartSource](s)
	if !ok {
		return nil, nil
	}
	at, err := disk.Start(ctx)
	if err != nil {
		return nil, fmt.Errorf("look what a start would make of %s: %w", s.Describe().Location, err)
	}
	return []diagnose.Finding{diagnose.StartFinding(at, s.Describe(), wal)}, nil
}

// ProtectionOf is what first contact saw of a live log, or what was captured
// with an archive; nil for any other.
func ProtectionOf(s source.Source) *Protection {
	if live, ok := source.As[source.ProtectedSource](s); ok {
		return NewProtection(live.Protection())
	}
	if t, err := CapturedTopic(s); err == nil {
		return t.Protection
	}
	return nil
}

// NewProtection spells what a broker said for answers.
func NewProtection(p source.Protection) *Protection {
	seconds := func(d time.Duration) int64 {
		if d < 0 {
			return -1
		}
		return int64(d.Seconds())
	}
	return &Protection{
		AdminOpen: p.Told, RetentionKnown: p.RetentionKnown,
		RetentionSeconds: seconds(p.Retention), RetentionBytes: p.RetentionBytes, TTLSeconds: seconds(p.TTL),
		Ledgers: p.Ledgers, OldestLedger: p.OldestLedger, OldestTime: render.RFC3339(p.OldestTime),
		LostAt: render.RFC3339(p.LostAt), Expired: p.Expired,
	}
}

// TopicEvidence is the evidence of a topic in an archive: topic.json and
// topic-stats.json.
type TopicEvidence struct {
	Schema     string                     `json:"schema"`
	Topic      string                     `json:"topic"`
	CapturedAt time.Time                  `json:"captured_at"`
	Protection *Protection                `json:"protection,omitempty"` // in topic.json
	Answers    map[string]json.RawMessage `json:"answers"`              // the broker's own, by call
	Errors     map[string]string          `json:"errors,omitempty"`     // of calls that brought no answer
}

// CapturedTopic reads what was captured of an archive's topic before it was read.
func CapturedTopic(s source.Source) (*TopicEvidence, error) {
	with, ok := source.As[source.EvidenceSource](s)
	if !ok {
		return nil, fmt.Errorf("evidence %s: %w", source.EvidenceTopic, source.ErrNotFound)
	}
	b, err := with.ReadEvidence(source.EvidenceTopic)
	if err != nil {
		return nil, err
	}
	t := new(TopicEvidence)
	if err := json.Unmarshal(b, t); err != nil {
		return nil, fmt.Errorf("evidence %s: %w", source.EvidenceTopic, err)
	}
	if t.Protection != nil {
		t.Protection.CapturedAt = render.RFC3339(t.CapturedAt)
	}
	return t, nil
}

// protected says what keeps a log from being deleted, before it is read; ""
// where nothing is known of that.
func protected(s source.Source, now time.Time) string {
	p := ProtectionOf(s)
	if p == nil {
		return ""
	}
	words := s.Describe().PChannel + ": "
	if p.CapturedAt != "" {
		words += "as of " + p.CapturedAt + ": "
	}
	return words + p.words(now)
}

func (p *Protection) words(now time.Time) string {
	if !p.AdminOpen {
		return "the admin port does not tell: retention and ledgers are not known"
	}
	parts := []string{p.retention()}
	if p.TTLSeconds > 0 {
		parts = append(parts, "TTL "+render.HumanDuration(time.Duration(p.TTLSeconds)*time.Second))
	}
	if p.OldestLedger >= 0 {
		parts = append(parts, fmt.Sprintf("oldest ledger %d", p.OldestLedger))
	}
	at, err := time.Parse(time.RFC3339, p.LostAt)
	switch {
	case p.Expired > 0:
		parts = append(parts, outlived(p.Expired))
	case err != nil:
	case at.Before(now):
		parts = append(parts, "it may be gone since "+render.HumanTime(at))
	default:
		parts = append(parts, "lost in "+render.HumanDuration(at.Sub(now)))
	}
	return strings.Join(parts, " · ")
}

func (p *Protection) retention() string {
	age := render.HumanDuration(time.Duration(p.RetentionSeconds) * time.Second)
	switch {
	case !p.RetentionKnown:
		return "retention unknown"
	case p.RetentionSeconds < 0 && p.RetentionBytes < 0:
		return "retention without end"
	case p.RetentionSeconds < 0:
		return "retention " + render.HumanBytes(p.RetentionBytes)
	case p.RetentionBytes < 0:
		return "retention " + age
	}
	return "retention " + age + ", " + render.HumanBytes(p.RetentionBytes)
}
