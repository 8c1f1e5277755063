package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/milvus-io/milvus-proto/go-api/v3/msgpb"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/internal/config"
	"github.com/walctl/walctl/pkg/recovery/catalog"
	"github.com/walctl/walctl/pkg/walreader"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// CatalogFlags say which catalog a command reads.
type CatalogFlags struct {
	Spec string
	// AnyRoot is set by a command that has a use for a root without a Milvus.
	AnyRoot bool
}

// Add adds --catalog.
func (c *CatalogFlags) Add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.Spec, "catalog", "", "metadata, a `CATALOG`: etcd://HOST:2379/ROOT, file:PATH, kvjson:PATH, snapshot:PATH (default: the archive's own, or the context's)")
}

// ErrNoCatalog says that no catalog was named and none is configured.
var ErrNoCatalog = errors.New("no catalog is known; give --catalog, --etcd, or a context with an etcd")

// CatalogSpec spells the catalog of a log as --catalog does: what --catalog names,
// what an archive brings with it, or the context's etcd. wal may be nil. Where
// there is none the error is ErrNoCatalog.
func (f *Factory) CatalogSpec(c CatalogFlags, wal source.Source) (string, error) {
	if c.Spec == "" && wal != nil {
		c.Spec = catalogOfArchive(wal)
	}
	if c.Spec != "" {
		return c.Spec, nil
	}
	settings, err := f.Config()
	if err != nil {
		return "", err
	}
	if len(settings.Etcd) == 0 {
		return "", ErrNoCatalog
	}
	return etcdSpec(settings), nil
}

// OpenCatalog opens the catalog CatalogSpec names. The caller closes it. One that is
// opened to be read holds something of a Milvus, unless c says AnyRoot. One that
// could not be reached is not tried again by the same command.
func (f *Factory) OpenCatalog(ctx context.Context, c CatalogFlags, wal source.Source, write bool) (catalog.Catalog, error) {
	spec, err := f.CatalogSpec(c, wal)
	if err != nil {
		return nil, err
	}
	key := fmt.Sprint(spec, write, c.AnyRoot)
	if err := f.once.failure(key); err != nil {
		return nil, err
	}
	cat, err := f.openCatalog(ctx, spec, write)
	if err == nil && !write && !c.AnyRoot {
		if err = catalog.CheckMilvus(ctx, cat); err != nil {
			_ = cat.Close()
			err = noMilvus(spec, err)
		}
	}
	if err != nil {
		if ctx.Err() == nil {
			f.once.failed(key, err)
		}
		return nil, err
	}
	return cat, nil
}

// noMilvus says of a root without a Milvus how to name another one.
func noMilvus(spec string, err error) error {
	var none *catalog.NoMilvusError
	if !errors.As(err, &none) {
		return err
	}
	parsed, perr := catalog.ParseSpec(spec)
	if perr != nil {
		return err
	}
	if parsed.Kind == "etcd" {
		place := strings.Join(parsed.Endpoints, ",")
		if len(none.Roots) > 0 {
			return fmt.Errorf("etcd at %s: %w; name one with --etcd-root", place, err)
		}
		return fmt.Errorf("etcd at %s: %w: is it the right etcd?", place, err)
	}
	if len(none.Roots) > 0 {
		return fmt.Errorf("catalog %s: %w; the keys of such a file are written without the root", parsed.Path, err)
	}
	return fmt.Errorf("catalog %s: %w: is it the right file?", parsed.Path, err)
}

func (f *Factory) openCatalog(ctx context.Context, spec string, write bool) (catalog.Catalog, error) {
	settings, err := f.Config()
	if err != nil {
		return nil, err
	}
	parsed, err := catalog.ParseSpec(spec)
	if err != nil {
		return nil, &UsageError{err}
	}
	if parsed.Kind != "etcd" {
		return catalog.Open(ctx, spec, catalog.Options{Write: write})
	}
	if settings, err = f.etcdSettings(settings, parsed.Endpoints); err != nil {
		return nil, err
	}
	e, err := EtcdConfig(settings, write)
	if err != nil {
		return nil, err
	}
	if rest, plain := strings.CutPrefix(spec, "etcd://"); plain && e.TLS != nil {
		spec = "etcds://" + rest // a password never goes over a plain connection to it
	}
	cat, err := catalog.Open(ctx, spec, catalog.Options{Write: write, Root: settings.EtcdRoot,
		TLS: e.TLS, Username: e.Username, Password: e.Password})
	return cat, etcdHelp(err, settings, write)
}

// etcdSettings are the credentials for an etcd. One that is not the context's
// gets none of the context's.
func (f *Factory) etcdSettings(c *config.Config, endpoints []string) (*config.Config, error) {
	known := map[string]bool{}
	for _, e := range c.Etcd {
		known[hostOf(e)] = true
	}
	for _, e := range endpoints {
		if !known[hostOf(e)] && len(known) > 0 {
			bare, err := config.LoadBare(f.flags, f.Getenv)
			if err != nil {
				return nil, &UsageError{err}
			}
			return bare, nil
		}
	}
	return c, nil
}

// hostOf is an endpoint without its scheme.
func hostOf(endpoint string) string {
	return strings.TrimPrefix(strings.TrimPrefix(endpoint, "https://"), "http://")
}

// etcdSpec spells a context's etcd as --catalog does.
func etcdSpec(c *config.Config) string {
	scheme, hosts := "etcd://", make([]string, len(c.Etcd))
	for i, e := range c.Etcd {
		hosts[i] = hostOf(e)
	}
	if c.EtcdTLS() {
		scheme = "etcds://"
	}
	return scheme + strings.Join(hosts, ",") + "/" + c.EtcdRoot
}

// EnvWithCatalog is EnvOf plus the places that need a catalog. It is opened only
// when such a place is asked for.
func (f *Factory) EnvWithCatalog(s source.Source, c CatalogFlags) PlaceEnv {
	env := f.EnvOf(s)
	env.Checkpoint = func(ctx context.Context, vchannel string) (source.Bound, error) {
		return f.checkpoint(ctx, s, c, vchannel)
	}
	return env
}

func (f *Factory) checkpoint(ctx context.Context, s source.Source, c CatalogFlags, vchannel string) (source.Bound, error) {
	cat, err := f.OpenCatalog(ctx, c, s, false)
	if errors.Is(err, ErrNoCatalog) {
		return source.Bound{}, Usagef("checkpoint: %w", err)
	}
	if err != nil {
		return source.Bound{}, err
	}
	defer cat.Close()
	backend, err := backendOf(ctx, s)
	if err != nil {
		return source.Bound{}, err
	}
	if vchannel != "" {
		return vchannelCheckpoint(ctx, cat, vchannel, backend)
	}
	pchannel, err := PChannelIn(ctx, s, cat)
	if err != nil {
		return source.Bound{}, err
	}
	md, _, err := cat.Load(ctx, pchannel)
	if err != nil {
		return source.Bound{}, err
	}
	if md.Checkpoint == nil || md.Checkpoint.MessageId == nil {
		return source.Bound{}, fmt.Errorf("%w: the catalog has no checkpoint of %s", source.ErrNotFound, pchannel)
	}
	id := md.Checkpoint.MessageId
	at, _, err := message.ParseRaw(backendFor(message.Backend(id.WALName), backend), id.Id)
	if err != nil {
		return source.Bound{}, fmt.Errorf("checkpoint of %s: %w", pchannel, err)
	}
	return source.Bound{Kind: source.AtID, ID: at}, nil
}

func vchannelCheckpoint(ctx context.Context, cat catalog.Catalog, vchannel string, backend message.Backend) (source.Bound, error) {
	key := catalog.ChannelCheckpointKey(vchannel)
	kvs, _, err := cat.Range(ctx, key)
	if err != nil {
		return source.Bound{}, err
	}
	for _, kv := range kvs {
		if kv.Key != key {
			continue
		}
		var p msgpb.MsgPosition
		if err := proto.Unmarshal(kv.Value, &p); err != nil {
			return source.Bound{}, fmt.Errorf("%w: channel checkpoint %s: %w", ErrCorrupt, key, err)
		}
		if len(p.MsgID) == 0 {
			return source.Bound{}, fmt.Errorf("%w: %s is dropped: its checkpoint has no position", source.ErrNotFound, vchannel)
		}
		at, _, err := message.ParseBytes(backendFor(message.Backend(p.WALName), backend), p.MsgID)
		if err != nil {
			return source.Bound{}, fmt.Errorf("channel checkpoint %s: %w", key, err)
		}
		return source.Bound{Kind: source.AtID, ID: at}, nil
	}
	return source.Bound{}, fmt.Errorf("%w: the catalog has no channel checkpoint of %s", source.ErrNotFound, vchannel)
}

// backendFor reads a stored WAL name; 0 means the backend of the log itself.
func backendFor(stored, log message.Backend) message.Backend {
	if stored == message.BackendUnknown || log == message.BackendOffset && (stored == message.BackendKafka || stored == message.BackendRocksMQ) {
		return log
	}
	return stored
}

// pchannelSearch is how many records are looked at for a log's name.
const pchannelSearch = 20000

// PChannelOf tells a log's pchannel: the source's own word, or the vchannels of
// its first records.
func PChannelOf(ctx context.Context, s source.Source) (string, error) {
	d := s.Describe()
	if d.PChannel != "" {
		return d.PChannel, nil
	}
	return nameInRecords(ctx, s)
}

// nameInRecords tells a log's pchannel by the vchannels of its first records.
func nameInRecords(ctx context.Context, s source.Source) (string, error) {
	d := s.Describe()
	if d.Location == StdinName {
		return "", Usagef("a log on standard input does not tell its pchannel before it is read; save it to a file, or name it with --pchannel")
	}
	r, err := s.Open(ctx, source.Range{Limit: pchannelSearch})
	if err != nil {
		return "", err
	}
	defer r.Close()
	for {
		m, err := r.Next(ctx)
		if err != nil {
			var corrupt *source.CorruptError
			if errors.As(err, &corrupt) {
				continue
			}
			if ctx.Err() != nil {
				return "", context.Cause(ctx)
			}
			return "", Usagef("no record of %s names its pchannel; name it with --pchannel NAME", d.Location)
		}
		if m.VChannel != "" {
			return message.PChannelOf(m.VChannel), nil
		}
	}
}

// catalogOfArchive is the --catalog of the dump an archive carries, or "".
func catalogOfArchive(s source.Source) string {
	e, ok := source.EvidenceOf(s, source.EvidenceCatalog)
	if !ok {
		return ""
	}
	if _, err := os.Stat(e.File); err != nil {
		return ""
	}
	return "kvjson:" + e.File
}

// PChannelIn asks the log for its name, or else --pchannel; where neither tells, a
// catalog of a single WAL does.
func PChannelIn(ctx context.Context, src source.Source, cat catalog.Catalog) (string, error) {
	d := src.Describe()
	if d.PChannel != "" && !d.Called {
		return d.PChannel, nil
	}
	own, err := "", error(nil)
	if d.PChannel == "" || d.Location != StdinName {
		own, err = nameInRecords(ctx, src)
	}
	if d.PChannel == "" && err == nil && own != "" {
		return own, nil
	}
	if err != nil && !errors.Is(err, source.ErrNotFound) && !as[*UsageError](err) {
		return "", err
	}
	known, rerr := walsOf(ctx, cat)
	if rerr != nil {
		return "", errors.Join(err, rerr)
	}
	if d.PChannel != "" {
		return givenName(d.PChannel, own, known)
	}
	switch len(known) {
	case 1:
		return known[0], nil
	case 0:
		return "", err
	}
	return "", Usagef("%w; the catalog holds %s", err, walreader.Few(known))
}

// givenName is the whole name --pchannel means, held against what the log's records
// say ("" where they say nothing) and the WALs of the catalog.
func givenName(given, own string, known []string) (string, error) {
	name, err := walreader.MatchName(given, known)
	if err != nil {
		if len(known) > 0 && own == "" {
			return "", Usagef("--pchannel %s: the catalog has no such WAL; it holds %s", given, walreader.Few(known))
		}
		name = given
	}
	if own != "" && own != name {
		return "", Usagef("--pchannel %s: the records of this log are of %s", given, own)
	}
	return name, nil
}

// walsOf lists the pchannels a catalog has keys of.
func walsOf(ctx context.Context, cat catalog.Catalog) ([]string, error) {
	var out []string
	for _, prefix := range []string{strings.TrimSuffix(catalog.WALPrefix(""), "/"), catalog.PChannelKey("")} {
		kvs, _, err := cat.Range(ctx, prefix)
		if err != nil {
			return nil, err
		}
		for _, kv := range kvs {
			if p := catalog.ParseKey(kv.Key).PChannel; p != "" {
				out = append(out, p)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
