package diagnose

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// raw is a message as a mutation may change it: nothing of it is decoded.
type raw struct {
	id      message.ID
	form    message.Form
	props   map[string]string
	payload []byte
	was     *message.Message
}

func rawLog(ms []*message.Message) []*raw {
	out := make([]*raw, len(ms))
	for i, m := range ms {
		r := &raw{id: m.ID, form: m.Form(), props: map[string]string{}, payload: m.Payload, was: m}
		for _, p := range m.Props {
			r.props[p.Key] = p.Value
		}
		out[i] = r
	}
	return out
}

func (r *raw) clone() *raw {
	c := *r
	c.props = map[string]string{}
	for k, v := range r.props {
		c.props[k] = v
	}
	return &c
}

func decodeLog(log []*raw) []*message.Message {
	var d message.Decoder
	out := make([]*message.Message, len(log))
	for i, r := range log {
		if r.was != nil {
			out[i] = r.was
			continue
		}
		m := &message.Message{Ordinal: int64(i), Payload: r.payload}
		m.SetRawID(r.id, r.form, "")
		for k, v := range r.props {
			m.Props = append(m.Props, message.Property{Key: k, Value: v})
		}
		m.Props.Sort()
		d.Decode(m)
		m.Checksum = message.ComputeChecksum(m.Props, m.Payload)
		out[i] = m
	}
	return out
}

// mutation changes log at k and returns the changed log, nil where it does not apply.
type mutation struct {
	name string
	do   func(log []*raw, k int) []*raw
}

// at changes one message's properties.
func at(name string, change func(r *raw, log []*raw, k int) bool) mutation {
	return mutation{name, func(log []*raw, k int) []*raw {
		out := slices.Clone(log)
		out[k] = log[k].clone()
		out[k].was = nil
		if !change(out[k], log, k) {
			return nil
		}
		return out
	}}
}

func tick(r *raw) uint64 {
	n, _ := strconv.ParseUint(r.props["_tt"], 36, 64)
	return n
}

func setTick(r *raw, tt uint64) { r.props["_tt"] = strconv.FormatUint(tt, 36) }

func isTick(r *raw) bool { return r.props["_t"] == "1" }

// renumber gives log the ids of the original and moves every last confirmed id along.
func renumber(out, log []*raw) []*raw {
	to := map[message.ID]*raw{}
	for i, r := range out {
		to[r.id] = log[i]
	}
	var last *raw
	for _, r := range log { // what is gone points at what stands before it
		if to[r.id] == nil {
			to[r.id] = last
		} else {
			last = to[r.id]
		}
	}
	res := make([]*raw, len(out))
	for i, r := range out {
		c := r.clone()
		c.was = nil
		c.id, c.form = log[i].id, log[i].form
		if lc, ok := c.props["_lc"]; ok {
			if id, _, err := message.ParseRaw(r.id.Backend, lc); err == nil && to[id] != nil {
				c.props["_lc"] = to[id].id.Raw(to[id].form)
			}
		}
		res[i] = c
	}
	return res
}

func swapTicks(name string, d int, sameWindow bool) mutation {
	return mutation{name, func(log []*raw, k int) []*raw {
		j := k + d
		if j >= len(log) || isTick(log[k]) || isTick(log[j]) {
			return nil
		}
		for i := k; i <= j; i++ {
			if isTick(log[i]) == sameWindow {
				if sameWindow {
					return nil
				}
			}
		}
		out := slices.Clone(log)
		out[k], out[j] = log[k].clone(), log[j].clone()
		out[k].was, out[j].was = nil, nil
		out[k].props["_tt"], out[j].props["_tt"] = log[j].props["_tt"], log[k].props["_tt"]
		return out
	}}
}

func remove(key string) mutation {
	return at("remove "+key, func(r *raw, _ []*raw, _ int) bool {
		if key == "_wt" && isTick(r) || key == "_vc" && isTick(r) {
			return false
		}
		_, ok := r.props[key]
		delete(r.props, key)
		return ok
	})
}

func garble(key string) mutation {
	return at("garble "+key, func(r *raw, _ []*raw, _ int) bool {
		_, ok := r.props[key]
		r.props[key] = "!?"
		return ok
	})
}

func proto1(b []byte, field protowire.Number, v uint64) []byte {
	out := []byte{}
	done := false
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		m := n + protowire.ConsumeFieldValue(num, typ, b[n:])
		if num == field {
			out = protowire.AppendVarint(protowire.AppendTag(out, field, protowire.VarintType), v)
			done = true
		} else {
			out = append(out, b[:m]...)
		}
		b = b[m:]
	}
	if !done {
		out = protowire.AppendVarint(protowire.AppendTag(out, field, protowire.VarintType), v)
	}
	return out
}

func setProto(r *raw, key string, field protowire.Number, v uint64) {
	b, _ := base64.StdEncoding.DecodeString(r.props[key])
	r.props[key] = base64.StdEncoding.EncodeToString(proto1(b, field, v))
}

func mutations() []mutation {
	ms := []mutation{
		{"drop", func(log []*raw, k int) []*raw { return slices.Delete(slices.Clone(log), k, k+1) }},
		{"drop, renumbered", func(log []*raw, k int) []*raw {
			return renumber(slices.Delete(slices.Clone(log), k, k+1), log)
		}},
		{"double, same id", func(log []*raw, k int) []*raw { return slices.Insert(slices.Clone(log), k, log[k]) }},
		{"swap places", func(log []*raw, k int) []*raw {
			if k+1 >= len(log) {
				return nil
			}
			out := slices.Clone(log)
			out[k], out[k+1] = out[k+1], out[k]
			return out
		}},
		{"swap places, renumbered", func(log []*raw, k int) []*raw {
			if k+1 >= len(log) {
				return nil
			}
			out := slices.Clone(log)
			out[k], out[k+1] = out[k+1], out[k]
			return renumber(out, log)
		}},
		{"move behind next TimeTick, renumbered", func(log []*raw, k int) []*raw {
			if isTick(log[k]) {
				return nil
			}
			j := k
			for j < len(log) && !(isTick(log[j]) && tick(log[j]) >= tick(log[k])) {
				j++
			}
			if j == len(log) {
				return nil
			}
			out := slices.Delete(slices.Clone(log), k, k+1)
			return renumber(slices.Insert(out, j, log[k]), log)
		}},
		at("tick raised", func(r *raw, log []*raw, k int) bool {
			if !isTick(r) || k+4 >= len(log) {
				return false
			}
			setTick(r, tick(log[k+3])+1)
			return tick(r) > tick(log[k])
		}),
		at("tick lowered to the one before", func(r *raw, log []*raw, k int) bool {
			for j := k - 1; isTick(r) && j >= 0; j-- {
				if isTick(log[j]) {
					setTick(r, tick(log[j])-1)
					return true
				}
			}
			return false
		}),
		at("tt far ahead", func(r *raw, _ []*raw, _ int) bool { setTick(r, tick(r)+60000<<18); return !isTick(r) }),
		at("tt far behind", func(r *raw, _ []*raw, _ int) bool { setTick(r, tick(r)-60000<<18); return !isTick(r) }),
		at("tt of the neighbour", func(r *raw, log []*raw, k int) bool {
			if k == 0 || isTick(r) || isTick(log[k-1]) {
				return false
			}
			r.props["_tt"] = log[k-1].props["_tt"]
			return true
		}),
		swapTicks("swap tts of neighbours", 1, true),
		swapTicks("swap tts, 5 apart", 5, true),
		swapTicks("swap tts, 40 apart", 40, false),
		at("term +1", func(r *raw, _ []*raw, _ int) bool { return addTerm(r, 1) }),
		at("term -1", func(r *raw, _ []*raw, _ int) bool { return addTerm(r, -1) }),
		at("version 0", func(r *raw, _ []*raw, _ int) bool { r.props["_v"] = "0"; return true }),
		at("version 1<>2", func(r *raw, _ []*raw, _ int) bool {
			r.props["_v"] = map[string]string{"1": "2", "2": "1"}[r.props["_v"]]
			return true
		}),
		at("type unknown", func(r *raw, _ []*raw, _ int) bool { r.props["_t"] = "77"; return true }),
		at("type 999", func(r *raw, _ []*raw, _ int) bool { r.props["_t"] = "999"; return true }),
		at("Insert to Delete", func(r *raw, _ []*raw, _ int) bool { ok := r.props["_t"] == "2"; r.props["_t"] = "3"; return ok }),
		at("not persisted", func(r *raw, _ []*raw, _ int) bool { r.props["_np"] = ""; return true }),
		at("both lc", func(r *raw, _ []*raw, _ int) bool { r.props["_lcs"] = ""; return true }),
		at("lc to lcs", func(r *raw, _ []*raw, _ int) bool { delete(r.props, "_lc"); r.props["_lcs"] = ""; return !isTick(r) }),
		at("lc own id", func(r *raw, _ []*raw, _ int) bool { return setLC(r, r) }),
		at("lc of next", func(r *raw, log []*raw, k int) bool { return k+1 < len(log) && setLC(r, log[k+1]) }),
		at("lc first", func(r *raw, log []*raw, _ int) bool { return setLC(r, log[0]) && r.props["_lc"] != "" }),
		at("lc to message before", func(r *raw, log []*raw, k int) bool { return k > 0 && setLC(r, log[k-1]) && !isTick(r) }),
		at("lc to nowhere", func(r *raw, _ []*raw, _ int) bool {
			id := r.id
			id.A, id.B, id.Batch = id.A-1000, 1<<30, 0
			if id.A < 0 {
				id.A = 0
			}
			if _, ok := r.props["_lc"]; !ok {
				return false
			}
			r.props["_lc"] = id.Raw(r.form)
			return true
		}),
		at("barrier own tt", func(r *raw, _ []*raw, _ int) bool { r.props["_btt"] = r.props["_tt"]; return !isTick(r) }),
		at("other vchannel", func(r *raw, log []*raw, k int) bool {
			for j := k; j < len(log); j++ {
				if v := log[j].props["_vc"]; v != "" && v != r.props["_vc"] && r.props["_vc"] != "" && !strings.HasSuffix(v, "vcchan") {
					r.props["_vc"] = v
					return true
				}
			}
			return false
		}),
		at("unknown vchannel", func(r *raw, _ []*raw, _ int) bool { r.props["_vc"] += "9"; return !isTick(r) }),
		at("txn id +1", func(r *raw, _ []*raw, _ int) bool {
			b, ok := r.props["_tx"]
			if !ok {
				return false
			}
			raw, _ := base64.StdEncoding.DecodeString(b)
			_, _, n := protowire.ConsumeTag(raw)
			id, _ := protowire.ConsumeVarint(raw[n:])
			setProto(r, "_tx", 1, id+1_000_003)
			return true
		}),
		at("broadcast id 0", func(r *raw, _ []*raw, _ int) bool {
			_, ok := r.props["_bh"]
			setProto(r, "_bh", 1, 0)
			return ok
		}),
		at("CreateSegment elsewhere", func(r *raw, _ []*raw, _ int) bool {
			if r.props["_t"] != "10" && r.props["_t"] != "4" {
				return false
			}
			setProto(r, "_h", 3, 12345)
			return true
		}),
		at("rh on self", func(r *raw, _ []*raw, _ int) bool {
			if r.props["_t"] != "1" && r.props["_t"] != "10" {
				return false
			}
			r.props["_rh"] = "CgNzcmM="
			return true
		}),
		at("rh added", func(r *raw, _ []*raw, _ int) bool {
			_, has := r.props["_rh"]
			r.props["_rh"] = "CgN4eXo="
			return !has && r.props["_t"] == "2"
		}),
	}
	for _, key := range []string{"_v", "_t", "_tt", "_wt", "_lc", "_vc", "_h", "_tx", "_bh", "_rh"} {
		ms = append(ms, remove(key), garble(key))
	}
	return ms
}

func addTerm(r *raw, d int64) bool {
	n, err := strconv.ParseInt(r.props["_wt"], 36, 64)
	if err != nil {
		return false
	}
	r.props["_wt"] = strconv.FormatInt(n+d, 36)
	return true
}

func setLC(r, to *raw) bool {
	if _, ok := r.props["_lc"]; !ok {
		return false
	}
	old := r.props["_lc"]
	r.props["_lc"] = to.id.Raw(to.form)
	return old != r.props["_lc"]
}

// traceless are the mutations that some places bear without a trace any rule can
// see, and why. Of every other kind each one must be found.
var traceless = map[string]string{
	"drop":                    "the last message of an entry whose size the id does not tell",
	"drop, renumbered":        "nobody refers to the message; a lost Commit looks like an abandoned transaction",
	"swap places, renumbered": "appends in flight at once may land in any order",
	"swap tts of neighbours":  "appends in flight at once may land in any order",
	"swap tts, 5 apart":       "appends in flight at once may land in any order",
	"swap tts, 40 apart":      "appends in flight at once may land in any order",
	"lc first":                "a TimeTick may take an old id when nothing newer was confirmed",
	"lc to message before":    "the message before may have been confirmed already",
	"remove _tx":              "an insert or delete may stand outside any transaction",
	"remove _bh":              "the first definition change of its type may come from a writer that did not broadcast",
	"CreateSegment elsewhere": "no insert ever asked for the segment",
}

// TestVerifyMutants changes sound logs in every way a log can be damaged, at
// many places, and holds verify to finding each that leaves a trace.
// WALCTL_MUTANTS=1 looks at more places and prints what was not found.
func TestVerifyMutants(t *testing.T) {
	mutable := []string{"small", "live-pulsar", "live-woodpecker", "v3-small", "3k-secondary", "1k-alterwal"}
	places := 12
	if os.Getenv("WALCTL_MUTANTS") != "" {
		places = 60
	}
	logs := map[string][]*raw{}
	for _, name := range mutable {
		logs[name] = rawLog(goldenMessages(t, name))
	}
	for _, m := range mutations() {
		t.Run(m.name, func(t *testing.T) {
			made, missed := 0, []string{}
			for _, name := range mutable {
				log := logs[name]
				for k := 1; k < len(log)-1; k += max(1, len(log)/places) {
					out := m.do(log, k)
					if out == nil {
						continue
					}
					r, err := Verify(context.Background(), columnsOf(decodeLog(out)), VerifyOptions{})
					if err != nil {
						t.Fatal(err)
					}
					if made++; r.Broken == 0 {
						missed = append(missed, fmt.Sprintf("%s %s %s", name, log[k].id, log[k].was.Type))
					}
				}
			}
			if len(missed) > 0 && traceless[m.name] == "" {
				t.Errorf("%d of %d not found: %v", len(missed), made, missed)
			}
			if made == 0 || len(missed) == made {
				t.Errorf("nothing found of %d", made)
			}
			t.Logf("%d of %d found; not: %v", made-len(missed), made, missed)
		})
	}
}

// TestVerifyNeverPanics piles damage on damage: the engines end, whatever the log.
func TestVerifyNeverPanics(t *testing.T) {
	log := rawLog(goldenMessages(t, "small"))
	all := mutations()
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		out := log
		for range 40 {
			if next := all[rng.IntN(len(all))].do(out, 1+rng.IntN(len(out)-2)); next != nil {
				out = next
			}
		}
		ms := decodeLog(out)
		r, err := Verify(context.Background(), columnsOf(ms), VerifyOptions{ListDropped: true})
		require.NoError(t, err)
		require.NotZero(t, r.Broken)
		_, err = TimeTicks(context.Background(), columnsOf(ms), TickOptions{})
		require.NoError(t, err)
	}
}

// TestVerifyHostileOrder: a log in reverse, one without any TimeTick, and one of
// Begins alone cost neither time nor memory without bound.
func TestVerifyHostileOrder(t *testing.T) {
	const n = 600_000
	build := func(typ message.Type, tt func(i int) uint64) *memory {
		ms := make([]*message.Message, n)
		for i := range ms {
			ms[i] = &message.Message{ID: message.ID{Backend: message.BackendPulsar, A: 1, B: int64(i)}, Version: 2, Type: typ,
				Flags:    message.HasTimeTick | message.HasHeader | message.HasTerm | message.HasLastConfirmed | message.HasVChannel | message.HasTxn,
				TimeTick: tt(i), Term: 1, VChannel: "p_1v0", TxnID: int64(i), Keepalive: 1}
		}
		return columnsOf(ms)
	}
	for name, m := range map[string]*memory{
		"reverse":  build(message.TypeBeginTxn, func(i int) uint64 { return uint64(n-i) << 18 }),
		"no ticks": build(message.TypeBeginTxn, func(i int) uint64 { return uint64(i+1) << 18 }),
		"one tt":   build(message.TypeDelete, func(int) uint64 { return 7 << 18 }),
	} {
		v := newVerifier(VerifyOptions{})
		for _, c := range m.batches {
			v.batch(c)
			require.LessOrEqual(t, v.window.size(), maxWindow, name)
		}
		v.report()
		require.LessOrEqual(t, len(v.found.groups), maxGroups, name)
	}
}
