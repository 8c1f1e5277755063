package diagnose

import "time"

// timeline counts records over time in buckets whose width doubles whenever a
// log would need more than maxBuckets of them. Times are Unix milliseconds.
type timeline struct {
	first   int64
	width   int64
	items   []bucket
	marks   []mark
	started bool
}

type bucket struct{ messages, ticks int64 }

type mark struct {
	state    TickState
	from, to int64
}

const (
	maxBuckets = 1 << 10
	maxMarks   = 1 << 14
)

func (l *timeline) add(at int64, tick bool) {
	if !l.started {
		l.started, l.first = true, at
	}
	i := max(0, (at-l.first)/l.width)
	for i >= maxBuckets {
		l.double()
		i = (at - l.first) / l.width
	}
	for int64(len(l.items)) <= i {
		l.items = append(l.items, bucket{})
	}
	if tick {
		l.items[i].ticks++
	} else {
		l.items[i].messages++
	}
}

func (l *timeline) double() {
	n := (len(l.items) + 1) / 2
	for i := range n {
		b := l.items[2*i]
		if 2*i+1 < len(l.items) {
			b.messages, b.ticks = b.messages+l.items[2*i+1].messages, b.ticks+l.items[2*i+1].ticks
		}
		l.items[i] = b
	}
	l.items = l.items[:n]
	l.width *= 2
}

func (l *timeline) mark(s TickState, from, to int64) {
	if len(l.marks) < maxMarks || s > TickIdle && len(l.marks) < 2*maxMarks {
		l.marks = append(l.marks, mark{s, from, to})
	}
}

// buckets draws the timeline: a bucket is as bad as the worst that touches it;
// idle only where nothing happened in it.
func (l *timeline) buckets() ([]TickBucket, float64) {
	out := make([]TickBucket, len(l.items))
	for i := range out {
		out[i] = TickBucket{From: time.UnixMilli(l.first + int64(i)*l.width).UTC(), Messages: l.items[i].messages, TimeTicks: l.items[i].ticks}
		if out[i].Messages+out[i].TimeTicks == 0 {
			out[i].State = TickIdle
		}
	}
	for _, m := range l.marks {
		if m.state == TickIdle {
			continue
		}
		for i := max(0, (m.from-l.first)/l.width); i < int64(len(out)) && l.first+i*l.width <= m.to; i++ {
			out[i].State = max(out[i].State, m.state)
		}
	}
	return out, float64(l.width) / 1000
}
