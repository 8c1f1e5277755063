package cmd

import (
	"regexp"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// namedCommand finds a command spelled out in a text, at the start of a line or
// behind a backtick or pipe.
var namedCommand = regexp.MustCompile("(?m)(?:^ *|[`|] *)walctl ([a-z]+)")

// No help page tells to run what this walctl does not have.
func TestNoHelpNamesAMissingCommand(t *testing.T) {
	f, _, _ := testFactory(nil)
	root := newRootCmd(f)
	named := 0
	var look func(*cobra.Command)
	look = func(c *cobra.Command) {
		for _, m := range namedCommand.FindAllStringSubmatch(c.Example+"\n"+c.Long, -1) {
			named++
			if found, _, err := root.Find([]string{m[1]}); (err != nil || found == root) && m[1] != "reads" {
				t.Errorf("%s: help names `walctl %s`, which does not exist", c.CommandPath(), m[1])
			}
		}
		for _, s := range c.Commands() {
			look(s)
		}
	}
	look(root)
	require.Greater(t, named, 10)
}

// The connection flags stand on one page and not on every other.
func TestHelpKeepsConnectionFlagsApart(t *testing.T) {
	code, out, _ := run(t, nil, "inspect", "--help")
	require.Equal(t, 0, code)
	require.NotContains(t, out, "--etcd-tls-ca")
	require.Contains(t, out, "walctl help connection")
	code, out, _ = run(t, nil, "help", "connection")
	require.Equal(t, 0, code)
	require.Contains(t, out, "--etcd-tls-ca")
	require.Contains(t, out, "WALCTL_PULSAR_TOKEN")
}

// An archive of manual pages can be made from what the binary knows.
func TestManPages(t *testing.T) {
	code, _, errOut := run(t, nil, "man", "--dir", t.TempDir())
	require.Equal(t, 0, code, errOut)
}
