package walgen

import (
	"strconv"

	"github.com/milvus-io/milvus/pkg/v3/proto/messagespb"
	"google.golang.org/protobuf/proto"

	"github.com/walctl/walctl/pkg/walreader/message"
)

func (e *edit) tick(i int) bool { return e.ms[i].Type == message.TypeTimeTick }

// nextTick returns the index of the first TimeTick at or after i, or len(ms).
func (e *edit) nextTick(i int) int {
	for i < len(e.ms) && !e.tick(i) {
		i++
	}
	return i
}

// staleWriter lets the owner of an old term go on after the new term's opening
// TimeTick: its appends carry TimeTicks below it.
func (e *edit) staleWriter() bool {
	var openings []int
	for i, m := range e.ms {
		if i > 0 && m.OpensTerm() {
			openings = append(openings, i)
		}
	}
	e.rng.Shuffle(len(openings), func(i, j int) { openings[i], openings[j] = openings[j], openings[i] })
	for _, at := range openings {
		if e.goesOn(at) {
			return true
		}
	}
	return false
}

// goesOn writes copies of the old term's last inserts and deletes, with
// TimeTicks of their own, behind the opening TimeTick at index at.
func (e *edit) goesOn(at int) bool {
	opening, top := e.ms[at], uint64(0)
	var models []*message.Message
	for i := at - 1; i >= 0 && !e.ms[i].OpensTerm(); i-- {
		top = max(top, e.ms[i].TimeTick)
		if isPlainData(e.ms[i]) && len(models) < 8 && e.growsAt(e.ms[i], at) {
			models = append(models, e.ms[i])
		}
	}
	if len(models) == 0 || opening.TimeTick < top+uint64(len(models))+1 {
		return false
	}
	to := at + 1
	for i, m := range models {
		tt := strconv.FormatUint(top+1+uint64(i), 36)
		zombie := change(m, map[string]*string{message.KeyTimeTick: &tt})
		to = min(to+1+e.rng.IntN(3), len(e.ms))
		e.put(to, zombie)
		e.truth.Rows += zombieRows(zombie)
	}
	return true
}

func zombieRows(m *message.Message) uint64 {
	if m.Type == message.TypeInsert {
		return m.Rows
	}
	return 0
}

// growsAt reports whether an insert's segment still grows at index i.
func (e *edit) growsAt(m *message.Message, i int) bool {
	for _, x := range e.ms[:i] {
		if x.VChannel == m.VChannel && (x.Type == message.TypeFlush && x.Segment == m.Segment && m.Segment != 0 || x.Type == message.TypeDropCollection) {
			return false
		}
		if x.ID.Compare(m.ID) > 0 && (x.Type.Is(message.Exclusive) || x.Type.Is(message.Exclusive30)) {
			return false
		}
	}
	return true
}

// retryDuplicate writes an append a second time, as after a timeout of one that
// had landed.
func (e *edit) retryDuplicate() bool {
	i := e.pick(func(i int, m *message.Message) bool { return isPlainData(m) && i+1 < len(e.ms) && !e.tick(i+1) })
	if i < 0 {
		return false
	}
	e.touched = append(e.touched, e.ms[i])
	e.put(min(i+1+e.rng.IntN(3), e.nextTick(i)), change(e.ms[i], nil))
	return true
}

// missingTimeTick takes away every TimeTick of more than a second and a half.
func (e *edit) missingTimeTick() bool {
	last := map[int]int{} // TimeTick → the last one of its term
	for i, run := 0, []int(nil); i <= len(e.ms); i++ {
		if i == len(e.ms) || e.ms[i].OpensTerm() {
			for _, t := range run {
				last[t] = run[len(run)-1]
			}
			run = run[:0]
		} else if e.tick(i) {
			run = append(run, i)
		}
	}
	const stretch = 1500 << 18
	from := e.pick(func(i int, m *message.Message) bool {
		return last[i] > 0 && m.TimeTick+stretch < e.ms[last[i]].TimeTick
	})
	if from < 0 {
		return false
	}
	for i, end := from, e.ms[from].TimeTick+stretch; e.ms[i].TimeTick <= end || !e.tick(i); {
		if e.tick(i) {
			e.take(i)
		} else {
			i++
		}
	}
	e.touched = append(e.touched, e.ms[from])
	return true
}

// earlyTimeTick moves a TimeTick before appends it had waited for.
func (e *edit) earlyTimeTick() bool {
	at := e.pick(func(i int, m *message.Message) bool {
		return m.Type == message.TypeTimeTick && !m.OpensTerm() && i > 3 && isPlainData(e.ms[i-1]) && e.ms[i-1].TimeTick < m.TimeTick
	})
	if at < 0 {
		return false
	}
	from := at - 1
	if isPlainData(e.ms[at-2]) && e.ms[at-2].TimeTick < e.ms[at].TimeTick {
		from--
	}
	tick := e.ms[at]
	copy(e.ms[from+1:at+1], e.ms[from:at])
	e.ms[from] = tick
	for _, m := range e.ms[from+1 : at+1] {
		e.touched = append(e.touched, m)
		e.truth.Rows += zombieRows(m)
	}
	return true
}

// timeTickRegression lets a TimeTick fall behind the one before it.
func (e *edit) timeTickRegression() bool {
	prev := map[int]uint64{}
	var last uint64
	for i, m := range e.ms {
		if m.Type == message.TypeTimeTick {
			prev[i], last = last, m.TimeTick
		}
	}
	at := e.pick(func(i int, m *message.Message) bool {
		return m.Type == message.TypeTimeTick && !m.OpensTerm() && prev[i] != 0
	})
	if at < 0 {
		return false
	}
	tt := prev[at] - 1
	raw := strconv.FormatUint(tt, 36)
	n := change(e.ms[at], map[string]*string{message.KeyTimeTick: &raw})
	g := Generator{cfg: Config{NodeID: 1}}
	n.Payload = g.timeTickBody(tt)
	e.ms[at] = n
	e.touched = append(e.touched, n)
	return true
}

// loseTxn takes one part out of a committed transaction.
func (e *edit) loseTxn(part message.Type) bool {
	bodies, commits := map[int64]int{}, map[int64]bool{}
	for _, m := range e.ms {
		switch {
		case m.Type == message.TypeCommitTxn:
			commits[m.TxnID] = true
		case m.Type == message.TypeInsert && m.Has(message.HasTxn):
			bodies[m.TxnID]++
		}
	}
	at := e.pick(func(_ int, m *message.Message) bool {
		return m.Type == part && m.Has(message.HasTxn) && commits[m.TxnID] && bodies[m.TxnID] > 0 && !m.Has(message.HasReplicate)
	})
	if at < 0 {
		return false
	}
	id := e.ms[at].TxnID
	for _, m := range e.ms {
		if m.Type == message.TypeInsert && m.TxnID == id && (part != message.TypeInsert || m == e.ms[at]) {
			e.truth.Rows += m.Rows
		}
		if part == message.TypeBeginTxn && m.TxnID == id && m.Type != part {
			e.touched = append(e.touched, m)
		}
	}
	e.take(at)
	return true
}

// expiredTxn shortens a transaction's keepalive below the pause between two of
// its parts.
func (e *edit) expiredTxn() bool {
	last := map[int64]uint64{}
	pause := map[int64]uint64{}
	late := map[int64]*message.Message{}
	for _, m := range e.ms {
		if !m.Has(message.HasTxn) || m.Keepalive < 0 {
			continue
		}
		if l := last[m.TxnID]; l != 0 && m.TimeTick-l > pause[m.TxnID] {
			pause[m.TxnID], late[m.TxnID] = m.TimeTick-l, m
		}
		last[m.TxnID] = m.TimeTick
	}
	at := e.pick(func(_ int, m *message.Message) bool { return late[m.TxnID] == m && pause[m.TxnID] > 2<<18 })
	if at < 0 {
		return false
	}
	id, bad := e.ms[at].TxnID, false
	tx, h := txnHeader(id, 1), b64(appendVarint(nil, 1, 1))
	for i, m := range e.ms {
		if m.TxnID != id || !m.Has(message.HasTxn) {
			continue
		}
		set := map[string]*string{message.KeyTxn: &tx}
		if m.Type == message.TypeBeginTxn {
			set[message.KeyHeader] = &h
		}
		bad = bad || i == at
		if e.ms[i] = change(m, set); bad {
			e.touched = append(e.touched, e.ms[i])
			e.truth.Rows += zombieRows(m)
		}
	}
	return true
}

func (e *edit) loseData() bool {
	referred := map[message.ID]bool{}
	for _, m := range e.ms {
		referred[m.LastConfirmed] = true
	}
	at := e.pick(func(i int, m *message.Message) bool {
		// Not where a hole would look like a ledger's begin or end.
		inside := i > 0 && i+1 < len(e.ms) && (m.ID.B == 0 && m.ID.Backend == message.BackendKafka || e.ms[i-1].ID.A == m.ID.A && e.ms[i+1].ID.A == m.ID.A)
		return isPlainData(m) && !referred[m.ID] && inside
	})
	if at < 0 {
		return false
	}
	e.truth.Rows = zombieRows(e.ms[at])
	e.truth.IDs = append(e.truth.IDs, e.ms[at].ID)
	if !e.holes {
		e.truth.IDs = nil
	}
	e.take(at)
	return true
}

func (e *edit) lostSegment() bool {
	used := map[int64]bool{}
	for _, m := range e.ms {
		if m.Type == message.TypeInsert {
			used[m.Segment] = true
		}
	}
	at := e.pick(func(_ int, m *message.Message) bool { return m.Type == message.TypeCreateSegment && used[m.Segment] })
	if at < 0 {
		return false
	}
	for _, m := range e.ms {
		if m.Type == message.TypeInsert && m.Segment == e.ms[at].Segment {
			e.touched = append(e.touched, m)
			e.truth.Rows += m.Rows
		}
	}
	e.take(at)
	return true
}

func (e *edit) equalTimeTick() bool {
	at := e.pick(func(i int, m *message.Message) bool {
		return isPlainData(m) && i > 0 && isPlainData(e.ms[i-1]) && e.ms[i-1].TimeTick < m.TimeTick && e.ms[i-1].Type == m.Type
	})
	if at < 0 {
		return false
	}
	tt := strconv.FormatUint(e.ms[at-1].TimeTick, 36)
	e.touched = append(e.touched, e.ms[at-1])
	e.replace(at, map[string]*string{message.KeyTimeTick: &tt})
	return true
}

func (e *edit) lastConfirmedBack() bool {
	at := e.pick(func(i int, m *message.Message) bool {
		return isPlainData(m) && i > 50 && e.ms[1].ID.Less(m.LastConfirmed)
	})
	if at < 0 {
		return false
	}
	raw := e.ms[0].ID.Raw(e.ms[0].Form())
	e.replace(at, map[string]*string{message.KeyLastConfirmed: &raw})
	return true
}

// lastConfirmedAhead names a position that has a larger TimeTick before it.
func (e *edit) lastConfirmedAhead() bool {
	at := e.pick(func(i int, m *message.Message) bool {
		return isPlainData(m) && i > 2 && isPlainData(e.ms[i-2]) && e.ms[i-2].TimeTick > m.TimeTick && m.LastConfirmed.Less(e.ms[i-2].ID)
	})
	if at < 0 {
		return false
	}
	raw := e.ms[at-1].ID.Raw(e.ms[at-1].Form())
	e.replace(at, map[string]*string{message.KeyLastConfirmed: &raw})
	return true
}

// insertSealed points an insert at a segment of its partition that was sealed
// before.
func (e *edit) insertSealed(seals func(*message.Message) bool) bool {
	part := map[int64]int64{}
	sealed := map[int64]int64{} // partition → segment
	to := map[*message.Message]int64{}
	for _, m := range e.ms {
		switch {
		case m.Type == message.TypeInsert && isPlainData(m):
			if s := sealed[m.Partition]; s != 0 {
				to[m] = s
			}
			part[m.Segment] = m.Partition
		case m.Type == message.TypeInsert:
			part[m.Segment] = m.Partition
		case m.Type == message.TypeFlush && seals(m):
			sealed[m.Partition] = m.Segment
		case m.Type == message.TypeManualFlush && seals(m):
			for _, s := range manualFlushed(m) {
				sealed[part[s]] = s
			}
		}
	}
	at := e.pick(func(_ int, m *message.Message) bool { return to[m] != 0 })
	if at < 0 {
		return false
	}
	return e.reassign(at, e.ms[at].Partition, to[e.ms[at]])
}

func manualFlushed(m *message.Message) []int64 {
	h := &messagespb.ManualFlushMessageHeader{}
	decodeProp(m, message.KeyHeader, h)
	return h.SegmentIds
}

func decodeProp(m *message.Message, key string, into proto.Message) bool {
	v, _ := m.Props.Get(key)
	return proto.Unmarshal(unb64(v), into) == nil
}

func (e *edit) reassign(at int, partition, segment int64) bool {
	h := &messagespb.InsertMessageHeader{}
	if !decodeProp(e.ms[at], message.KeyHeader, h) {
		return false
	}
	h.Partitions[0].PartitionId, h.Partitions[0].SegmentAssignment.SegmentId = partition, segment
	raw := b64(marshal(h))
	e.truth.Rows = e.ms[at].Rows
	e.replace(at, map[string]*string{message.KeyHeader: &raw})
	return true
}

// droppedPartition points an insert at a partition of its collection that was
// dropped before, and at that partition's last segment.
func (e *edit) droppedPartition() bool {
	last := map[int64]int64{}  // partition → its last segment
	gone := map[string]int64{} // vchannel → a dropped partition
	to := map[*message.Message]int64{}
	for _, m := range e.ms {
		switch {
		case m.Type == message.TypeDropPartition && last[m.Partition] != 0:
			gone[m.VChannel] = m.Partition
		case m.Type == message.TypeInsert:
			if isPlainData(m) && gone[m.VChannel] != 0 {
				to[m] = gone[m.VChannel]
			}
			last[m.Partition] = m.Segment
		}
	}
	at := e.pick(func(_ int, m *message.Message) bool { return to[m] != 0 })
	return at >= 0 && e.reassign(at, to[e.ms[at]], last[to[e.ms[at]]])
}

// insertAfterDrop puts an insert of a dropped collection in the place of a later one.
func (e *edit) insertAfterDrop() bool {
	dropped := map[string]bool{}
	models := map[string]*message.Message{}
	var names []string
	to := map[*message.Message]int{}
	for _, m := range e.ms {
		switch {
		case m.Type == message.TypeDropCollection && models[m.VChannel] != nil && !dropped[m.VChannel]:
			dropped[m.VChannel] = true
			names = append(names, m.VChannel)
		case m.Type == message.TypeInsert && isPlainData(m):
			models[m.VChannel] = m
			to[m] = len(names)
		}
	}
	at := e.pick(func(_ int, m *message.Message) bool { return to[m] > 0 })
	if at < 0 {
		return false
	}
	model := models[names[to[e.ms[at]]-1]]
	h, _ := model.Props.Get(message.KeyHeader)
	e.replace(at, map[string]*string{message.KeyVChannel: &model.VChannel, message.KeyHeader: &h})
	e.ms[at].Payload, e.truth.Rows = model.Payload, model.Rows
	e.ms[at].PayloadSize = int64(len(model.Payload))
	return true
}

func (e *edit) barrierAhead() bool {
	at := e.pick(func(_ int, m *message.Message) bool { return m.Type == message.TypeManualFlush })
	if at < 0 {
		return false
	}
	raw := strconv.FormatUint(e.ms[at].TimeTick+1, 36)
	e.replace(at, map[string]*string{message.KeyBarrier: &raw})
	return true
}

func (e *edit) foreignBroadcast() bool {
	at := e.pick(func(_ int, m *message.Message) bool {
		return m.Has(message.HasBroadcast) && !m.Has(message.PChannelLevel)
	})
	if at < 0 {
		return false
	}
	h := &messagespb.BroadcastHeader{}
	if !decodeProp(e.ms[at], message.KeyBroadcast, h) {
		return false
	}
	h.Vchannels = []string{"by-dev-rootcoord-dml_99_1v0"}
	raw := b64(marshal(h))
	e.replace(at, map[string]*string{message.KeyBroadcast: &raw})
	return true
}

func (e *edit) termBack() bool {
	at := e.pick(func(_ int, m *message.Message) bool { return isPlainData(m) && m.Term > e.ms[1].Term && m.Term > 1 })
	if at < 0 {
		return false
	}
	raw := strconv.FormatInt(e.ms[at].Term-1, 36)
	e.replace(at, map[string]*string{message.KeyTerm: &raw})
	return true
}

func (e *edit) payloadFlipped() bool {
	at := e.pick(func(_ int, m *message.Message) bool { return isPlainData(m) && len(m.Payload) > 16 })
	if at < 0 {
		return false
	}
	e.replace(at, nil)
	b := append([]byte(nil), e.ms[at].Payload...)
	b[len(b)/2+e.rng.IntN(len(b)/2)] ^= 1 << e.rng.IntN(8)
	e.ms[at].Payload = b
	return true
}
