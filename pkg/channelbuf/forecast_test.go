package channelbuf

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/order"
)

func on(vchannel string, d order.Delivery) order.Delivery {
	d.Message.VChannel, d.Message.Flags = vchannel, message.HasVChannel
	d.Message.PayloadSize = int64(len(d.Message.Payload))
	return d
}

// TestForecastMatchesBuffers replays one log both ways.
func TestForecastMatchesBuffers(t *testing.T) {
	starts := map[string]uint64{"p_1v0": 3, "p_2v0": 0}
	budget := NewBudget(0)
	r := NewRegistry(budget, t.TempDir())
	feeder, err := NewFeeder(r, budget.Join(), 1, starts)
	require.NoError(t, err)
	forecast := NewForecaster("p", starts, Policy{InsertBufSize: 8 << 10})
	var peak int64
	for tick := uint64(1); tick <= 400; tick++ {
		v := []string{"p_1v0", "p_2v0"}[tick%2]
		d := on(v, insert(tick, int64(tick%6), 900))
		if tick == 200 {
			d = on(v, flush(tick, 2))
		}
		require.NoError(t, feeder.Observe(context.Background(), d))
		forecast.Observe(d)
		peak = max(peak, budget.Usage().Used)
	}
	got := forecast.Forecast()
	require.InEpsilon(t, peak, got.Held, 0.2)
	require.Less(t, got.Peak, got.Held, "syncs at the threshold lower the peak")
	require.Greater(t, got.Stalled, got.Held, "without syncs even sealed rows stay")
	require.EqualValues(t, 3*(400-1-1-33), got.Rows, "less the message at the checkpoint, the flush, and 33 inserts behind the flush")
}

func TestVerdicts(t *testing.T) {
	p := DefaultPolicy()
	p.NodeMemory = 1 << 30
	for _, c := range []struct {
		peak, stalled int64
		want          Verdict
	}{{10 << 20, 20 << 20, VerdictFits}, {10 << 20, 600 << 20, VerdictTight}, {1 << 30, 2 << 30, VerdictExceeds}} {
		n := ForNode("1", []PChannelForecast{{PChannel: "p", Peak: c.peak, Stalled: c.stalled}}, p)
		require.Equal(t, c.want, n.Verdict)
		require.Equal(t, c.want == VerdictFits, len(n.Levers) == 0)
	}
	p.NodeMemory = 0
	require.Equal(t, VerdictUnknown, ForNode("1", nil, p).Verdict)
}
