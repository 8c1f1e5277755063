package cmd

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/walctl/walctl/internal/golden"
	"github.com/walctl/walctl/internal/testenv"
)

// update rewrites what the scripts expect: go test ./cmd -run Script -update
var update = flag.Bool("update", false, "rewrite the expected output of the scripts")

func TestMain(m *testing.M) {
	testscript.Main(withBroker{m}, map[string]func(){
		"walctl": func() { os.Exit(Execute()) },
	})
}

// withBroker stops what the live tests started.
type withBroker struct{ m *testing.M }

func (w withBroker) Run() int { return testenv.Main(w.m) }

// TestScript runs every txtar script over the real command line.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("GOLDEN", golden.Dir())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"flip":  flip,
			"cut":   cut,
			"unzst": unzst,
			"untar": untar,

			"goldenkv": goldenkv,
			"incident": incident,
			"growth":   growth,
			"short":    shortScreen,
			"next":     runNext,
		},
	})
}

// exits CODE walctl ARGS… runs walctl in this process and compares its exit
// code: "! exec" cannot tell 2 from 4. stdout and stderr are shown on failure,
// and kept in the files out and err.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || args[1] != "walctl" {
		ts.Fatalf("usage: exits CODE walctl ARGS…")
	}
	err := ts.Exec("sh", append([]string{"-c", `walctl "$@" >out 2>err <"${STDIN:-/dev/null}"; echo $? >code`, "walctl"}, args[2:]...)...)
	ts.Check(err)
	if got := strings.TrimSpace(ts.ReadFile("code")); got != args[0] {
		ts.Fatalf("exit %s, want %s\nstdout: %.2000s\nstderr: %.2000s", got, args[0], ts.ReadFile("out"), ts.ReadFile("err"))
	}
}

// flip PATTERN OFFSET flips one bit of a byte in the first file that matches.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	files, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(files) == 0 {
		ts.Fatalf("no file is like %s", args[0])
	}
	b, err := os.ReadFile(files[0])
	ts.Check(err)
	b[atoi(ts, args[1], len(b))] ^= 0x40
	ts.Check(os.WriteFile(files[0], b, 0o600))
}

// cut FILE N takes N bytes off the end.
func cut(ts *testscript.TestScript, _ bool, args []string) {
	b := ts.ReadFile(args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b[:len(b)-atoi(ts, args[1], len(b))]), 0o600))
}

func atoi(ts *testscript.TestScript, s string, end int) int {
	n := 0
	for _, r := range s {
		n = n*10 + int(r-'0')
	}
	if n >= end {
		ts.Fatalf("%s lies behind the end, %d", s, end)
	}
	return n
}

// unzst FROM TO decompresses a golden file.
func unzst(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	d, err := zstd.NewReader(bytes.NewReader(b))
	ts.Check(err)
	defer d.Close()
	var out bytes.Buffer
	_, err = d.WriteTo(&out)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), out.Bytes(), 0o600))
}

// untar FROM DIR lays a golden disk out.
func untar(ts *testscript.TestScript, _ bool, args []string) {
	layOut(ts, ts.MkAbs(args[0]), ts.MkAbs(args[1]))
}

// layOut unpacks a golden disk, its files an hour old: nobody writes them.
func layOut(t interface{ Check(error) }, from, to string) {
	b, err := os.ReadFile(from)
	t.Check(err)
	d, err := zstd.NewReader(bytes.NewReader(b))
	t.Check(err)
	defer d.Close()
	for in, quiet := tar.NewReader(d), time.Now().Add(-time.Hour); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		t.Check(err)
		if h.FileInfo().IsDir() {
			continue
		}
		path := filepath.Join(to, filepath.Clean(h.Name))
		t.Check(os.MkdirAll(filepath.Dir(path), 0o700))
		body, err := io.ReadAll(in)
		t.Check(err)
		t.Check(os.WriteFile(path, body, 0o600))
		t.Check(os.Chtimes(path, quiet, quiet))
	}
}

// TestEveryCommandSaysItsExitCodes holds each help page to the contract.
func TestEveryCommandSaysItsExitCodes(t *testing.T) {
	f, _, _ := testFactory(nil)
	root := newRootCmd(f)
	n := 0
	for _, c := range root.Commands() {
		if !c.Runnable() || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		n++
		for _, want := range []string{"Exit codes:", "0    clean", "2    wrong usage", "130  interrupted"} {
			if !strings.Contains(c.Long, want) {
				t.Errorf("%s: help lacks %q", c.Name(), want)
			}
		}
		if c.Example == "" {
			t.Errorf("%s: help has no example", c.Name())
		}
	}
	if n < 3 {
		t.Fatalf("only %d commands looked at", n)
	}
}
