package cmd

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/internal/testenv"
	"github.com/walctl/walctl/pkg/walreader/message"
)

// A connection that dies in the middle of a log ends no read as complete: every
// command fails, names the place reached, the end it was going to, the port and
// the cause. The broker's admin port lives, and dies with it.
func TestConnectionDiesLive(t *testing.T) {
	// Each command has proxies of its own, so that they wait at the same time.
	names := slices.Sorted(maps.Keys(readers(t, "")))
	broker, admin := map[string]*testenv.Proxy{}, map[string]*testenv.Proxy{}
	listeners := "inside:pulsar://127.0.0.1:${brokerServicePort}"
	for _, name := range names {
		broker[name], admin[name] = testenv.NewProxy(t, ""), testenv.NewProxy(t, "")
		listeners += "," + name + ":pulsar://" + broker[name].Addr()
	}
	b := testenv.PrivatePulsar(t, map[string]string{"internalListenerName": "inside", "advertisedListeners": listeners})
	topic := b.Topic(t, "by-dev-rootcoord-dml_1")
	records := make([]testenv.Record, 4000)
	for i := range records {
		records[i] = testenv.Record{ID: message.ID{Backend: message.BackendPulsar, A: 1, B: int64(i)}, Payload: make([]byte, 1000),
			Props: map[string]string{"_v": "1", "_t": "2", "_tt": "3kpvu3tx8ef4", "_lcs": "", "_h": ""}}
	}
	published := b.Publish(t, topic, records, 0)
	end := published.IDs[len(records)-1].String()
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker, admin := broker[name], admin[name]
			broker.Serve(strings.TrimPrefix(b.URL, "pulsar://"))
			admin.Serve(strings.TrimPrefix(b.AdminURL, "http://"))
			wal := strings.Replace(topic, "persistent://", "pulsar://"+broker.Addr()+"/", 1)
			more := []string{"--pulsar-admin", "http://" + admin.Addr(), "--pulsar-listener", name, "--broker-wait", "3s"}
			code, out, errOut := run(t, nil, append([]string{"inspect", wal}, more...)...)
			require.Equal(t, 0, code, errOut)
			require.Contains(t, out, "4,000 records")
			for _, how := range []testenv.Death{testenv.DeathFIN, testenv.DeathRST, testenv.DeathHang, testenv.DeathHalf, testenv.DeathGarbage} {
				for where, both := range map[string]bool{"broker": false, "both ports": true} {
					t.Run(string(how)+"/"+where, func(t *testing.T) {
						broker.Break(how, 1_500_000)
						if both {
							admin.Break(how, 4000)
						}
						defer broker.Mend()
						defer admin.Mend()
						code, out, errOut := run(t, nil, append(readers(t, wal)[name], more...)...)
						require.Equal(t, 1, code, errOut)
						require.NotContains(t, out, "records,")
						require.Regexp(t, `read (to \d+/\d+/0|nothing) of `+end, errOut)
						require.Contains(t, errOut, broker.Addr())
						require.NotContains(t, errOut, "EOF")
						if !both {
							require.Contains(t, errOut, wordsOf(how, false, broker.Addr()))
						}
					})
				}
			}
		})
	}
}
