package pulsar

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A broker's failure is shown as one line of words, never as its stack.
func TestReasonIsOneLineOfWords(t *testing.T) {
	for said, want := range map[string]string{
		"Topic not found": "Topic not found",
		"\n --- An unexpected error occurred in the server ---\n\nMessage: org.apache.bookkeeper.mledger.ManagedLedgerException: Not enough non-faulty bookies available error code: -6\n\nStacktrace:\n\njava.lang.X\n\tat y(Z.java:1)": "Not enough non-faulty bookies available error code: -6",
		"\n --- An unexpected error occurred in the server ---\n\nMessage: null\n\nStacktrace:\n": "null",
		strings.Repeat("é", 400): strings.Repeat("é", 150) + "…",
		"":                       "",
	} {
		text, err := json.Marshal(map[string]string{"reason": said})
		require.NoError(t, err)
		require.Equal(t, want, reason(text))
	}
	require.Empty(t, reason([]byte("<html>")))
}
