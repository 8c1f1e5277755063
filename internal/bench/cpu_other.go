//go:build !unix

package bench

import (
	"os"
	"time"
)

// CPUTime is unknown here: 0.
func CPUTime() time.Duration { return 0 }

// PeakMemory is unknown here: 0.
func PeakMemory(*os.ProcessState) int64 { return 0 }
