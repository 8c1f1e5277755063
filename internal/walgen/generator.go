package walgen

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// syncEvery is how often a node emits a TimeTick, in microseconds.
const syncEvery = 200_000

// slowest is how long an append stays in flight at most, in microseconds.
const slowest = 40_000

// Generator writes one log, message by message. It is not safe for concurrent use.
type Generator struct {
	cfg     Config
	rng     *rand.Rand
	pos     position
	tso     tso
	decoder message.Decoder
	out     ring[*message.Message]
	ordinal int64
	scratch []byte
	arena   []byte
	spare   []*appendOp

	// Memory that many messages share.
	messages []message.Message
	props    []message.Property
	text     []byte
	keys     []int64

	clock, nextSync, lastPersist int64 // microseconds since the Unix epoch

	// The append pipeline: docs/rules.md#timetick.
	pending       []*appendOp // in flight, by TimeTick
	unconfirmed   ring[acked] // written, by id
	lcQueue       ring[lcAt]
	lastTT        uint64 // last allocated
	lastData      uint64 // last allocated to an append
	lastTick      uint64 // last TimeTick emitted, persisted or not
	lastTickID    message.ID
	lastConfirmed message.ID
	walLocked     bool

	// Terms.
	term      int64
	termRaw   string
	opening   bool
	openings  int
	stored    storedCheckpoint // the consume checkpoint as the catalog holds it
	first     storedCheckpoint
	recovered []*txn

	// The cluster's content.
	colls     []*collection
	control   *scope
	hostCC    string // the control channel's name, wherever it is hosted
	pchannels []string
	open      []*txn
	unended   []*txn
	tasks     []func() bool
	nextID    int64 // collections, partitions, broadcasts: the same on every pchannel
	nextLocal int64 // segments, transactions
	bcasts    uint64
	replic    bool
	wantsSec  bool
	srcTT     uint64
	srcEntry  int64
	srcRH     string
	idles     int
	state     runState
	rows      uint64     // inserted
	ratios    [4]float64 // DDL, transactions, upserts, deletes: summed up
}

type storedCheckpoint struct {
	id message.ID
	tt uint64
}

type runState uint8

const (
	running runState = iota
	tailing
	finished
)

// New returns the generator of the log cfg describes.
func New(cfg Config) *Generator {
	cfg.setDefaults()
	g := &Generator{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x77a1c71))}
	g.pos = newPosition(&g.cfg)
	g.clock = cfg.Start.UnixMicro()
	g.nextID = cfg.Collection0 + 1
	g.nextLocal = cfg.Collection0 + 10_000_000_000_000 + int64(pchannelIndex(cfg.PChannel))*100_000_000_000
	g.srcTT = uint64(cfg.Start.Add(-time.Hour).UnixMilli()) << 18
	g.wantsSec = cfg.Secondary
	sum := 0.0
	for i, r := range [...]float64{cfg.DDLRatio, cfg.TxnRatio, cfg.UpsertRatio, cfg.DeleteRatio} {
		sum += max(r, 0)
		g.ratios[i] = sum
	}
	g.layout()
	g.openTerm()
	for range cfg.Collections {
		g.createCollection()
	}
	return g
}

// layout names the cluster's pchannels and where the control channel lives.
func (g *Generator) layout() {
	base := strings.TrimRight(g.cfg.PChannel, "0123456789")
	own := pchannelIndex(g.cfg.PChannel)
	for i := range g.cfg.Shards {
		g.pchannels = append(g.pchannels, base+strconv.Itoa(own-g.cfg.ShardIndex+i))
	}
	if own < g.cfg.ShardIndex || g.cfg.ShardIndex >= g.cfg.Shards { // names that count otherwise
		g.pchannels = g.pchannels[:0]
		for i := range g.cfg.Shards {
			g.pchannels = append(g.pchannels, base+strconv.Itoa(100+i))
		}
	}
	g.cfg.ShardIndex = min(g.cfg.ShardIndex, g.cfg.Shards-1)
	g.pchannels[g.cfg.ShardIndex] = g.cfg.PChannel
	host := g.cfg.PChannel
	if g.cfg.NoControlChannel {
		host = g.pchannels[(g.cfg.ShardIndex+1)%len(g.pchannels)]
		if host == g.cfg.PChannel {
			host = base + strconv.Itoa(own+1)
		}
		def(&g.cfg.ControlPChannel, host)
		host = g.cfg.ControlPChannel
	}
	g.hostCC = host + "_vcchan"
	g.control = &scope{name: g.hostCC, ready: true}
}

func pchannelIndex(name string) int {
	n, _ := strconv.Atoi(name[len(strings.TrimRight(name, "0123456789")):])
	return n
}

func (g *Generator) nowMS() int64 { return g.clock / 1000 }

// Next returns the next message of the log, or false at its end.
func (g *Generator) Next() (*message.Message, bool) {
	for g.out.len() == 0 {
		if g.state == finished {
			return nil, false
		}
		g.step()
	}
	m := *g.out.front()
	g.out.pop()
	return m, true
}

// Messages returns the whole log from where Next stands.
func (g *Generator) Messages() []*message.Message {
	out := make([]*message.Message, 0, min(g.cfg.Messages, 1<<16)+64)
	for m, ok := g.Next(); ok; m, ok = g.Next() {
		out = append(out, m)
	}
	return out
}

func (g *Generator) emit(m *message.Message) { g.out.push(m) }

func (g *Generator) step() {
	if len(g.pending) > 0 && g.clock-g.pending[0].started > slowest {
		g.write(0)
		return
	}
	if g.clock >= g.nextSync && g.state == running {
		g.sync(false)
		g.nextSync = g.clock - g.clock%syncEvery + syncEvery
		return
	}
	if len(g.pending) > 0 && (len(g.pending) >= g.limit() || g.rng.Uint32()&1 == 0) {
		g.write(g.rng.IntN(len(g.pending)))
		return
	}
	if g.boundary() {
		return
	}
	if !g.launch() && len(g.pending) > 0 {
		g.write(g.rng.IntN(len(g.pending)))
	}
	mean := 1_000_000 / g.cfg.Rate
	g.clock += int64(mean/2 + g.rng.IntN(mean+1))
}

func (g *Generator) limit() int {
	if g.replic { // a replica appends in its source's order
		return 1
	}
	return g.cfg.Concurrency
}

// boundary handles what happens at set places of the log: its end, the end of
// a term, an idle stretch. It reports whether it did anything.
func (g *Generator) boundary() bool {
	n, total := int(g.ordinal), g.cfg.Messages
	if g.cfg.Rows > 0 && g.rows >= g.cfg.Rows && g.state == running {
		n = total
	}
	switch {
	case g.state == tailing:
		if n >= total+g.cfg.Tail {
			g.state = finished
			return true
		}
	case n >= total:
		g.drain(nil)
		g.sync(true)
		if g.cfg.AlterWAL != message.BackendUnknown {
			g.alterWAL()
		}
		g.state, g.cfg.Messages = tailing, int(g.ordinal)
		g.cfg.Rows = 0
		return true
	case n >= total*g.openings/g.cfg.Terms:
		g.endTerm()
		g.openTerm()
		return true
	case g.idles < g.cfg.IdleStretches && n >= total*(g.idles+1)/(g.cfg.IdleStretches+1):
		g.idles++
		g.drain(nil)
		g.sync(false)
		g.clock += g.cfg.Idle.Microseconds()
		g.nextSync = g.clock
		return true
	case g.wantsSec && n >= total/4:
		g.wantsSec = false
		g.becomeSecondary()
		return true
	}
	return false
}

// drain writes every append in flight in the scope; nil is all of them.
func (g *Generator) drain(s *scope) {
	for {
		n := 0
		for _, op := range g.pending {
			if s == nil || op.scope == s {
				n++
			}
		}
		if n == 0 {
			return
		}
		n = g.rng.IntN(n)
		for i, op := range g.pending {
			if s != nil && op.scope != s {
				continue
			}
			if n == 0 {
				g.write(i)
				break
			}
			n--
		}
	}
}

// checkpoint stores the consume checkpoint every ten seconds.
func (g *Generator) checkpoint(tt uint64, lc message.ID) {
	if g.clock-g.lastPersist >= 10_000_000 {
		g.stored, g.lastPersist = storedCheckpoint{id: lc, tt: tt}, g.clock
	}
}

// endTerm takes the log from its owner: cleanly, or with its last appends
// unconfirmed, or with appends that never reached the log.
func (g *Generator) endTerm() {
	how := g.rng.IntN(3)
	if how == 2 && !g.replic {
		for i := len(g.pending) - 1; i >= 0; i-- {
			if op := g.pending[i]; op.typ == message.TypeInsert || op.typ == message.TypeDelete {
				g.lose(i)
			}
		}
	}
	g.drain(nil)
	if how == 0 {
		g.sync(false)
	}
	g.clock += int64(500_000 + g.rng.IntN(4_000_000))
}

// lose drops the i-th append in flight: its writer died before it was sent.
func (g *Generator) lose(i int) {
	op := g.pending[i]
	g.pending = append(g.pending[:i], g.pending[i+1:]...)
	op.scope.inflight--
	if op.seg != nil {
		op.seg.inflight--
	}
	if t := op.txn; t != nil {
		t.inflight--
		t.fate = fateAbandon
	}
	g.free(op)
}

// openTerm writes the opening TimeTick of a new term. docs/rules.md#opening-timetick
func (g *Generator) openTerm() {
	g.openings++
	g.term += int64(1 + g.rng.IntN(8)/7)
	g.termRaw = strconv.FormatInt(g.term, 36)
	if g.openings > 1 && g.rng.IntN(2) == 0 {
		g.pos.roll(g.rng)
	}
	g.unconfirmed.reset()
	tt := g.allocate()
	g.lcQueue.reset()
	g.lastTT, g.lastTick = tt, tt
	g.opening = true
	g.emitTimeTick(tt, g.stored.id, g.openings == 1)
	g.opening = false
	if g.openings == 1 {
		g.stored.id = g.lastTickID
	}
	g.stored.tt = tt
	if g.openings == 1 {
		g.first = g.stored
	}
	g.lastConfirmed = g.lastTickID
	g.recover(tt)
	g.nextSync, g.lastPersist = g.clock, g.clock
	if g.rng.IntN(2) == 0 {
		g.sync(true)
	}
}

// recover takes over the transactions the log leaves open: none of them may lie
// behind the last confirmed id until it is over.
func (g *Generator) recover(tt uint64) {
	live := g.unended[:0]
	g.recovered = nil
	for _, t := range g.unended {
		ghost := *t
		ghost.done = false
		if ghost.over(tt) {
			continue
		}
		live = append(live, t)
		if t.done {
			g.recovered = append(g.recovered, &ghost)
		} else {
			g.recovered = append(g.recovered, t)
		}
		if t.beginLC.Less(g.lastConfirmed) {
			g.lastConfirmed = t.beginLC
		}
	}
	g.unended = live
}
