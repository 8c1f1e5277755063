package pulsar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"

	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
)

// sentinels are the errors that mean something to a caller of a source. None of
// them may come out of a library as itself.
var sentinels = []error{
	io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, io.ErrNoProgress, context.Canceled, context.DeadlineExceeded, os.ErrDeadlineExceeded,
	source.ErrTornTail, source.ErrNotFound, source.ErrRefused, source.ErrDenied, fs.ErrNotExist, fs.ErrPermission, net.ErrClosed,
	syscall.EPIPE, syscall.ECONNREFUSED, syscall.ENOSPC, errClosed, errLost, errAdminClosed,
	&source.CorruptError{Cause: io.EOF}, &StalledError{}, &RefusedError{},
}

// Whatever a library says is "not reachable" and nothing else: above all no clean end.
func TestNoForeignSentinel(t *testing.T) {
	cfg, err := Config{ServiceURL: "pulsar://h:6650", Topic: "t"}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	why := newCauses(cfg)
	for _, said := range sentinels {
		for form, foreign := range map[string]error{
			"bare": said, "wrapped": fmt.Errorf("library: %w", said), "of a URL": &url.Error{Op: "Get", URL: "http://h", Err: said},
			"of the network": &net.OpError{Op: "read", Net: "tcp", Err: said}, "joined": errors.Join(errors.New("x"), said),
		} {
			entry{why, foreign}.Error()
			for place, ours := range map[string]error{
				"reach": cfg.reach("h:6650", foreign), "explain": why.explain(foreign), "open": openError(why.explain(foreign)),
				"read":  (&reader{s: &Source{cfg: cfg}, last: message.ID{Backend: message.BackendPulsar, A: 1}}).broken(cfg.reach("", foreign)),
				"hello": &unheard{cfg.reach("h:6650", foreign)},
			} {
				if !errors.Is(ours, source.ErrUnavailable) {
					t.Errorf("%s, %s %v: %v is not ErrUnavailable", place, form, said, ours)
				}
				for _, s := range sentinels {
					if errors.Is(ours, s) {
						t.Errorf("%s, %s %v: %v passes for %v", place, form, said, ours, s)
					}
				}
				var corrupt *source.CorruptError
				if errors.As(ours, &corrupt) {
					t.Errorf("%s, %s %v: passes for a corrupt place, behind which is read on", place, form, said)
				}
			}
		}
	}
}

// A queue whose pump ended before its span did is no end of the log.
func TestAnEndIsProven(t *testing.T) {
	cfg, err := Config{ServiceURL: "pulsar://h:6650", Topic: "t"}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	end := message.ID{Backend: message.BackendPulsar, A: 12, B: 3999}
	for _, whole := range []bool{false, true} {
		q := newQueue(1 << 20)
		q.push(item{m: &message.Message{ID: message.ID{Backend: message.BackendPulsar, A: 12, B: 345}}}, 1)
		if whole {
			q.complete()
		} else {
			q.finish()
		}
		rd := &reader{s: &Source{cfg: cfg, readers: map[*reader]struct{}{}}, whole: span{to: end}, ahead: []*pump{{q: q}}}
		rd.ctx, rd.cancel = context.WithCancel(t.Context())
		if _, err := rd.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := rd.Next(t.Context())
		want := "read persistent://public/default/t: read to 12/345/0 of 12/3999/0: connection closed by h:6650"
		if errors.Is(err, io.EOF) != whole || !whole && err.Error() != want {
			t.Errorf("whole %v: %v", whole, err)
		}
	}
}
