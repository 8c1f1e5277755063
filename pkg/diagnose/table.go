package diagnose

// table maps int64 keys to int32 values by open addressing: no allocation per
// entry, no boxing, one cache line on a hit. The zero value is ready.
type table struct {
	slots []tableSlot
	n     int
}

type tableSlot struct {
	key  int64
	val  int32
	used bool
}

func hash(k int64) uint64 {
	h := uint64(k) * 0x9e3779b97f4a7c15
	return h ^ h>>29
}

// get returns the key's value, −1 where it is absent.
func (t *table) get(key int64) int32 {
	if t.n == 0 {
		return -1
	}
	mask := uint64(len(t.slots) - 1)
	for i := hash(key) & mask; ; i = (i + 1) & mask {
		s := &t.slots[i]
		if !s.used {
			return -1
		}
		if s.key == key {
			return s.val
		}
	}
}

func (t *table) put(key int64, val int32) {
	if 4*(t.n+1) > 3*len(t.slots) {
		t.grow()
	}
	mask := uint64(len(t.slots) - 1)
	i := hash(key) & mask
	for t.slots[i].used && t.slots[i].key != key {
		i = (i + 1) & mask
	}
	if !t.slots[i].used {
		t.n++
	}
	t.slots[i] = tableSlot{key, val, true}
}

func (t *table) grow() {
	old := t.slots
	t.slots, t.n = make([]tableSlot, max(64, 2*len(old))), 0
	for i := range old {
		if old[i].used {
			t.put(old[i].key, old[i].val)
		}
	}
}

// del removes a key, moving followers back so that no tombstone is needed.
func (t *table) del(key int64) {
	if t.n == 0 {
		return
	}
	mask := uint64(len(t.slots) - 1)
	i := hash(key) & mask
	for t.slots[i].used && t.slots[i].key != key {
		i = (i + 1) & mask
	}
	if !t.slots[i].used {
		return
	}
	t.n--
	for j := (i + 1) & mask; t.slots[j].used; j = (j + 1) & mask {
		if home := hash(t.slots[j].key) & mask; (j-home)&mask >= (j-i)&mask {
			t.slots[i], i = t.slots[j], j
		}
	}
	t.slots[i] = tableSlot{}
}

// position is an id in a form that compares in two steps: b is the entry and
// the batch index together.
type position struct{ a, b int64 }

func (p position) less(o position) bool { return p.a < o.a || p.a == o.a && p.b < o.b }

func makePosition(a, b int64, batch int32) position {
	return position{a, b<<16 | int64(uint16(max(batch, 0)))}
}
