package cmd

import (
	"bytes"
	"encoding/base64"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/walctl/walctl/internal/cli"
)

// testFactory is a Factory over buffers, with a fixed clock and this environment.
func testFactory(env map[string]string) (f *cli.Factory, out, errOut *bytes.Buffer) {
	var in io.Reader = strings.NewReader("")
	streams, out, errOut := cli.TestStreams(in)
	return &cli.Factory{
		IO: streams, Version: "test",
		Now:    func() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) },
		Getenv: func(k string) string { return env[k] },
	}, out, errOut
}

func b64(s string) ([]byte, error) { return base64.StdEncoding.DecodeString(s) }

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }
