package cmd

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/recovery/catalog"
)

// secured is a cluster behind TLS, tokens and passwords with a log that Milvus
// wrote, and every secret that must stay where it is.
type secured struct {
	b         *testenv.SecureBroker
	etcd      string
	root      *clientv3.Client
	ns, topic string
	pchannel  string
	dir       string
	secrets   []string
	before    map[string][]byte
	published testenv.Published
}

const (
	readPassword  = "r3ad-passw0rd"
	writePassword = "wr1te-passw0rd"
)

func newSecured(t *testing.T) *secured {
	s := &secured{b: testenv.SecurePulsar(t), dir: t.TempDir()}
	s.root, s.etcd = testenv.SecureEtcd(t, s.b.Certs,
		testenv.EtcdUser{Name: "looker", Password: readPassword, Prefix: "by-dev/"},
		testenv.EtcdUser{Name: "mender", Password: writePassword, Prefix: "by-dev/", Write: true})
	s.secrets = []string{readPassword, writePassword}
	expected := golden.Expectations(t, "live-pulsar")
	e := expected[len(expected)-1]
	s.ns, s.pchannel = s.b.Namespace(t), e.PChannel
	s.topic = "persistent://public/" + s.ns + "/" + s.pchannel
	s.b.CreateTopic(t, s.topic)
	_, s.published = publishGolden(t, s.b.Broker, s.topic, "live-pulsar")
	s.before = moveCheckpoint(t, e.KVBefore, s.pchannel, s.published)
	for k, v := range s.before {
		_, err := s.root.Put(t.Context(), "by-dev/meta/"+k, string(v))
		require.NoError(t, err)
	}
	_, err := s.root.Put(t.Context(), "by-dev/meta/"+catalog.SessionCounterKey, "7")
	require.NoError(t, err)
	return s
}

// token is a role's token, watched for from now on.
func (s *secured) token(role string, valid time.Duration) string {
	token := s.b.Token(role, valid)
	s.secrets = append(s.secrets, token, strings.Split(token, ".")[2])
	return token
}

// file keeps a secret as an editor would save it.
func (s *secured) file(t *testing.T, name, secret string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(t, os.WriteFile(path, []byte(secret+"\n"), 0o600))
	return path
}

// env is the cluster's settings with a token.
func (s *secured) env(token string) map[string]string {
	return map[string]string{
		"WALCTL_PULSAR": s.b.TLSURL, "WALCTL_PULSAR_ADMIN": s.b.TLSAdminURL, "WALCTL_NAMESPACE": s.ns,
		"WALCTL_PULSAR_TLS_CA": s.b.Certs.CA, "WALCTL_PULSAR_TOKEN": token,
		"WALCTL_ETCD": "https://" + s.etcd, "WALCTL_ETCD_TLS_CA": s.b.Certs.CA, "WALCTL_ETCD_ROOT": "by-dev/meta",
		"WALCTL_ETCD_USER": "looker", "WALCTL_ETCD_PASSWORD": readPassword, "WALCTL_MILVUS_VERSION": "2.6.14",
	}
}

// run runs walctl and looks for secrets in all it says.
func (s *secured) run(t *testing.T, env map[string]string, args ...string) (code int, out, errOut string) {
	t.Helper()
	code, out, errOut = run(t, env, args...)
	for _, secret := range s.secrets {
		require.NotContains(t, out+errOut, secret, "%v told a secret", args)
	}
	return code, out, errOut
}

// noSecretIn looks for secrets in every byte of every file below a directory.
func (s *secured) noSecretIn(t *testing.T, dir string) {
	t.Helper()
	files := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files++
		for _, secret := range s.secrets {
			require.False(t, bytes.Contains(b, []byte(secret)), "%s holds a secret", path)
		}
		return err
	}))
	require.NotZero(t, files)
}

// A cluster behind TLS, tokens and passwords: everything works with the right
// ones; every wrong one is told by name, with what to do, and no secret is told.
func TestSecuredCluster(t *testing.T) {
	s := newSecured(t)
	super := s.token(testenv.Superuser, time.Hour)
	footprintBefore := footprint(t, s.b.Broker, s.ns, s.topic)
	t.Run("read", func(t *testing.T) { s.reads(t, super) })
	t.Run("wrong credentials", func(t *testing.T) { s.wrong(t, super) })
	t.Run("a role that may only consume", s.consumer)
	t.Run("context test", func(t *testing.T) { s.answers(t, super) })
	t.Run("repair", func(t *testing.T) { s.repairs(t, super) })
	require.Equal(t, footprintBefore, footprint(t, s.b.Broker, s.ns, s.topic))
}

func (s *secured) reads(t *testing.T, token string) {
	env := s.env("")
	fromFile := []string{"--pulsar-token-file", s.file(t, "token", token)}
	code, out, errOut := s.run(t, env, append([]string{"inspect", "dml_0"}, fromFile...)...)
	require.Equal(t, 0, code, errOut)
	require.Contains(t, out, "617 records")
	require.Contains(t, errOut, "retention")

	env = s.env(token)
	code, _, errOut = s.run(t, env, "verify", s.b.TLSURL+"/public/"+s.ns+"/"+s.pchannel)
	require.Equal(t, 0, code, errOut)
	archive := filepath.Join(t.TempDir(), "evidence")
	code, out, errOut = s.run(t, env, "capture", "dml_0", "--dir", archive)
	require.Equal(t, 0, code, errOut)
	require.Contains(t, out, "catalog")
	s.noSecretIn(t, archive)
	code, _, errOut = s.run(t, nil, "verify", archive)
	require.Equal(t, 0, code, errOut)

	// An administrator of the tenant is enough; nobody needs a superuser.
	require.NoError(t, s.b.Call(t.Context(), http.MethodPost, "tenants/public",
		map[string]any{"adminRoles": []string{"warden"}, "allowedClusters": []string{"standalone"}}, nil))
	code, out, errOut = s.run(t, s.env(s.token("warden", time.Hour)), "inspect", "dml_0")
	require.Equal(t, 0, code, errOut)
	require.Contains(t, out, "retention without end")

	// etcd's credentials from a file; a context keeps where they lie, never them.
	config := t.TempDir()
	env = map[string]string{"XDG_CONFIG_HOME": config}
	code, _, errOut = s.run(t, env, append([]string{"context", "add", "prod", "--pulsar", s.b.TLSURL, "--pulsar-admin", s.b.TLSAdminURL,
		"--namespace", s.ns, "--pulsar-tls-ca", s.b.Certs.CA, "--etcd", "https://" + s.etcd, "--etcd-tls-ca", s.b.Certs.CA,
		"--etcd-user", "looker", "--etcd-password-file", s.file(t, "password", readPassword)}, fromFile...)...)
	require.Equal(t, 0, code, errOut)
	code, _, errOut = s.run(t, env, "catalog", "show")
	require.Equal(t, 0, code, errOut)
	code, _, errOut = s.run(t, env, "inspect")
	require.Equal(t, 0, code, errOut)
	s.noSecretIn(t, config)
	code, _, errOut = s.run(t, env, "context", "discover")
	require.Equal(t, 5, code, "the user may not look outside its root: %s", errOut)
	require.Contains(t, errOut, "--etcd-root")
}

// What answers to whom: the parts that say no end it with 1, each by its reason.
func (s *secured) answers(t *testing.T, token string) {
	forged := testenv.SignToken([]byte(strings.Repeat("k", 32)), testenv.Superuser, time.Hour)
	role := s.token("eater", time.Hour)
	for name, c := range map[string]struct {
		env   map[string]string
		write bool
		no    string // the parts that say no
		says  string
	}{
		"all":              {s.env(token), false, "", "1 topic in public/" + s.ns},
		"a wrong token":    {s.env(forged), false, "admin port broker", "does not accept the token"},
		"a mere consumer":  {s.env(role), false, "admin port", "administrators of the tenant"},
		"a mere reader":    {s.env(token), true, "write", "may not"},
		"a root of nobody": {with(s.env(token), "WALCTL_ETCD_ROOT", "by-dev/other"), false, "root", "there is no key below the metadata root"},
		"a writer": {with(s.env(token), "WALCTL_ETCD_WRITE_USER", "mender", "WALCTL_ETCD_WRITE_PASSWORD", writePassword),
			true, "", "as user mender"},
	} {
		args := []string{"context", "test", "-o", "json"}
		if c.write {
			args = append(args, "--write")
		}
		code, out, errOut := s.run(t, c.env, args...)
		var got struct {
			Parts []struct {
				Part, Where, Answer string
				OK                  bool
			}
		}
		require.NoError(t, json.Unmarshal([]byte(out), &got), "%s: %s", name, errOut)
		var no []string
		for _, p := range got.Parts {
			if !p.OK {
				no = append(no, p.Part)
			}
		}
		slices.Sort(no)
		require.Equal(t, c.no, strings.Join(no, " "), "%s: %s", name, out)
		require.Contains(t, out, c.says, name)
		require.Equal(t, min(len(no), 1), code, name)
	}
	require.Equal(t, s.before, s.catalog(t), "asking whether one may write wrote something")
}

// with is an environment with some of its variables changed.
func with(env map[string]string, kv ...string) map[string]string {
	for i := 0; i < len(kv); i += 2 {
		env[kv[i]] = kv[i+1]
	}
	return env
}

func (s *secured) wrong(t *testing.T, token string) {
	other, err := testenv.NewCertificates(t.TempDir())
	require.NoError(t, err)
	with := func(kv ...string) map[string]string { return with(s.env(token), kv...) }
	forged := testenv.SignToken([]byte(strings.Repeat("k", 32)), testenv.Superuser, time.Hour)
	expired := s.token(testenv.Superuser, -time.Hour)
	s.secrets = append(s.secrets, forged)
	read, show := []string{"inspect", "dml_0"}, []string{"catalog", "show"}
	blind := []string{"inspect", s.b.TLSURL + "/public/" + s.ns + "/" + s.pchannel, "--topic-exists", "--touch"}
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		code int
		says string
	}{
		"no authority":                {with("WALCTL_PULSAR_TLS_CA", ""), read, 1, "give the authority that signed it: --pulsar-tls-ca"},
		"another authority":           {with("WALCTL_PULSAR_TLS_CA", other.CA), read, 1, "did not sign it"},
		"no token":                    {with("WALCTL_PULSAR_TOKEN", ""), read, 5, "--pulsar-token-file FILE or WALCTL_PULSAR_TOKEN"},
		"forged token":                {with("WALCTL_PULSAR_TOKEN", forged), read, 5, "does not accept the token"},
		"expired token":               {with("WALCTL_PULSAR_TOKEN", expired), read, 5, "the token expired at"},
		"broker: no authority":        {with("WALCTL_PULSAR_TLS_CA", "", "WALCTL_PULSAR_ADMIN", s.b.AdminURL), read, 1, "--pulsar-tls-ca"},
		"broker: no token":            {with("WALCTL_PULSAR_TOKEN", ""), blind, 5, "not allowed by the broker: it wants a token"},
		"broker: expired token":       {with("WALCTL_PULSAR_TOKEN", expired), blind, 5, "not allowed by the broker: the token expired at"},
		"plain port spoken to as TLS": {with("WALCTL_PULSAR_ADMIN", strings.Replace(s.b.AdminURL, "http:", "https:", 1)), read, 1, "does not speak TLS"},
		"etcd: no authority":          {with("WALCTL_ETCD_TLS_CA", ""), show, 1, "--etcd-tls-ca"},
		"etcd: another authority":     {with("WALCTL_ETCD_TLS_CA", other.CA), show, 1, "--etcd-tls-ca"},
		"etcd: wrong password":        {with("WALCTL_ETCD_PASSWORD", "nonsense"), show, 5, "--etcd-password-file"},
		"etcd: no user":               {with("WALCTL_ETCD_USER", ""), show, 5, "--etcd-user"},
		"etcd: a root not allowed":    {with("WALCTL_ETCD_ROOT", "other/meta"), show, 5, "permission denied"},
		"token file that is missing":  {s.env(""), append([]string{"--pulsar-token-file", "/nowhere/token"}, read...), 1, "/nowhere/token"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errOut := s.run(t, c.env, c.args...)
			require.Equal(t, c.code, code, errOut)
			require.Contains(t, errOut, c.says)
		})
	}
}

// consumer: a role that may consume and nothing more can't be told the retention,
// and where the broker checks names it needs its own in front.
func (s *secured) consumer(t *testing.T) {
	policy := func(path string, body any) {
		require.NoError(t, s.b.Call(t.Context(), http.MethodPost, "namespaces/public/"+s.ns+"/"+path, body, nil))
	}
	env := s.env(s.token("reader", time.Hour))
	blind := []string{"verify", s.b.TLSURL + "/public/" + s.ns + "/" + s.pchannel, "--topic-exists", "--touch"}
	code, _, errOut := s.run(t, env, blind...)
	require.Equal(t, 5, code, errOut)
	require.Contains(t, errOut, "may consume")
	policy("permissions/reader", []string{"consume"})
	code, _, errOut = s.run(t, env, blind[:2]...)
	require.Equal(t, 5, code, errOut)
	require.Contains(t, errOut, "administrator of tenant public")
	code, _, errOut = s.run(t, env, blind...)
	require.Equal(t, 0, code, errOut)
	policy("subscriptionAuthMode", "Prefix")
	code, _, errOut = s.run(t, env, blind...)
	require.Equal(t, 5, code, errOut)
	require.Contains(t, errOut, "--subscription-prefix")
	code, _, errOut = s.run(t, env, append(blind, "--subscription-prefix", "reader")...)
	require.Equal(t, 0, code, errOut)
	policy("subscriptionAuthMode", "None")

	// A name's end can't be made out then, and must not become a topic.
	maps.DeleteFunc(env, func(k, _ string) bool { return strings.HasPrefix(k, "WALCTL_ETCD") })
	env["WALCTL_PULSAR_TOKEN"] = s.token("nobody", time.Hour)
	code, _, errOut = s.run(t, env, "inspect", "dml_0", "--topic-exists", "--touch")
	require.Equal(t, 2, code, errOut)
	require.Contains(t, errOut, "written out")
}

// repairs: the reading user plans, only the writing one applies and undoes.
func (s *secured) repairs(t *testing.T, token string) {
	env, dir := s.env(token), t.TempDir()
	file := filepath.Join(dir, "p.json")
	code, _, errOut := s.run(t, env, "recover", s.pchannel, "--out", file)
	require.Equal(t, 0, code, errOut)
	apply := []string{"apply", file, "--yes", "--reason", "test"}
	code, _, errOut = s.run(t, env, apply...)
	require.Equal(t, 5, code, errOut)
	require.Contains(t, errOut, "--etcd-write-user")
	require.Equal(t, s.before, s.catalog(t), "nothing was written")

	env["WALCTL_ETCD_WRITE_USER"], env["WALCTL_ETCD_WRITE_PASSWORD"] = "mender", "nonsense"
	code, _, errOut = s.run(t, env, apply...)
	require.Equal(t, 5, code, errOut)
	require.Contains(t, errOut, "--etcd-write-password-file")

	env["WALCTL_ETCD_WRITE_PASSWORD"] = writePassword
	code, _, errOut = s.run(t, env, apply...)
	require.Equal(t, 0, code, errOut)
	require.NotEqual(t, s.before, s.catalog(t))
	code, _, errOut = s.run(t, env, "undo", "latest", "--yes", "--reason", "test")
	require.Equal(t, 0, code, errOut)
	require.Equal(t, s.before, s.catalog(t))
	s.noSecretIn(t, dir)

	journal, err := s.root.Get(t.Context(), "by-dev/meta/walctl/", clientv3.WithPrefix())
	require.NoError(t, err)
	require.NotEmpty(t, journal.Kvs)
	for _, kv := range journal.Kvs {
		for _, secret := range s.secrets {
			require.False(t, bytes.Contains(kv.Value, []byte(secret)), "the journal's %s holds a secret", kv.Key)
		}
	}
}

// catalog is what the secured etcd holds of the log.
func (s *secured) catalog(t *testing.T) map[string][]byte {
	t.Helper()
	const root = "by-dev/meta/"
	r, err := s.root.Get(t.Context(), root+catalog.WALPrefix(s.pchannel), clientv3.WithPrefix())
	require.NoError(t, err)
	kv := map[string][]byte{}
	for _, k := range r.Kvs {
		kv[strings.TrimPrefix(string(k.Key), root)] = k.Value
	}
	return kv
}
