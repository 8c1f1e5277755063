package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// A pager shows a long answer a screen at a time. It begins with the first thing that
// is written, so that a command that fails before leaves the screen as it was.
type pager struct {
	command []string
	env     []string
	out     io.Writer // of the pager
	errOut  io.Writer

	run *exec.Cmd
	in  io.WriteCloser
	err error
}

// pagerCommand is the pager that --pager or the environment names; none where it is
// empty or cat.
func (f *Factory) pagerCommand() []string {
	words := strings.Fields(f.Getenv("WALCTL_PAGER"))
	if f.Pager && len(words) == 0 {
		words = strings.Fields(f.Getenv("PAGER"))
	}
	if f.Pager && len(words) == 0 {
		words = []string{"less"}
	}
	if len(words) == 1 && words[0] == "cat" {
		return nil
	}
	return words
}

// page puts a pager in front of a terminal, where one is asked for. Progress is not
// drawn then: the screen is the pager's.
func (f *Factory) page() {
	s, command := f.IO, f.pagerCommand()
	if !s.OutTTY || len(command) == 0 || s.pager != nil || s.raw == nil {
		return
	}
	env := os.Environ()
	if f.Getenv("LESS") == "" {
		env = append(env, "LESS=FRX") // ends where all fits, passes colours, leaves the text there
	}
	s.pager = &pager{command: command, env: env, out: s.raw, errOut: s.raw}
	f.NoProgress = true
	s.guard(s.pager, nil)
}

// Write implements io.Writer. That the reader left is EPIPE.
func (p *pager) Write(b []byte) (int, error) {
	if p.run == nil && p.err == nil {
		p.err = p.start()
	}
	if p.err != nil {
		return 0, p.err
	}
	return p.in.Write(b)
}

func (p *pager) start() error {
	// #nosec G204 -- the command is the user's own choice
	run := exec.Command(p.command[0], p.command[1:]...) //nolint:noctx // it ends when its reader does
	run.Env, run.Stdout, run.Stderr = p.env, p.out, p.errOut
	in, err := run.StdinPipe()
	if err == nil {
		err = run.Start()
	}
	if err != nil {
		return fmt.Errorf("show the answer with the pager %s: %w; name another with WALCTL_PAGER, or leave --pager out", p.command[0], err)
	}
	p.run, p.in = run, in
	return nil
}

// Close waits until the reader has seen enough.
func (p *pager) Close() error {
	if p.run == nil {
		return nil
	}
	err := p.in.Close()
	if ended := p.run.Wait(); ended != nil {
		err = errors.Join(err, fmt.Errorf("the pager %s: %w", p.command[0], ended))
	}
	p.run = nil
	return err
}
