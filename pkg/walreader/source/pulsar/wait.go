package pulsar

import (
	"sync"
	"time"
)

// showWaitEvery is how often a wait is told of.
const showWaitEvery = time.Second

// waits tells Config.Waiting while something is waited for: what began first, and
// for how long. Its goroutine lives from the first begin to the last end.
type waits struct {
	show func(addr string, waited time.Duration)

	mu    sync.Mutex
	n     int
	stop  chan struct{}
	ended chan struct{}
}

// begin says that addr is waited for, until the function it returns is called.
func (w *waits) begin(addr string) (end func()) {
	if w.show == nil {
		return func() {}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n++; w.n == 1 {
		w.stop, w.ended = make(chan struct{}), make(chan struct{})
		go w.tell(addr, w.stop, w.ended)
	}
	return sync.OnceFunc(w.end)
}

func (w *waits) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n--; w.n == 0 {
		close(w.stop)
		<-w.ended
	}
}

func (w *waits) tell(addr string, stop, ended chan struct{}) {
	defer close(ended)
	since, told := time.Now(), false
	tick := time.NewTicker(showWaitEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			if told {
				w.show(addr, -1)
			}
			return
		case <-tick.C:
			told = true
			w.show(addr, time.Since(since))
		}
	}
}
