package catalog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// etcd's own defaults, with room left for what the client adds.
const (
	etcdMaxOps   = 128
	etcdMaxBytes = 1 << 20
	etcdPage     = 2000 // keys a request

	// FirstAnswer bounds how long an etcd may take to answer at all.
	FirstAnswer = 5 * time.Second
)

type etcdCatalog struct {
	client *clientv3.Client
	root   string // with a slash at the end, or empty
	opts   Options
}

func openEtcd(ctx context.Context, s Spec, opts Options) (Catalog, error) {
	root := s.Root
	if root == "" {
		root = strings.Trim(opts.Root, "/")
	}
	if root == "" {
		root = DefaultRoot
	}
	cfg := clientv3.Config{
		Endpoints:   s.Endpoints,
		Username:    opts.Username,
		Password:    opts.Password,
		TLS:         opts.TLS,
		DialTimeout: min(opts.timeout(), FirstAnswer),
		Context:     context.WithoutCancel(ctx), // the client outlives the call that opened it
		Logger:      zap.NewNop(),
	}
	if cfg.TLS == nil && strings.HasPrefix(s.Endpoints[0], "https://") {
		cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	first, cancel := context.WithTimeout(ctx, min(opts.timeout(), FirstAnswer))
	defer cancel()
	if err := Reach(ctx, s.Endpoints, cfg.TLS, min(opts.timeout(), FirstAnswer-500*time.Millisecond)); err != nil {
		return nil, err
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, EtcdError(ctx, "log in to etcd at "+strings.Join(s.Endpoints, ","), err)
	}
	if opts.Limits.Ops == 0 {
		opts.Limits.Ops = etcdMaxOps
	}
	if opts.Limits.Bytes == 0 {
		opts.Limits.Bytes = etcdMaxBytes
	}
	c := &etcdCatalog{client: client, root: root + "/", opts: opts}
	if _, err := c.Identity(first); err != nil {
		c.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return c, nil
}

func (c *etcdCatalog) Limits() Limits { return c.opts.Limits }

func (c *etcdCatalog) Close() error {
	if err := c.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close etcd connection: %w", err)
	}
	return nil
}

func (c *etcdCatalog) Load(ctx context.Context, pchannel string) (Metadata, Revision, error) {
	return load(ctx, c, pchannel)
}

func (c *etcdCatalog) Identity(ctx context.Context) (Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.timeout())
	defer cancel()
	// The cheapest request that any credentials for the root allow.
	resp, err := c.client.Get(ctx, c.root+StreamingVersionKey, clientv3.WithKeysOnly())
	if err != nil {
		return Identity{}, c.failed(ctx, "ask etcd at "+strings.Join(c.client.Endpoints(), ",")+" who it is", err)
	}
	return Identity{
		Kind:      "etcd",
		ClusterID: strconv.FormatUint(resp.Header.ClusterId, 16),
		Root:      strings.TrimSuffix(c.root, "/"),
	}, nil
}

// Range pages through one revision. Where etcd compacted that revision in
// between, it begins again.
func (c *etcdCatalog) Range(ctx context.Context, prefix string) ([]KV, Revision, error) {
	for try := 0; ; try++ {
		kvs, rev, err := c.rangeOnce(ctx, prefix)
		if errors.Is(err, rpctypes.ErrCompacted) && try < 3 {
			continue
		}
		if err != nil {
			return nil, 0, c.failed(ctx, "read "+c.root+prefix+" from etcd", err)
		}
		return kvs, rev, nil
	}
}

func (c *etcdCatalog) rangeOnce(ctx context.Context, prefix string) ([]KV, Revision, error) {
	from, to := c.root+prefix, prefixEnd(c.root+prefix)
	var kvs []KV
	var rev int64
	for {
		resp, err := c.page(ctx, from, to, rev)
		if err != nil {
			return nil, 0, err
		}
		rev = resp.Header.Revision
		if kvs == nil {
			kvs = make([]KV, 0, resp.Count)
		}
		for _, kv := range resp.Kvs {
			kvs = append(kvs, KV{
				Key: strings.TrimPrefix(string(kv.Key), c.root), Value: notNil(kv.Value),
				CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Lease: kv.Lease,
			})
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return kvs, Revision(rev), nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

func (c *etcdCatalog) page(ctx context.Context, from, to string, rev int64) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.timeout())
	defer cancel()
	resp, err := c.client.Get(ctx, from, clientv3.WithRange(to), clientv3.WithLimit(etcdPage), clientv3.WithRev(rev))
	if err == nil && rev != 0 {
		resp.Header.Revision = rev // later pages report the newest, not the one asked for
	}
	return resp, err
}

func (c *etcdCatalog) Txn(ctx context.Context, g Guard, puts map[string][]byte, deletes []string) (Revision, error) {
	if !c.opts.Write {
		return 0, fmt.Errorf("write to etcd root %s: %w", c.root, ErrReadOnly)
	}
	if err := c.opts.Limits.checkSize(g, puts, deletes); err != nil {
		return 0, err
	}
	keys := slices.Sorted(maps.Keys(g.Revisions))
	var compares []clientv3.Cmp
	var evidence, writes []clientv3.Op
	for _, r := range g.Empty {
		from, to := c.root+r.From, c.root+r.To
		compares = append(compares, clientv3.Compare(clientv3.CreateRevision(from).WithRange(to), "=", 0))
		evidence = append(evidence, clientv3.OpGet(from, clientv3.WithRange(to), clientv3.WithKeysOnly(), clientv3.WithLimit(maxPresent)))
	}
	for _, k := range keys {
		compares = append(compares, clientv3.Compare(clientv3.ModRevision(c.root+k), "=", g.Revisions[k]))
		evidence = append(evidence, clientv3.OpGet(c.root+k, clientv3.WithKeysOnly()))
	}
	for _, k := range slices.Sorted(maps.Keys(puts)) {
		writes = append(writes, clientv3.OpPut(c.root+k, string(puts[k])))
	}
	for _, k := range deletes {
		writes = append(writes, clientv3.OpDelete(c.root+k))
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.timeout())
	defer cancel()
	resp, err := c.client.Txn(ctx).If(compares...).Then(writes...).Else(evidence...).Commit()
	if err != nil {
		return 0, c.failed(ctx, fmt.Sprintf("commit %d keys to etcd root %s", len(writes), c.root), err)
	}
	if !resp.Succeeded {
		return 0, c.conflict(g, keys, resp.Responses)
	}
	return Revision(resp.Header.Revision), nil
}

// conflict reads out of the same transaction what made its guard fail.
func (c *etcdCatalog) conflict(g Guard, keys []string, found []*etcdserverpb.ResponseOp) error {
	e := &ConflictError{}
	for i, r := range found {
		kvs := r.GetResponseRange().GetKvs()
		if i < len(g.Empty) {
			for _, kv := range kvs {
				e.Present = append(e.Present, strings.TrimPrefix(string(kv.Key), c.root))
			}
			continue
		}
		key, got := keys[i-len(g.Empty)], int64(0)
		if len(kvs) > 0 {
			got = kvs[0].ModRevision
		}
		if want := g.Revisions[key]; got != want {
			e.Changed = append(e.Changed, KeyConflict{Key: key, Want: want, Got: got})
		}
	}
	if err := e.orNil(); err != nil {
		return err
	}
	return fmt.Errorf("etcd refused the guard without showing why")
}

// failed is EtcdError for one of the catalog's own requests.
func (c *etcdCatalog) failed(ctx context.Context, doing string, err error) error {
	return EtcdError(ctx, doing, err)
}

// EtcdError says in plain words what an error of etcd's client means, and maps it to
// the package's sentinels. What the client said is kept for errors.Is, not shown.
func EtcdError(ctx context.Context, doing string, err error) error {
	if errors.Is(err, rpctypes.ErrCompacted) {
		return err
	}
	if errors.Is(ctx.Err(), context.Canceled) || errors.Is(err, context.Canceled) {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	words, kind := etcdWords(err)
	return &etcdFailure{text: doing + ": " + words, kind: kind, err: err}
}

type etcdFailure struct {
	text      string
	kind, err error
}

// Error implements error.
func (e *etcdFailure) Error() string { return e.text }

// Unwrap returns the sentinel and what the client said.
func (e *etcdFailure) Unwrap() []error { return []error{e.kind, e.err} }

func etcdWords(err error) (words string, kind error) {
	any := func(targets ...error) bool {
		return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
	}
	code := status.Code(err)
	switch {
	case any(rpctypes.ErrPermissionDenied):
		return "permission denied: the user may not do that", ErrDenied
	case any(rpctypes.ErrAuthFailed):
		return "permission denied: wrong user or password", ErrDenied
	case any(rpctypes.ErrUserEmpty):
		return "permission denied: it wants a user and a password", ErrDenied
	case any(rpctypes.ErrInvalidAuthToken), code == codes.Unauthenticated, code == codes.PermissionDenied:
		return "permission denied: the login does not hold", ErrDenied
	case any(rpctypes.ErrTooManyOps, rpctypes.ErrRequestTooLarge):
		return "too large: more than this etcd takes in one transaction", ErrTooLarge
	case any(rpctypes.ErrNoSpace):
		return "its database is full (alarm NOSPACE)", ErrUnavailable
	case any(rpctypes.ErrNoLeader, rpctypes.ErrLeaderChanged, rpctypes.ErrTimeout, rpctypes.ErrTimeoutDueToLeaderFail, rpctypes.ErrTimeoutDueToConnectionLost):
		return "it has no leader: has it lost its quorum?", ErrUnavailable
	case any(context.DeadlineExceeded), code == codes.DeadlineExceeded:
		return "no answer in time: it takes connections, but no requests (has it lost its quorum?)", ErrUnavailable
	case code == codes.Unimplemented:
		return "what answers there is no etcd", ErrUnavailable
	case code == codes.Unavailable:
		return "the connection was lost", ErrUnavailable
	}
	return "it answers with an error (" + code.String() + ")", ErrUnavailable
}
