package recovercmd

import (
	"bytes"
	"os"
	"strconv"
)

// peakRSS is the most memory this process has held so far, in bytes; 0 = not
// known. getrusage would count the process that started this one as well.
func peakRSS() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		rest, ok := bytes.CutPrefix(line, []byte("VmHWM:"))
		if !ok {
			continue
		}
		if f := bytes.Fields(rest); len(f) > 0 {
			kib, _ := strconv.ParseInt(string(f[0]), 10, 64)
			return kib << 10
		}
	}
	return 0
}
