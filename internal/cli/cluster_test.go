package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// A topic URL of another broker gets nothing of the context: no token, no admin
// port, no client key.
func TestAnotherBrokerGetsNoCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`current: prod
contexts:
  prod:
    pulsar: pulsar+ssl://prod:6651
    pulsar-admin: https://prod:8443
    pulsar-token-file: /secret/token
    pulsar-tls-key: /secret/key
`), 0o600))
	f := &Factory{Getenv: func(k string) string { return map[string]string{"WALCTL_CONFIG": file}[k] }}
	f.Bind(&cobra.Command{})
	c, err := f.Config()
	require.NoError(t, err)
	k := newCluster(f, c, WALFlags{})

	own, topic, err := k.forURL("pulsar+ssl://prod:6651/t/n/dml_1")
	require.NoError(t, err)
	require.Equal(t, "dml_1", topic)
	require.Equal(t, "/secret/token", own.PulsarToken.File)
	require.Equal(t, "https://prod:8443", own.PulsarAdmin)

	other, _, err := k.forURL("pulsar://elsewhere:6650/t/n/dml_1")
	require.NoError(t, err)
	require.Equal(t, "pulsar://elsewhere:6650", other.Pulsar)
	require.Equal(t, []string{"t", "n"}, []string{other.Tenant, other.Namespace})
	require.False(t, other.PulsarToken.Set())
	require.Empty(t, other.PulsarAdmin)
	require.Empty(t, other.PulsarTLSKey)

	named, topic, err := k.forURL("persistent://t/n/dml_1")
	require.NoError(t, err)
	require.Equal(t, []string{"dml_1", "pulsar+ssl://prod:6651", "t", "n", "/secret/token"}, []string{topic, named.Pulsar, named.Tenant, named.Namespace, named.PulsarToken.File})
	for _, bad := range []string{"persistent://t/n", "persistent://t//x", "persistent://t/n/x?y", "non-persistent://t/n/x"} {
		_, _, err = k.forURL(bad)
		require.Equal(t, CodeUsage, CodeOf(err), bad)
	}

	for _, bad := range []string{"pulsar://h:6650/t/n", "pulsar://u:p@h:6650/t/n/x", "pulsar:///t/n/x", "pulsar://h:6650/t//x"} {
		_, _, err = k.forURL(bad)
		require.Equal(t, CodeUsage, CodeOf(err), bad)
		require.NotContains(t, err.Error(), "u:p")
	}
}
