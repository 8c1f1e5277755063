// Command walbench is what scripts/bench works with.
//
//	walbench log -dir DIR -records N              a generated log: small inserts and deletes
//	walbench log -dir DIR -records N -mixed       …: transactions, DDL and whole rows too
//	walbench log -dir DIR -wal FILE [-records N]  that file's records, repeated until N
//	walbench run [flags] -- COMMAND …             what a command takes, as a line of a table
//	walbench growth [flags]                       what hostile logs cost, N, 4 N and 16 N long
//	walbench shape NAME N                         one of these logs, NDJSON on stdout
//
// A file's records are repeated under larger ids and TimeTicks. That is good for
// counting; only one round of it is a sound log.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/walreader/archive"
	"github.com/walctl/walctl/pkg/walreader/message"
	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

func main() {
	err := errors.New("walbench log|run|growth|shape …")
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "log":
			err = logCommand(os.Args[2:])
		case "run":
			err = runCommand(os.Args[2:])
		case "growth":
			err = growthCommand(os.Args[2:])
		case "shape":
			err = shapeCommand(os.Args[2:])
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "walbench:", err)
		os.Exit(1)
	}
}

func logCommand(args []string) error {
	flags := flag.NewFlagSet("log", flag.ExitOnError)
	dir := flags.String("dir", "", "the archive's directory; none = NDJSON on stdout")
	records := flags.Int("records", 0, "how many; 0 with -wal = one round")
	mixed := flags.Bool("mixed", false, "transactions, DDL and whole rows too")
	wal := flags.String("wal", "", "an NDJSON log to repeat")
	_ = flags.Parse(args) // exits
	return write(*dir, *records, *mixed, *wal)
}

func write(dir string, records int, mixed bool, wal string) error {
	next, backend := generated(records, mixed), message.BackendPulsar
	if wal != "" {
		var err error
		if next, backend, err = repeated(wal, records); err != nil {
			return err
		}
	}
	if dir == "" {
		w := jsonl.NewWriter(os.Stdout, jsonl.Options{Data: true, Plain: true})
		return errors.Join(each(next, func(m *message.Message, _ int64) error { return w.Write(m) }), w.Flush())
	}
	w, err := archive.NewWriter(dir, archive.WriterOptions{PChannel: "by-dev-rootcoord-dml_0", Backend: backend})
	if err != nil {
		return err
	}
	return errors.Join(each(next, w.Add), w.Close())
}

func each(next func() (*message.Message, bool), fn func(*message.Message, int64) error) error {
	for n := int64(0); ; n++ {
		m, ok := next()
		if !ok {
			return nil
		}
		if err := fn(m, n); err != nil {
			return err
		}
	}
}

func generated(records int, mixed bool) func() (*message.Message, bool) {
	cfg := walgen.Config{Messages: records, Terms: 2, Cheap: !mixed, RowsPerInsert: 2}
	if mixed {
		cfg.RowsPerInsert = 10
	}
	return walgen.New(cfg).Next
}

// repeated holds one round of the log in memory.
func repeated(wal string, records int) (func() (*message.Message, bool), message.Backend, error) {
	ctx := context.Background()
	r, err := jsonl.Open(wal).Open(ctx, source.Range{Props: true, Payload: source.PayloadAll})
	if err != nil {
		return nil, 0, err
	}
	defer r.Close()
	var log []*message.Message
	for {
		m, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		m.Checksum = message.ComputeChecksum(m.Props, m.Payload)
		log = append(log, m)
	}
	if len(log) == 0 {
		return nil, 0, fmt.Errorf("%s holds no record", wal)
	}
	if records == 0 {
		records = len(log)
	}
	i := 0
	return func() (*message.Message, bool) {
		if i >= records {
			return nil, false
		}
		m, round := *log[i%len(log)], i/len(log)
		m.ID.A += int64(round) << 20
		m.TimeTick += uint64(round) << 44
		i++
		return &m, true
	}, log[0].ID.Backend, nil
}
