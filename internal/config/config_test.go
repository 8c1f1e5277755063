package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/safefile"
)

const secret = "hunter2-s3cret"

// env is a map as the environment.
type env map[string]string

func (e env) get(k string) string { return e[k] }

// flags are the connection flags, with these given.
func flags(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	p := pflag.NewFlagSet("walctl", pflag.ContinueOnError)
	AddFlags(p)
	require.NoError(t, p.Parse(args))
	return p
}

// save writes a context file and returns the flag that names it.
func save(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return "--config=" + path
}

// The settings the design names are flags, variables and fields of a context.
func TestEverySettingIsAFlag(t *testing.T) {
	p := flags(t)
	for _, name := range []string{"pulsar", "pulsar-admin", "tenant", "namespace", "etcd", "etcd-root", "metrics", "milvus-version",
		"pulsar-token-file", "pulsar-tls-ca", "pulsar-tls-cert", "pulsar-tls-key", "etcd-tls-ca", "etcd-tls-cert", "etcd-tls-key",
		"etcd-user", "etcd-password-file", "etcd-write-user", "etcd-write-password-file", "context", "config"} {
		require.NotNil(t, p.Lookup(name), name)
		require.True(t, IsConnectionFlag(name), name)
	}
	p.VisitAll(func(f *pflag.Flag) {
		for _, word := range []string{"token", "password"} {
			if strings.Contains(f.Name, word) {
				require.True(t, strings.HasSuffix(f.Name, "-file"), "--%s takes a secret in the command line", f.Name)
			}
		}
	})
}

// Each setting on its own: flag before variable, variable before context,
// context before default.
func TestPrecedence(t *testing.T) {
	for _, f := range fields {
		t.Run(f.name, func(t *testing.T) {
			value := func(from string) string { return from + "-value" }
			context := save(t, fmt.Sprintf("current: c\ncontexts:\n  c:\n    %s: %s\n", f.name, value("context")))
			of := func(e env, args ...string) Setting {
				all, err := Effective(flags(t, append(args, context)...), e.get)
				require.NoError(t, err)
				for _, s := range all {
					if s.Name == f.name {
						return s
					}
				}
				t.Fatalf("no setting %s in force", f.name)
				return Setting{}
			}
			variable := env{EnvName(f.name): value("variable")}
			require.Equal(t, Setting{f.name, value("flag"), "flag"}, of(variable, "--"+f.name, value("flag")))
			require.Equal(t, Setting{f.name, value("variable"), EnvName(f.name)}, of(variable))
			require.Equal(t, Setting{f.name, value("context"), "context c"}, of(nil))
			context = "--config=" + filepath.Join(t.TempDir(), "none.yaml")
			want := Setting{Name: f.name, Value: f.fallback}
			if f.fallback != "" {
				want.From = "default"
			}
			require.Equal(t, want, of(nil))
		})
	}
}

// What Load returns is what Effective lists.
func TestLoadFillsEveryField(t *testing.T) {
	var args []string
	for _, f := range fields {
		args = append(args, "--"+f.name, "v-"+f.name)
	}
	c, err := Load(flags(t, append(args, save(t, ""))...), env{}.get)
	require.NoError(t, err)
	text := fmt.Sprintf("%+v", *c)
	for _, f := range fields {
		require.Contains(t, text, "v-"+f.name)
	}
	c, err = Load(flags(t, "--etcd", " a:1, ,b:2 ", "--etcd-root", "/r/meta/", save(t, "")), env{}.get)
	require.NoError(t, err)
	require.Equal(t, []string{"a:1", "b:2"}, c.Etcd)
	require.Equal(t, "r/meta", c.EtcdRoot)
}

// The variable of a secret lies after a flag and before the context.
func TestSecretPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("from-file\n"), 0o600))
	read := func(e env, args ...string) string {
		c, err := Load(flags(t, args...), e.get)
		require.NoError(t, err)
		s, err := c.PulsarToken.Read()
		require.NoError(t, err)
		return s
	}
	context := save(t, "current: c\ncontexts:\n  c:\n    pulsar-token-file: "+file+"\n")
	require.Equal(t, "from-file", read(nil, context))
	require.Equal(t, "from-variable", read(env{"WALCTL_PULSAR_TOKEN": "from-variable"}, context))
	require.Equal(t, "from-file", read(env{"WALCTL_PULSAR_TOKEN": "from-variable"}, context, "--pulsar-token-file", file))
	require.Equal(t, "from-file", read(env{"WALCTL_PULSAR_TOKEN": "from-variable", "WALCTL_PULSAR_TOKEN_FILE": file}, context))
	all, err := Effective(flags(t, context), env{"WALCTL_PULSAR_TOKEN": secret}.get)
	require.NoError(t, err)
	require.Contains(t, all, Setting{"pulsar-token", "(set)", "WALCTL_PULSAR_TOKEN"})
	for _, s := range all {
		require.NotEqual(t, "pulsar-token-file", s.Name, "the context's file is not what is used")
	}
}

// A secret shows in no print of the settings.
func TestSecretIsNotPrinted(t *testing.T) {
	e := env{"WALCTL_PULSAR_TOKEN": secret, "WALCTL_ETCD_PASSWORD": secret, "WALCTL_ETCD_WRITE_PASSWORD": secret}
	c, err := Load(flags(t, save(t, "")), e.get)
	require.NoError(t, err)
	require.True(t, c.PulsarToken.Set())
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		require.NotContains(t, fmt.Sprintf(verb, c), secret, verb)
		require.NotContains(t, fmt.Sprintf(verb, c.PulsarToken), secret, verb)
	}
	all, err := Effective(flags(t, save(t, "")), e.get)
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprint(all), secret)
}

func TestSecretFileThatIsNone(t *testing.T) {
	_, err := SecretRef{File: filepath.Join(t.TempDir(), "none")}.Read()
	require.ErrorContains(t, err, "none")
	big := filepath.Join(t.TempDir(), "big")
	require.NoError(t, os.WriteFile(big, make([]byte, maxSecret+1), 0o600))
	_, err = SecretRef{File: big}.Read()
	require.ErrorContains(t, err, "no secret")
	_, err = SecretRef{File: "/dev/zero"}.Read()
	require.ErrorIs(t, err, safefile.ErrNotRegular)
}

// Credentials in an address are refused wherever they come from, and not repeated.
func TestCredentialsInAddresses(t *testing.T) {
	for _, name := range []string{"pulsar", "pulsar-admin", "etcd", "metrics"} {
		for _, address := range []string{"http://root:" + secret + "@h:1/p", "h:1,root:" + secret + "@h:2"} {
			_, err := Load(flags(t, "--"+name, address, save(t, "")), env{}.get)
			require.ErrorIs(t, err, ErrSecret)
			require.NotContains(t, err.Error(), secret)
			_, err = Load(flags(t, save(t, "")), env{EnvName(name): address}.get)
			require.ErrorIs(t, err, ErrSecret)
			f := &File{Contexts: map[string]Context{"c": {name: address}}}
			path := filepath.Join(t.TempDir(), "config.yaml")
			err = f.Write(path)
			require.ErrorIs(t, err, ErrSecret)
			require.NotContains(t, err.Error(), secret)
			require.NoFileExists(t, path)
		}
	}
	_, err := Load(flags(t, "--pulsar", "pulsar://h:6650", "--etcd-tls-ca", "/home/a@b/ca.pem", save(t, "")), env{}.get)
	require.NoError(t, err)
}

// The file is its owner's alone, whatever it was, and comes back as it was written.
func TestWriteFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	path := filepath.Join(dir, "config.yaml")
	want := &File{Current: "b", Contexts: map[string]Context{"b": {"pulsar": "pulsar://h:6650"}, "a": {"etcd": "e:2379"}}}
	require.NoError(t, want.Write(path))
	require.NoError(t, os.Chmod(path, 0o644))
	require.NoError(t, want.Write(path))
	st, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode().Perm())
	st, err = os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), st.Mode().Perm())
	got, err := ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, []string{"a", "b"}, got.Names())
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "no half-written file stays")
	require.ErrorContains(t, (&File{Contexts: map[string]Context{"c": {"pulsar-token": secret}}}).Write(path), `"pulsar-token"`)
}

// A damaged file is told with its name, and what stands in it is not repeated.
func TestDamagedFile(t *testing.T) {
	for name, text := range map[string]string{
		"no YAML":        "current: [" + secret,
		"not a map":      secret,
		"list of names":  "contexts: [" + secret + "]",
		"nested setting": "contexts: {c: {etcd: {" + secret + ": x}}}",
		"binary":         "\x00\x01" + secret,
		"a password":     "contexts: {c: {etcd-password: " + secret + "}}",
		"a token":        "contexts: {c: {pulsar-token: " + secret + "}}",
		"twice":          "contexts: {c: {etcd: a, etcd: " + secret + "}}",
	} {
		t.Run(name, func(t *testing.T) {
			flag := save(t, text)
			_, err := Load(flags(t, flag), env{}.get)
			require.ErrorContains(t, err, strings.TrimPrefix(flag, "--config="))
			require.NotContains(t, err.Error(), secret)
		})
	}
	for _, text := range []string{"", "contexts:\n", "current: \"\"\n"} {
		_, err := Load(flags(t, save(t, text)), env{}.get)
		require.NoError(t, err, "%q", text)
	}
	_, err := Load(flags(t, save(t, "current: gone\n")), env{}.get)
	require.ErrorContains(t, err, `no context "gone"`)
}

func TestChoiceOfContext(t *testing.T) {
	file := save(t, "current: a\ncontexts:\n  a: {etcd: a:1}\n  b: {etcd: b:1}\n")
	of := func(e env, args ...string) string {
		c, err := Load(flags(t, append(args, file)...), e.get)
		require.NoError(t, err)
		return c.Context + " " + strings.Join(c.Etcd, ",")
	}
	require.Equal(t, "a a:1", of(nil))
	require.Equal(t, "b b:1", of(env{"WALCTL_CONTEXT": "b"}))
	require.Equal(t, "a a:1", of(env{"WALCTL_CONTEXT": "b"}, "--context", "a"))
	_, err := Load(flags(t, "--context", "c", file), env{}.get)
	require.ErrorContains(t, err, "walctl context list")
	bare, err := LoadBare(flags(t, file), env{}.get)
	require.NoError(t, err)
	require.Empty(t, bare.Etcd, "without a context nothing of one is taken")
}

func TestPath(t *testing.T) {
	path, err := Path(flags(t), env{"XDG_CONFIG_HOME": "/x"}.get)
	require.NoError(t, err)
	require.Equal(t, filepath.Join("/x", "walctl", "config.yaml"), path)
	path, err = Path(flags(t), env{"XDG_CONFIG_HOME": "/x", "WALCTL_CONFIG": "/y.yaml"}.get)
	require.NoError(t, err)
	require.Equal(t, "/y.yaml", path)
	_, err = ReadFile(t.TempDir())
	require.Error(t, err)
	require.False(t, errors.Is(err, os.ErrNotExist))
}

// A context file is a file of ours: neither a device nor the place where none is.
func TestWriteRefusesWhatIsNoFile(t *testing.T) {
	file := &File{Contexts: map[string]Context{"c": {"etcd": "h:1"}}}
	require.ErrorIs(t, file.Write(""), ErrNoHome)
	require.ErrorContains(t, file.Write(os.DevNull), "nothing is kept there")
	require.ErrorContains(t, file.Write(t.TempDir()), "a directory stands there")
	require.NoError(t, file.Write(t.TempDir()+"/new/config.yaml"))
}
