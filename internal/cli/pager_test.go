package cli

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPager(t *testing.T) {
	if _, err := exec.LookPath("tr"); err != nil {
		t.Skip("no tr on this machine to stand for a pager")
	}
	for _, c := range []struct {
		name     string
		terminal bool
		flag     bool
		env      map[string]string
		want     string
	}{
		{"named by its variable", true, false, map[string]string{"WALCTL_PAGER": "tr a-z A-Z"}, "ANSWER\n"},
		{"asked for", true, true, map[string]string{"PAGER": "tr a-z A-Z"}, "ANSWER\n"},
		{"not asked for", true, false, map[string]string{"PAGER": "tr a-z A-Z"}, "answer\n"},
		{"cat is none", true, true, map[string]string{"WALCTL_PAGER": "cat"}, "answer\n"},
		{"no terminal", false, true, map[string]string{"WALCTL_PAGER": "tr a-z A-Z"}, "answer\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, out, _ := TestStreams(strings.NewReader(""))
			s.OutTTY = c.terminal
			f := &Factory{IO: s, Pager: c.flag, Getenv: func(k string) string { return c.env[k] }}
			f.page()
			_, err := s.Out.WriteString("answer\n")
			require.NoError(t, err)
			require.NoError(t, s.Close())
			require.Equal(t, c.want, out.String())
		})
	}
}

// A pager that is not there is told with what to do; nothing is shown as if it were all.
func TestPagerThatIsNotThere(t *testing.T) {
	s, out, _ := TestStreams(strings.NewReader(""))
	s.OutTTY = true
	f := &Factory{IO: s, Getenv: func(k string) string {
		return map[string]string{"WALCTL_PAGER": "no-such-pager"}[k]
	}}
	f.page()
	_, err := s.Out.Write(bytes.Repeat([]byte("a"), 1<<20))
	require.ErrorContains(t, err, "WALCTL_PAGER")
	require.Error(t, s.Close())
	require.Empty(t, out.String())
}
