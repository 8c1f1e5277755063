package diagnose

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLogsAreKeptWithoutSecrets: whatever a node's log holds of credentials is not in
// the copy; what checks look for is.
func TestLogsAreKeptWithoutSecrets(t *testing.T) {
	lines := []string{
		`[2026/01/05 20:00:00.000 +00:00] [INFO] [storage/minio.go:1] ["new client"] [address=minio:9000] [secretAccessKey=S3CRET] [accessKeyID="S3CRET id"]`,
		`[WARN] [x.go:1] ["set config"] [key=minio.secretAccessKey] [minio.secretAccessKey=S3CRET]`,
		`[INFO] [x.go:1] ["connect"] [url="pulsar://admin:S3CRET@broker:6650/a?token=S3CRET&x=1"]`,
		`[INFO] [x.go:1] [msg="{\"user\":\"root\",\"password\":\"S3CRET with \\\" in it\",\"n\":1}"]`,
		`{"level":"info","etcd.auth.password":"S3CRET","vchannel":"by-dev-rootcoord-dml_0_1v0"}`,
		`GET /bucket/x?X-Amz-Signature=S3CRET&X-Amz-Security-Token=S3CRET HTTP/1.1`,
		`Authorization: Bearer S3CRETS3CRET`, `authorization=[Basic S3CRETS3CRET==]`,
		`[token=eyJhbGciOiJIUzI1NiJ9.S3CRET.S3CRET]`, `jwt eyJhbGciOiJIUzI1NiJ9.S3CRET.S3CRET end`,
		`password: S3CRET`, `passwd = 'S3CRET'`,
		`private_key="-----BEGIN KEY S3CRET"`,
	}
	plain := `[2026/01/05 20:00:01.000 +00:00] [WARN] [a.go:1] ["retry func failed"] [error="channel reduplicates[channel=by-dev-rootcoord-dml_0_1v0]"]` + "\n"
	var out strings.Builder
	c, err := CopyLog(&out, strings.NewReader(strings.Join(lines, "\n")+"\n"+plain), 1<<20)
	require.NoError(t, err)
	require.NotContains(t, out.String(), "S3CRET")
	require.Equal(t, CopiedLog{Lines: int64(len(lines) + 1), Hidden: int64(len(lines))}, c)
	require.True(t, strings.HasSuffix(out.String(), plain))
	require.Contains(t, out.String(), "by-dev-rootcoord-dml_0_1v0\"}", "what stands beside a secret stays")
	require.Contains(t, out.String(), "broker:6650/a")
}

// TestCopyLogIsBounded: a line without end, and a log without end.
func TestCopyLogIsBounded(t *testing.T) {
	var out strings.Builder
	c, err := CopyLog(&out, strings.NewReader(strings.Repeat("x", 3<<20)+"password=abc\nnext\n"), 1<<20)
	require.NoError(t, err)
	require.Equal(t, "***\nnext\n", out.String())
	require.Equal(t, int64(2), c.Lines)
	out.Reset()
	c, err = CopyLog(&out, strings.NewReader(strings.Repeat("a line\n", 100)), 70)
	require.NoError(t, err)
	require.True(t, c.Short)
	require.Equal(t, int64(10), c.Lines)
}
