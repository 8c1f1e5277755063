package cli

import (
	"math"
	"strconv"
	"strings"
)

// smallest is the least size that can be meant: 16 stands for 16GiB, and the unit was
// forgotten.
const smallest = 64 << 10

// Size is a flag in bytes: 512MiB, 16GiB, 4G, 1048576. 0 = not given.
type Size int64

// sizeUnits are the endings, longest first. K, M and G are binary, as memory is
// counted everywhere else.
var sizeUnits = [...]struct {
	name  string
	bytes float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"Ti", 1 << 40}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40}, {"B", 1}, {"", 1}}

// Set implements pflag.Value.
func (s *Size) Set(text string) error {
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(strings.TrimSpace(text), u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n > 0) || n*u.bytes > math.MaxInt64/2 {
			break
		}
		if n*u.bytes < smallest {
			return Usagef("%q is %s bytes, which nothing fits in; write the unit: %sMiB, %sGiB", text, strconv.FormatFloat(n*u.bytes, 'f', -1, 64), number, number)
		}
		*s = Size(n * u.bytes)
		return nil
	}
	return Usagef("%q is no size; write 512MiB or 16GiB", text)
}

// String implements pflag.Value.
func (s *Size) String() string {
	if *s == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*s), 10)
}

// Type implements pflag.Value.
func (s *Size) Type() string { return "size" }
