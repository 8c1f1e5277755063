package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/walctl/walctl/internal/bench"
)

// taken is what one run of a command took.
type taken struct {
	cpu, first time.Duration // first: until the first byte of output
	memory     int64
}

// runCommand runs a command several times and prints one line: the median.
func runCommand(args []string) error {
	flags := flag.NewFlagSet("run", flag.ExitOnError)
	name := flags.String("name", "", "what is measured")
	records := flags.Float64("records", 0, "records one run handles; 0 = time to the first output is what counts")
	bar := flags.Float64("bar", 0, "the bar: million records a second of one core, or milliseconds")
	memory := flags.Int64("memory", 0, "the bar for memory, MiB; 0 = none")
	times := flags.Int("times", 5, "how often")
	_ = flags.Parse(args) // exits
	if flags.NArg() == 0 {
		return errors.New("run what?")
	}
	var all []taken
	for range *times {
		t, err := once(flags.Args())
		if err != nil {
			return err
		}
		all = append(all, t)
	}
	median := func(of func(taken) float64) (mid, low float64) {
		v := []float64{}
		for _, t := range all {
			v = append(v, of(t))
		}
		slices.Sort(v)
		return v[len(v)/2], v[0]
	}
	mem, _ := median(func(t taken) float64 { return float64(t.memory) / (1 << 20) })
	limit := "-"
	if *memory > 0 {
		limit = fmt.Sprint(*memory)
	}
	if *records == 0 {
		cpu, _ := median(func(t taken) float64 { return t.cpu.Seconds() * 1e3 })
		first, best := median(func(t taken) float64 { return t.first.Seconds() * 1e3 })
		fmt.Printf("%s\t%.0f ms to output, %.0f ms of processor\t%.0f ms best\t≤ %.0f ms\t%.2f\t%.0f\t%s\n", *name, first, cpu, best, *bar, *bar/best, mem, limit)
		return nil
	}
	mid, low := median(func(t taken) float64 { return t.cpu.Seconds() })
	rate := *records / mid / 1e6
	fmt.Printf("%s\t%.2f M/s\t%.2f M/s best\t≥ %g M/s\t%.2f\t%.0f\t%s\n", *name, rate, *records/low/1e6, *bar, rate / *bar, mem, limit)
	return nil
}

// once runs a command on one core's worth of threads.
func once(args []string) (taken, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.StdoutPipe()
	if err != nil {
		return taken{}, err
	}
	from := time.Now()
	if err := cmd.Start(); err != nil {
		return taken{}, err
	}
	var t taken
	buf := make([]byte, 1<<16)
	for {
		n, err := out.Read(buf)
		if n > 0 && t.first == 0 {
			t.first = time.Since(from)
		}
		if err != nil {
			break // the command's own error tells more
		}
	}
	if err := cmd.Wait(); err != nil {
		return taken{}, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, problems.String())
	}
	t.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	t.memory = bench.PeakMemory(cmd.ProcessState)
	return t, nil
}
