package cmd

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/testenv"
)

// deathWords are what a screen says of each way a port can be dead.
var deathWords = map[testenv.Death]string{
	testenv.DeathFIN: "connection closed by HOST", testenv.DeathHalf: "connection closed by HOST",
	testenv.DeathRST: "connection reset by HOST", testenv.DeathRefused: "connection refused by HOST",
	testenv.DeathHang: "no answer from HOST", testenv.DeathGarbage: "HOST does not speak Pulsar's protocol",
	testenv.DeathTLS: "HOST speaks TLS; write pulsar+ssl:// before it", testenv.DeathHTTP: "HOST speaks HTTP and not Pulsar's protocol",
}

// adminWords are what is said of the admin port, where it is put differently.
var adminWords = map[testenv.Death]string{
	testenv.DeathGarbage: "HOST does not speak HTTP", testenv.DeathTLS: "HOST speaks TLS; write https:// before it",
	testenv.DeathHTTP: "HOST speaks HTTP and is no broker's admin port",
}

func wordsOf(how testenv.Death, admin bool, host string) string {
	words := deathWords[how]
	if w, ok := adminWords[how]; admin && ok {
		words = w
	}
	return strings.ReplaceAll(words, "HOST", host)
}

// readers are the commands that read a live log.
func readers(t *testing.T, wal string) map[string][]string {
	return map[string][]string{
		"inspect": {"inspect", wal}, "records": {"inspect", wal, "--records"}, "verify": {"verify", wal},
		"capture": {"capture", wal, "--no-catalog", "--dir", t.TempDir() + "/evidence"},
	}
}

// A broker whose two ports are dead is not reachable, whatever way they are dead
// in, and nobody is told to touch what is not there.
func TestDeadBroker(t *testing.T) {
	for _, how := range testenv.Deaths() {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			broker, admin := testenv.DeadPort(t, how), testenv.DeadPort(t, how)
			wal := "pulsar://" + broker + "/public/default/by-dev-rootcoord-dml_1"
			for name, args := range readers(t, wal) {
				code, out, errOut := run(t, nil, append(args, "--pulsar-admin", "http://"+admin, "--broker-wait", "900ms")...)
				require.Equal(t, 1, code, "%s: %s", name, errOut)
				require.NotContains(t, out, "records", name)
				require.Contains(t, errOut, "not reachable", name)
				require.Contains(t, errOut, wordsOf(how, false, broker), name)
				require.Contains(t, errOut, wordsOf(how, true, admin), name)
				require.NotContains(t, errOut, "--touch", name)
			}
		})
	}
}

// TLS asked for at a port without it is told as that, from both ports.
func TestTLSToAPlainPort(t *testing.T) {
	for _, how := range []testenv.Death{testenv.DeathHTTP, testenv.DeathGarbage, testenv.DeathFIN} {
		broker, admin := testenv.DeadPort(t, how), testenv.DeadPort(t, testenv.DeathHTTP)
		code, _, errOut := run(t, nil, "verify", "pulsar+ssl://"+broker+"/public/default/by-dev-rootcoord-dml_1",
			"--pulsar-admin", "https://"+admin, "--broker-wait", "900ms")
		require.Equal(t, 1, code, errOut)
		require.Contains(t, errOut, admin)
		require.Contains(t, errOut, "does not speak TLS")
	}
}

// fakeAdmin answers as the admin port of a broker with one topic of 4,000 records.
func fakeAdmin(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case strings.HasSuffix(path, "/retention"):
			_, _ = w.Write([]byte(`{"retentionTimeInMinutes":-1,"retentionSizeInMB":-1}`))
		case strings.HasSuffix(path, "/internal-info"):
			_, _ = w.Write([]byte(`{"ledgers":[{"ledgerId":12,"timestamp":1000}],"cursors":{}}`))
		case strings.HasSuffix(path, "/lastMessageId"):
			_, _ = w.Write([]byte(`{"ledgerId":12,"entryId":3999,"partitionIndex":-1,"batchIndex":-1}`))
		case strings.HasSuffix(path, "/internalStats"):
			_, _ = w.Write([]byte(`{"currentLedgerEntries":4000,"currentLedgerSize":400000,"ledgers":[{"ledgerId":12}]}`))
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"reason":"not here"}`))
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// With an admin port that lives and a broker's own that is dead, no command says
// anything of a log it has not read: the error names the port and how much there was.
func TestDeadBrokerPort(t *testing.T) {
	for _, how := range testenv.Deaths() {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			admin, broker := fakeAdmin(t), testenv.DeadPort(t, how)
			wal := "pulsar://" + broker + "/public/default/by-dev-rootcoord-dml_1"
			for name, args := range readers(t, wal) {
				code, out, errOut := run(t, nil, append(args, "--pulsar-admin", admin, "--broker-wait", "900ms")...)
				require.Equal(t, 1, code, "%s: %s", name, errOut)
				require.NotContains(t, out, "records", name)
				require.Contains(t, errOut, wordsOf(how, false, broker), name)
				require.Contains(t, errOut, "read nothing of 12/3999/0", name)
				require.NotContains(t, errOut, "EOF", name)
			}
		})
	}
}
