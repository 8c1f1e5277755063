package scanner

// thinned is a list of bounded length: once it is full, every second value goes.
type thinned[T any] struct {
	values []T
	stride int
	seen   int
}

// most is how many values are kept.
const most = 128

func (t *thinned[T]) add(v T) {
	t.stride = max(t.stride, 1)
	if t.seen++; (t.seen-1)%t.stride != 0 {
		return
	}
	if len(t.values) == most {
		for i := 0; i < most/2; i++ {
			t.values[i] = t.values[2*i]
		}
		t.values, t.stride = t.values[:most/2], 2*t.stride
		if (t.seen-1)%t.stride != 0 {
			return
		}
	}
	t.values = append(t.values, v)
}

// point is the moment it is.
func (s *run) point() Point {
	p := Point{VirtualMS: s.sinceBirth(), Oldest: s.buf.earliest(), Newest: s.buf.latest}
	if c := s.slow; c != nil {
		p.Open, p.Scanner = true, c.last.TimeTick
		if c.mode == CatchUp && len(c.switches) == 0 {
			p.Scanner = 0
		}
	}
	return p
}

// sample keeps the moment it is.
func (s *run) sample() { s.trace.add(s.point()) }

// hangShown is how long a scanner that hangs is shown to wait, in milliseconds.
const hangShown = 10_000

// tracePath ends the trace with what the scanner reads, which takes it no time, or with
// its waiting.
func (s *run) tracePath(r *Result, starts func(Place) bool) {
	s.trace.values = append(s.trace.values, s.point())
	out := s.trace.values
	end := s.point()
	end.Open = true
	if !r.Trimmed && r.Start.Kind != StartLatest {
		path := append(s.path.values, s.tick)
		for _, p := range path {
			if starts(p) && p.TimeTick > end.Scanner && (r.Outcome == Hangs || p.TimeTick <= r.AtTimeTick) {
				end.Scanner = p.TimeTick
				out = append(out, end)
			}
		}
	}
	if r.Outcome == Meets {
		end.Scanner = r.AtTimeTick
		end.VirtualMS += r.VirtualMS
		end.Newest = max(end.Newest, r.AtTimeTick)
		if r.Forced {
			end.Oldest = min(end.Oldest, r.AtTimeTick)
		}
		r.Trace = append(out, end)
		return
	}
	out = append(out, end)
	s.buf.idle(s.now, hangShown)
	s.now += hangShown
	last := s.point()
	last.Open, last.Scanner = true, end.Scanner
	r.Trace = append(out, last)
}
