package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// The progress line tells percent and time left of a first pass too, where the source
// knows its end.
func TestProgressTellsWhatIsLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "wal.jsonl")
	var b strings.Builder
	for i := range 40_000 {
		fmt.Fprintf(&b, `{"i":%d,"ids":"1/%d/0","id":"","props":{},"payload":"%s"}`+"\n", i, i, strings.Repeat("A", 600))
	}
	require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o600))

	streams, _, errOut := TestStreams(strings.NewReader(""))
	streams.ErrTTY = true
	now := time.Unix(0, 0)
	f := &Factory{IO: streams, Now: func() time.Time { return now }, Getenv: func(string) string { return "" }}
	s := jsonl.Open(path)
	f.watch(s)
	show, done := f.Progress("verify")

	r, err := s.Open(context.Background(), source.Range{})
	require.NoError(t, err)
	defer r.Close()
	_, _ = r.Next(context.Background())
	now = now.Add(2 * time.Second)
	show(1, 0, -1)
	require.Regexp(t, `verify  1 records?  .*\d+ %  about \S+ left`, errOut.String())
	done()
	require.True(t, strings.HasSuffix(errOut.String(), "\r\x1b[K"), "the line is taken away")

	errOut.Reset()
	show, _ = f.progress("verify 2 logs", false)
	now = now.Add(2 * time.Second)
	show(1, 0, -1)
	require.NotContains(t, errOut.String(), "%", "of several logs, those not opened yet are not counted")
}
