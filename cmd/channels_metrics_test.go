package cmd

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/demo"
	"github.com/walctl/walctl/pkg/walreader/archive"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// TestChannelsSeesLiveNodes: two nodes with one WAL open, from endpoints and from
// what an archive carries.
func TestChannelsSeesLiveNodes(t *testing.T) {
	metrics := func(node, term int, state string) string {
		return fmt.Sprintf("milvus_wal_info{channel_name=%q,node_id=\"%d\",term=\"%d\"} 1\nmilvus_wal_recovery_info{channel_name=%q,node_id=\"%d\",term=\"%d\",state=%q} 1\n",
			"by-dev-rootcoord-dml_0", node, term, "by-dev-rootcoord-dml_0", node, term, state)
	}
	serve := func(text string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }))
		t.Cleanup(s.Close)
		return s.URL + "/metrics"
	}
	dir := filepath.Join(t.TempDir(), "d")
	_, err := demo.Build(context.Background(), "healthy", dir)
	require.NoError(t, err)

	code, out, errOut := run(t, nil, "channels", dir, "-o", "wide", "--metrics", serve(metrics(1, 3, "working")))
	require.Equal(t, 0, code, errOut)
	require.Contains(t, out, "node 1 term 3 working")
	require.NotContains(t, out, "NOT CHECKED")

	code, out, _ = run(t, nil, "channels", dir, "-o", "wide", "--metrics", serve(metrics(1, 3, "working"))+","+serve(metrics(2, 2, "stream-recovering")))
	require.Equal(t, 3, code)
	require.Contains(t, out, "CRITICAL  wal-owned-twice")
	require.Contains(t, out, "node 2 term 2 stream-recovering")

	dir = filepath.Join(t.TempDir(), "without")
	_, err = demo.Build(context.Background(), "crash", dir)
	require.NoError(t, err)
	w, err := archive.NewWriter(dir, archive.WriterOptions{PChannel: "by-dev-rootcoord-dml_0", Backend: message.BackendPulsar})
	require.NoError(t, err)
	require.NoError(t, w.AddEvidence(archive.Evidence{Name: "metrics.txt", CapturedAt: time.Unix(1, 0).UTC()}, []byte(metrics(7, 1, "persist-recovering"))))
	require.NoError(t, w.Close())
	code, out, errOut = run(t, nil, "channels", dir, "-o", "wide")
	require.Equal(t, 0, code, errOut)
	require.Contains(t, out, "wal-term-differs")
	require.Contains(t, out, "node 7 term 1 persist-recovering")
}
