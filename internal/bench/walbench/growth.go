package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/walctl/walctl/internal/bench"
	"github.com/walctl/walctl/internal/walgen"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// bar is how many times as long four times as much may take: 1.2 x of linear.
const bar = 4.8

// growth is what is asked of logs that are hostile to whoever reads them.
type growth struct {
	walctl, dir, memory string
	times               int
}

// growthCommand reads each shape of log in three sizes, four times as long each, with
// each command, and prints a line for both.
func growthCommand(args []string) error {
	flags := flag.NewFlagSet("growth", flag.ExitOnError)
	g := growth{}
	flags.StringVar(&g.walctl, "walctl", "walctl", "the program")
	flags.StringVar(&g.dir, "dir", os.TempDir(), "where the logs lie while they are read")
	flags.StringVar(&g.memory, "memory", "", "--memory of every command; none = its default")
	flags.IntVar(&g.times, "times", 1, "how often each is run; the least counts")
	most := flags.Int("records", 1_000_000, "records of the longest log, about")
	shapes := flags.String("shapes", "", "only these, with commas")
	commands := flags.String("commands", "recover,state,verify,salvage", "with commas")
	_ = flags.Parse(args) // exits
	fmt.Println("log\tcommand\tN\t4 N\t16 N\t4 N / N\t16 N / 4 N\tMiB, N\t4 N\t16 N")
	for _, s := range walgen.Shapes() {
		if *shapes != "" && !slices.Contains(strings.Split(*shapes, ","), string(s)) {
			continue
		}
		if err := g.shape(s, *most, strings.Split(*commands, ",")); err != nil {
			return err
		}
	}
	return nil
}

// shape measures all commands over one shape.
func (g *growth) shape(s walgen.Shape, most int, commands []string) error {
	dir, err := os.MkdirTemp(g.dir, "growth-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	catalog := filepath.Join(dir, "catalog.json")
	text, err := json.Marshal(walgen.GrowthCatalog())
	if err != nil {
		return err
	}
	if err := os.WriteFile(catalog, text, 0o600); err != nil {
		return err
	}
	took := make(map[string][]spent)
	for _, n := range []int{most / 16, most / 4, most} {
		log := filepath.Join(dir, "wal.jsonl")
		if err := grow(s, n, log); err != nil {
			return err
		}
		for _, c := range commands {
			t, err := g.least(c, log, catalog)
			if err != nil {
				return err
			}
			took[c] = append(took[c], t)
		}
	}
	for _, c := range commands {
		fmt.Printf("%s\t%s\t%s\n", s, c, growthLine(took[c]))
	}
	return nil
}

// grow writes a log.
func grow(s walgen.Shape, records int, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := jsonl.NewWriter(f, jsonl.Options{Data: true, Plain: true})
	return errors.Join(walgen.Grow(s, records, w.Write), w.Flush(), f.Close())
}

// shapeCommand writes one log to stdout.
func shapeCommand(args []string) error {
	if len(args) != 2 {
		return errors.New("walbench shape NAME RECORDS")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	return grow(walgen.Shape(args[0]), n, "/dev/stdout")
}

// spent is what a command took, and how it ended where that was a refusal.
type spent struct {
	cpu    time.Duration
	memory int64
	refuse bool
}

func growthLine(t []spent) string {
	var cells []string
	for i := range t {
		cells = append(cells, fmt.Sprintf("%.2f s", t[i].cpu.Seconds()))
	}
	for i := 1; i < len(t); i++ {
		if t[i].refuse || t[i-1].refuse {
			cells = append(cells, "-")
			continue
		}
		ratio := t[i].cpu.Seconds() / t[i-1].cpu.Seconds()
		cell := fmt.Sprintf("%.2f", ratio)
		if ratio > bar {
			cell += " ABOVE " + fmt.Sprint(bar)
		}
		cells = append(cells, cell)
	}
	for i := range t {
		cell := fmt.Sprintf("%d", t[i].memory>>20)
		if t[i].refuse {
			cell += " refused"
		}
		cells = append(cells, cell)
	}
	return strings.Join(cells, "\t")
}

// least runs a command several times and returns the run that took least.
func (g *growth) least(command, log, catalog string) (best spent, err error) {
	args := []string{command, log, "--catalog", "kvjson:" + catalog}
	if g.memory != "" {
		args = append(args, "--memory", g.memory)
	}
	for i := range g.times {
		t, err := spend(g.walctl, args)
		if err != nil {
			return spent{}, err
		}
		if i == 0 || t.cpu < best.cpu {
			best = t
		}
	}
	return best, nil
}

// Exit codes that answer: clean, findings, partial. docs/exit-codes.md
var answers = [...]int{0, 3, 6}

// spend runs a command on one core's worth of threads.
func spend(walctl string, args []string) (spent, error) {
	cmd := exec.Command(walctl, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	var problems strings.Builder
	cmd.Stderr = &problems
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return spent{}, err
	}
	t := spent{
		cpu:    cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(),
		memory: bench.PeakMemory(cmd.ProcessState),
		refuse: cmd.ProcessState.ExitCode() == 1 && strings.Contains(problems.String(), "--memory") && strings.Contains(problems.String(), "raise"),
	}
	if !t.refuse && !slices.Contains(answers[:], cmd.ProcessState.ExitCode()) {
		return spent{}, fmt.Errorf("%s: exit %d\n%s", strings.Join(args, " "), cmd.ProcessState.ExitCode(), problems.String())
	}
	return t, nil
}
