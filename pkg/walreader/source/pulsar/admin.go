package pulsar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// adminTimeout bounds one admin call.
const adminTimeout = 10 * time.Second

// maxAdminAnswer caps what is read of one admin answer, in bytes.
const maxAdminAnswer = 64 << 20

// errAdminClosed: the admin port did not answer, or not to us.
var errAdminClosed = errors.New("the admin port gives no answer")

// statusError is an admin answer that is no success.
type statusError struct {
	Call   string
	Code   int
	Reason string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s: HTTP %d %s", e.Call, e.Code, e.Reason)
}

// startingUp reports whether a broker that was killed answers so until it is
// whole again: one that owns nothing yet says that its preconditions fail.
func (e *statusError) startingUp() bool {
	return e.Code >= http.StatusInternalServerError || e.Code == http.StatusPreconditionFailed
}

// Unwrap makes answers that only say "not to you" equal to a closed port.
func (e *statusError) Unwrap() error {
	if e.Code == http.StatusUnauthorized || e.Code == http.StatusForbidden {
		return errAdminClosed
	}
	return nil
}

// admin is the few calls of Pulsar's admin HTTP interface walctl makes: none
// changes anything. Those marked "loads" make the broker load the topic.
type admin struct {
	base string
	cfg  Config
	http *http.Client
	// waits is told while an answer is waited for; nil = nobody.
	waits *waits
}

func newAdmin(cfg Config) (*admin, error) {
	tlsConfig, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	return &admin{base: cfg.AdminURL, cfg: cfg, http: &http.Client{Timeout: cfg.contactStep(), CheckRedirect: redirect,
		Transport: &http.Transport{TLSClientConfig: tlsConfig, MaxIdleConnsPerHost: 2}}}, nil
}

// redirect follows a broker to the one that owns the topic, token in hand: Go
// would leave it behind at another host.
func redirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 5 {
		return errors.New("brokers send the call round in circles")
	}
	if token := via[0].Header.Get("Authorization"); token != "" && (req.URL.Scheme == "https" || via[0].URL.Scheme == "http") {
		req.Header.Set("Authorization", token)
	}
	return nil
}

func (a *admin) close() { a.http.CloseIdleConnections() }

// get decodes one answer. An empty answer (no policy set) leaves out as it is.
func (a *admin) get(ctx context.Context, path string, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+"/admin/v2/"+path, nil)
	if err != nil {
		return fmt.Errorf("admin URL %q: %w", a.base, err)
	}
	token, err := a.cfg.token()
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	text, code, err := a.do(req)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if r := a.secureInstead(ctx, err); r != nil {
			return fmt.Errorf("%w: %w", errAdminClosed, r)
		}
		return fmt.Errorf("%w: %w", errAdminClosed, a.cfg.reach(a.cfg.adminHost(), err))
	}
	if code/100 != 2 {
		e := &statusError{Call: "GET " + a.base + "/admin/v2/" + path, Code: code, Reason: reason(text)}
		// A broker says why, except where its own code fails or a proxy guards it.
		if code/100 == 4 && e.Reason == "" && code != http.StatusUnauthorized && code != http.StatusForbidden {
			if r := a.secureInstead(ctx, nil); r != nil {
				return fmt.Errorf("%w: %w", errAdminClosed, r)
			}
			return fmt.Errorf("%w: %w", errAdminClosed, &ReachError{Addr: a.cfg.adminHost(), Trouble: TroubleWrongService,
				Words: a.cfg.adminHost() + " speaks HTTP and is no broker's admin port", Help: "give the admin port's URL: --pulsar-admin http://HOST:8080"})
		}
		return e
	}
	if len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return &ReachError{Addr: a.cfg.adminHost(), Trouble: TroubleWrongService, foreign: err,
			Words: fmt.Sprintf("GET %s/admin/v2/%s: not the JSON a broker answers", a.base, path),
			Help:  "give the admin port's URL: --pulsar-admin http://HOST:8080"}
	}
	return nil
}

// secureInstead finds out whether a port that took plain HTTP badly speaks TLS;
// nil where it does not.
func (a *admin) secureInstead(ctx context.Context, err error) error {
	host := a.cfg.adminHost()
	if err != nil {
		switch trouble, _ := describe(host, err); trouble {
		case TroubleClosed, TroubleReset, TroubleWrongService:
		default:
			return nil
		}
	}
	if !strings.HasPrefix(a.base, "http://") || !a.cfg.speaksTLS(ctx, host) {
		return nil
	}
	return &ReachError{Addr: host, Trouble: TroubleTLS, Words: host + " speaks TLS", Help: "write https:// before it", foreign: err}
}

// do sends a request and reads the answer. Its errors are the library's.
func (a *admin) do(req *http.Request) (text []byte, code int, err error) {
	if a.waits != nil {
		defer a.waits.begin(a.cfg.adminHost())()
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err = io.ReadAll(io.LimitReader(resp.Body, maxAdminAnswer))
	return text, resp.StatusCode, err
}

// maxReason caps what is shown of a broker's words, in bytes.
const maxReason = 300

// reason picks the broker's own words out of an error answer: one line, of a failure
// in its own code the message without the names of Java classes and the stack.
func reason(text []byte) string {
	var r struct{ Reason string }
	if json.Unmarshal(text, &r) != nil {
		return ""
	}
	said := strings.TrimSpace(r.Reason)
	if _, message, ok := strings.Cut(said, "\nMessage: "); ok {
		said = message
	}
	said, _, _ = strings.Cut(said, "\n")
	if i := strings.LastIndex(said, "Exception: "); i >= 0 {
		said = said[i+len("Exception: "):]
	}
	if len(said) > maxReason {
		said = strings.ToValidUTF8(said[:maxReason], "") + "…"
	}
	return strings.TrimSpace(said)
}

// namespacePath and topicPath are escaped: a hostile name can't leave its place.
func (a *admin) namespacePath() string {
	return url.PathEscape(a.cfg.Tenant) + "/" + url.PathEscape(a.cfg.Namespace)
}

func (a *admin) topicPath() string {
	return "persistent/" + a.namespacePath() + "/" + url.PathEscape(a.cfg.Topic)
}

// policyPath is where policies are asked for: a part of a partitioned topic has none.
func (a *admin) policyPath() string {
	return "persistent/" + a.namespacePath() + "/" + url.PathEscape(Unpartitioned(a.cfg.Topic))
}

// ledger is one ledger of a topic as its metadata has it. Entries and Size of
// the last, open one are 0 there.
type ledger struct {
	ID        int64 `json:"ledgerId"`
	Entries   int64 `json:"entries"`
	Size      int64 `json:"size"`
	Timestamp int64 `json:"timestamp"` // Unix ms it was closed, of the open one created
	Offloaded bool  `json:"isOffloaded"`
}

// internalInfo is a topic's managed-ledger metadata: read from the metadata
// store, the topic is not loaded.
type internalInfo struct {
	Ledgers []ledger `json:"ledgers"`

	Partitions partitions `json:"partitions"` // of a partitioned topic, which has nothing else
}

func (a *admin) internalInfo(ctx context.Context) (internalInfo, error) {
	var out internalInfo
	err := a.get(ctx, a.topicPath()+"/internal-info", &out)
	return out, err
}

// retention is a policy: −1 is for ever, 0 keeps nothing that is consumed.
type retention struct {
	Minutes   int64 `json:"retentionTimeInMinutes"`
	Megabytes int64 `json:"retentionSizeInMB"`
}

// appliedRetention is what really holds for the topic; the namespace's own
// answer is empty where the broker's default applies.
func (a *admin) appliedRetention(ctx context.Context) (*retention, error) {
	var out *retention
	err := a.get(ctx, a.policyPath()+"/retention?applied=true", &out)
	return out, err
}

// settlePolicies has the namespace's policy topic owned by a broker before
// anything makes one look for it: asked for this way, its bundle's topics are
// not loaded. What it answers does not matter.
func (a *admin) settlePolicies(ctx context.Context) error {
	var out json.RawMessage
	return a.get(ctx, "persistent/"+a.namespacePath()+"/__change_events/retention?applied=true", &out)
}

// topicRetention is the policy of the topic itself, nil where it has none.
func (a *admin) topicRetention(ctx context.Context) (*retention, error) {
	var out *retention
	err := a.get(ctx, a.policyPath()+"/retention", &out)
	return out, err
}

// namespaceRetention is the policy of the namespace, nil where the broker's
// default applies.
func (a *admin) namespaceRetention(ctx context.Context) (*retention, error) {
	var out *retention
	err := a.get(ctx, "namespaces/"+a.namespacePath()+"/retention", &out)
	return out, err
}

// appliedTTL is the message TTL in seconds, 0 = none.
func (a *admin) appliedTTL(ctx context.Context) (int64, error) {
	var out int64
	err := a.get(ctx, a.policyPath()+"/messageTTL?applied=true", &out)
	return out, err
}

// loaded reports whether the broker asked has the topic in memory by its own
// statistics, which are up to a minute old: false says nothing.
func (a *admin) loaded(ctx context.Context) bool {
	var out map[string]map[string]map[string]map[string]json.RawMessage
	if a.get(ctx, "broker-stats/topics", &out) != nil {
		return false
	}
	for _, bundle := range out[a.cfg.Tenant+"/"+a.cfg.Namespace] {
		if _, ok := bundle["persistent"][a.cfg.name()]; ok {
			return true
		}
	}
	return false
}

// topics lists the namespace's topics, from the metadata store.
func (a *admin) topics(ctx context.Context) ([]string, error) {
	var out []string
	err := a.get(ctx, "persistent/"+a.namespacePath(), &out)
	return out, err
}

// position is a place in a topic as the admin interface spells it.
type position struct {
	Ledger int64 `json:"ledgerId"`
	Entry  int64 `json:"entryId"`
	Batch  int32 `json:"batchIndex"`
}

// last is the position as an id; zero where the topic is empty.
func (p position) last() message.ID {
	if p.Entry < 0 {
		return message.ID{}
	}
	return message.ID{Backend: message.BackendPulsar, A: p.Ledger, B: p.Entry, Batch: max(p.Batch, 0)}
}

// lastMessage is the topic's last message; entry −1 where there is none. It loads.
func (a *admin) lastMessage(ctx context.Context) (position, error) {
	var out position
	err := a.get(ctx, a.topicPath()+"/lastMessageId", &out)
	return out, err
}

// messageAt is the first message published at or after a time. It loads.
func (a *admin) messageAt(ctx context.Context, t time.Time) (position, error) {
	var out position
	err := a.get(ctx, a.topicPath()+"/messageid/"+strconv.FormatInt(t.UnixMilli(), 10), &out)
	return out, err
}

// internalStats is the loaded topic's ledgers and cursors. It loads.
type internalStats struct {
	Ledgers          []ledger `json:"ledgers"`
	CurrentEntries   int64    `json:"currentLedgerEntries"`
	CurrentSize      int64    `json:"currentLedgerSize"`
	LastConfirmed    string   `json:"lastConfirmedEntry"`
	CreatedTimestamp string   `json:"lastLedgerCreatedTimestamp"`
	Cursors          map[string]struct {
		MarkDelete string `json:"markDeletePosition"`
		Read       string `json:"readPosition"`
	} `json:"cursors"`
}

func (a *admin) internalStats(ctx context.Context) (internalStats, error) {
	var out internalStats
	err := a.get(ctx, a.topicPath()+"/internalStats", &out)
	if n := len(out.Ledgers); err == nil && n > 0 { // the open ledger is counted apart
		out.Ledgers[n-1].Entries, out.Ledgers[n-1].Size = out.CurrentEntries, out.CurrentSize
	}
	return out, err
}

// parsePosition reads "ledger:entry".
func parsePosition(s string) (position, bool) {
	l, e, ok := strings.Cut(s, ":")
	ledger, err1 := strconv.ParseInt(l, 10, 64)
	entry, err2 := strconv.ParseInt(e, 10, 64)
	return position{Ledger: ledger, Entry: entry}, ok && err1 == nil && err2 == nil
}

// ListTopics returns the persistent topics of the configured namespace, by full
// name. It loads none of them. Topic of the configuration may be empty.
func ListTopics(ctx context.Context, cfg Config) ([]string, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	a, err := newAdmin(cfg)
	if err != nil {
		return nil, err
	}
	defer a.close()
	names, err := a.topics(ctx)
	var status *statusError
	switch denied := cfg.denied(err); {
	case denied != nil:
		return nil, fmt.Errorf("list the topics of %s/%s: %w", cfg.Tenant, cfg.Namespace, denied)
	case errors.As(err, &status) && status.Code == http.StatusNotFound:
		return nil, fmt.Errorf("list the topics of %s/%s: %w", cfg.Tenant, cfg.Namespace, source.ErrNotFound)
	case errors.Is(err, errAdminClosed):
		return nil, fmt.Errorf("list the topics of %s/%s: %w: %w; give the admin URL, or name the topic",
			cfg.Tenant, cfg.Namespace, source.ErrUnavailable, err)
	case err != nil:
		return nil, fmt.Errorf("list the topics of %s/%s: %w", cfg.Tenant, cfg.Namespace, err)
	}
	return names, nil
}
