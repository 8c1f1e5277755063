package pulsar

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// loadGrace is how short a retention may be before first contact refuses for the
// last ledger's sake: loading closes that ledger and starts its time.
const loadGrace = 24 * time.Hour

// Known says whether something was found out, and which way.
type Known uint8

// Unknown is the zero value: not asked, or no answer.
const (
	Unknown Known = iota
	Yes
	No
)

// protection is source.Protection and what it was made of.
type protection struct {
	source.Protection
	metadata internalInfo
}

// RefusedError is first contact's refusal: going on would load the topic, and
// the broker would delete ledgers it has outlived. It wraps source.ErrRefused.
type RefusedError struct {
	Topic    string
	Why      string
	WAL      string // the topic as a WAL argument of walctl
	Raise    string // the command that makes the topic safe to look at
	TakeBack string // the command that undoes Raise, and has the broker delete what Raise kept
	Accept   string // what says that the loss is accepted: "--touch"
}

// Error implements error.
func (e *RefusedError) Error() string {
	s := fmt.Sprintf("read %s: %s: %s", e.Topic, source.ErrRefused, e.Why)
	if e.Raise != "" {
		s += "\n  first:  " + e.Raise + "\n  then:   walctl capture " + e.WAL + " --dir ./evidence" + "\n          walctl verify ./evidence" +
			"\n  only after the capture is verified, because the broker then deletes this log:\n          " + e.TakeBack
	}
	return s + "\n  or accept the loss with " + e.Accept
}

// Unwrap returns source.ErrRefused.
func (e *RefusedError) Unwrap() error { return source.ErrRefused }

// firstContact looks at metadata only and decides whether the topic may be
// loaded. It returns whether the admin port answers. docs/safety.md#first-contact
func (s *Source) firstContact(ctx context.Context) (adminOpen bool, err error) {
	p, exists, err := s.look(ctx)
	switch {
	case err != nil && !errors.Is(err, errAdminClosed):
		return false, err
	case exists == No:
		return false, fmt.Errorf("topic %s: %w", s.cfg.name(), source.ErrNotFound)
	case exists == Unknown && !(s.cfg.TopicExists && s.cfg.Touch):
		return false, s.unchecked(ctx, err)
	case exists == Unknown:
		return false, nil
	case !p.RetentionKnown && !s.cfg.Touch:
		return false, &RefusedError{Topic: s.cfg.name(), Accept: "--touch",
			Why: "its applied retention can't be read, so loading it may delete ledgers"}
	}
	s.seen = p
	switch {
	case p.Expired == 0:
		return true, nil
	case s.admin.loaded(ctx): // it trims by itself: looking changes nothing
		s.seen.load(p.metadata, time.Now())
		return true, nil
	case s.cfg.Touch:
		s.touched(ctx)
		return true, nil
	}
	return true, s.refusal(ctx, p)
}

// touched loads the topic and counts again: loading has closed the last ledger, if
// it held anything, and what is open now is not deleted by the next trim.
func (s *Source) touched(ctx context.Context) {
	if _, err := s.admin.internalStats(ctx); err != nil {
		return
	}
	if info, err := s.admin.internalInfo(ctx); err == nil {
		s.seen.load(info, time.Now())
	}
}

// unchecked is the answer where the admin port tells nothing of the topic.
func (s *Source) unchecked(ctx context.Context, err error) error {
	if denied := s.cfg.denied(err); denied != nil {
		return fmt.Errorf("read %s: %w", s.cfg.name(), denied)
	}
	// Where no broker lives there is nothing to touch. An admin port that says no is one.
	var silent *ReachError
	if errors.As(err, &silent) {
		dead := s.hello(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if dead == nil {
			return s.unknown(err)
		}
		return fmt.Errorf("read %s: %w: %w; admin port: %w", s.cfg.name(), source.ErrUnavailable, dead, whyClosed(err))
	}
	return s.unknown(err)
}

// unknown refuses where a broker lives and its admin port tells nothing.
func (s *Source) unknown(err error) error {
	help := "give --pulsar-admin"
	if forbidden(err) {
		help = "give the token of an administrator of tenant " + s.cfg.Tenant
	}
	return &RefusedError{Topic: s.cfg.name(), Accept: "--topic-exists --touch",
		Why: fmt.Sprintf("neither the topic's existence nor its retention can be checked (admin port: %v): "+
			"a reader would create a topic that is not there, and a loaded one may lose its expired ledgers; %s", whyClosed(err), help)}
}

// whyClosed is why the admin port gave no answer, without saying that it did not.
func whyClosed(err error) error {
	var r *ReachError
	var status *statusError
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &status):
		return status
	}
	return err
}

// refusal names the two commands. Retention is raised where it comes from: a
// policy of the topic itself overrides the namespace's, but reaches the broker
// late; one of the namespace holds at once.
func (s *Source) refusal(ctx context.Context, p protection) error {
	tool := "pulsar-admin --admin-url " + s.cfg.AdminURL + " "
	namespace := s.cfg.Tenant + "/" + s.cfg.Namespace
	policyName := "persistent://" + namespace + "/" + Unpartitioned(s.cfg.Topic)
	e := &RefusedError{Topic: s.cfg.name(), Accept: "--touch",
		WAL:      s.cfg.spelled(),
		Raise:    tool + "namespaces set-retention --time -1 --size -1 " + namespace,
		TakeBack: tool + "namespaces remove-retention " + namespace,
		Why: fmt.Sprintf("%d of %d ledgers are past their retention (%s), or will be soon after the topic is loaded; reading loads it, and the broker deletes them",
			p.Expired, p.Ledgers, p.retention())}
	if own, err := s.admin.topicRetention(ctx); err == nil && own != nil {
		e.Raise = tool + "topicPolicies set-retention --time -1 --size -1 " + policyName + "   # then wait a minute: it takes effect late"
		e.TakeBack = tool + "topicPolicies set-retention " + own.flags() + " " + policyName
	} else if of, err := s.admin.namespaceRetention(ctx); err == nil && of != nil {
		e.TakeBack = tool + "namespaces set-retention " + of.flags() + " " + namespace
	}
	return e
}

// spelled is the topic as a walctl command takes it, with the files it is reached
// with; a token that came another way comes that way again.
func (c Config) spelled() string {
	words := []string{strings.TrimRight(c.ServiceURL, "/") + "/" + c.Tenant + "/" + c.Namespace + "/" + c.Topic, "--pulsar-admin", c.AdminURL}
	for _, f := range [...]struct{ flag, value string }{
		{"--pulsar-token-file", c.TokenFile}, {"--pulsar-tls-ca", c.TLSTrustCerts},
		{"--pulsar-tls-cert", c.TLSCert}, {"--pulsar-tls-key", c.TLSKey},
	} {
		if f.value != "" {
			words = append(words, f.flag, "'"+strings.ReplaceAll(f.value, "'", `'\''`)+"'")
		}
	}
	return strings.Join(words, " ")
}

// flags spells a policy as pulsar-admin takes it.
func (r retention) flags() string {
	time, size := fmt.Sprintf("%dm", r.Minutes), fmt.Sprintf("%dM", r.Megabytes)
	if r.Minutes <= 0 {
		time = fmt.Sprint(r.Minutes)
	}
	if r.Megabytes <= 0 {
		size = fmt.Sprint(r.Megabytes)
	}
	return "--time " + time + " --size " + size
}

func (p protection) retention() string {
	size := "any size"
	if p.RetentionBytes >= 0 {
		size = fmt.Sprintf("%d MiB", p.RetentionBytes>>20)
	}
	if p.Retention < 0 {
		return size
	}
	return p.Retention.String() + ", " + size
}

// look reads the applied retention and internal-info, and nothing that would
// load the topic. exists is Unknown where the admin port does not tell.
//
// The order matters. internal-info alone makes a broker that owns nothing of
// the namespace look for its policy topic, take over that topic's bundle and
// load every topic in it. Asking for a retention takes a bundle over without
// loading: first the policy topic's, then the topic's own.
func (s *Source) look(ctx context.Context) (p protection, exists Known, err error) {
	p.OldestLedger, p.RetentionBytes = -1, -1
	if err := s.admin.settlePolicies(ctx); errors.Is(err, errAdminClosed) || ctx.Err() != nil {
		return p, Unknown, err
	}
	policy, policyErr := s.admin.appliedRetention(ctx)
	var status *statusError
	part := IsPartition(s.cfg.Topic)
	if errors.As(policyErr, &status) && status.Code == http.StatusNotFound && !part {
		return p, No, nil
	}
	info, err := s.admin.internalInfo(ctx)
	switch {
	case err == nil && len(info.Partitions) > 0:
		s.parts = len(info.Partitions)
		name, first, ok := info.Partitions.part(s.cfg.Topic)
		if !ok {
			return p, No, nil
		}
		s.cfg.Topic, s.admin.cfg.Topic, info = name, name, first
	case err == nil && part && s.parts == 0:
		if n, err := s.admin.partitionCount(ctx); err == nil {
			s.parts = n
		}
	}
	switch {
	case err != nil: // brokers answer 500 for a topic that is not there
		return p, Unknown, fmt.Errorf("%w: %w", errAdminClosed, err)
	case policyErr == nil && policy != nil:
		p.RetentionKnown = true
		p.Retention, p.RetentionBytes = time.Duration(policy.Minutes)*time.Minute, policy.Megabytes<<20
		if policy.Minutes < 0 {
			p.Retention = -1
		}
		if policy.Megabytes < 0 {
			p.RetentionBytes = -1
		}
	}
	p.ledgers(info, time.Now(), false)
	return p, Yes, nil
}

// ledgers fills in what a topic's metadata says at a moment. A ledger may go
// once its age or the size of what follows it exceeds retention. The last one
// is closed by loading: its time starts then. Where the topic is loaded the last
// is the open one, which no trim touches.
func (p *protection) ledgers(info internalInfo, now time.Time, loaded bool) {
	p.metadata, p.Ledgers = info, len(info.Ledgers)
	p.Bytes, p.Expired, p.LostAt, p.OldestLedger, p.OldestTime = 0, 0, time.Time{}, -1, time.Time{}
	for _, l := range info.Ledgers {
		p.Bytes += l.Size
	}
	behind := p.Bytes
	for i, l := range info.Ledgers {
		closed := time.UnixMilli(l.Timestamp)
		last := i == len(info.Ledgers)-1
		behind -= l.Size
		if i == 0 {
			p.OldestLedger = l.ID
			if l.Timestamp > 0 {
				p.OldestTime = closed
			}
			if p.RetentionKnown && p.Retention >= 0 && l.Timestamp > 0 && !(last && loaded) {
				p.LostAt = closed.Add(p.Retention)
			}
		}
		if !p.RetentionKnown {
			continue
		}
		old := p.Retention >= 0 && now.Sub(closed) > p.Retention
		if last { // its time is the present, whatever it holds
			old = p.Retention >= 0 && p.Retention < loadGrace && !loaded
		}
		big := p.RetentionBytes >= 0 && behind >= p.RetentionBytes && !last
		if old || big {
			p.Expired++
		}
		if big && (p.LostAt.IsZero() || p.LostAt.After(now)) {
			p.LostAt = now
		}
	}
}

// askProtection reports what keeps the log from being deleted. It asks the admin port again;
// where that is closed everything in it is unknown, with an error that wraps
// source.ErrUnavailable.
func (s *Source) askProtection(ctx context.Context) (protection, error) {
	p, _, err := s.look(ctx)
	if err != nil {
		return p, fmt.Errorf("protection of %s: %w: %w", s.cfg.name(), source.ErrUnavailable, err)
	}
	if ttl, err := s.admin.appliedTTL(ctx); err == nil {
		p.TTL = time.Duration(ttl) * time.Second
	}
	if s.admin.loaded(ctx) {
		p.load(p.metadata, time.Now())
	}
	return p, nil
}

// load counts as of a topic that is loaded.
func (p *protection) load(info internalInfo, now time.Time) {
	p.Loaded = true
	p.ledgers(info, now, true)
}

// LostAt implements source.ProtectedSource.
func (s *Source) LostAt(id message.ID, now time.Time) time.Time { return s.seen.lostAt(id, now) }

func (p protection) lostAt(id message.ID, now time.Time) time.Time {
	if !p.RetentionKnown {
		return time.Time{}
	}
	behind := p.Bytes
	for i, l := range p.metadata.Ledgers {
		behind -= l.Size
		if l.ID != id.A {
			continue
		}
		last := i == len(p.metadata.Ledgers)-1
		switch {
		case last && (p.Loaded || p.Expired == 0):
			return time.Time{} // it is open
		case last: // loading closes it: its time starts now
			return now.Add(max(p.Retention, 0))
		case p.RetentionBytes >= 0 && behind >= p.RetentionBytes:
			return now
		case p.Retention >= 0 && l.Timestamp > 0:
			return time.UnixMilli(l.Timestamp).Add(p.Retention)
		}
	}
	return time.Time{}
}
