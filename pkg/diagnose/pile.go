package diagnose

// pile is a binary heap whose first element comes before all others.
type pile[T interface{ Before(T) bool }] []T

func (p *pile[T]) push(x T) {
	*p = append(*p, x)
	s := *p
	at := len(s) - 1
	for at > 0 {
		up := (at - 1) / 2
		if !x.Before(s[up]) {
			break
		}
		s[at] = s[up]
		at = up
	}
	s[at] = x
}

func (p *pile[T]) pop() T {
	s := *p
	last := len(s) - 1
	top, x := s[0], s[last]
	s = s[:last]
	*p = s
	if last == 0 {
		return top
	}
	at := 0
	for {
		child := 2*at + 1
		if child >= last {
			break
		}
		if right := child + 1; right < last && s[right].Before(s[child]) {
			child = right
		}
		if !s[child].Before(x) {
			break
		}
		s[at] = s[child]
		at = child
	}
	s[at] = x
	return top
}
