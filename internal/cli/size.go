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
	n, number, ok := parseBytes(text)
	if !ok {
		return Usagef("%q is no size; write 512MiB or 16GiB", text)
	}
	if n < smallest {
		return Usagef("%q is %s bytes, which nothing fits in; write the unit: %sMiB, %sGiB", text, strconv.FormatFloat(n, 'f', -1, 64), number, number)
	}
	*s = Size(n)
	return nil
}

// parseBytes reads a number and its unit; number is what stands before the unit.
func parseBytes(text string) (n float64, number string, ok bool) {
	for _, u := range sizeUnits {
		number, ok = strings.CutSuffix(strings.TrimSpace(text), u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		return n * u.bytes, number, err == nil && n > 0 && n*u.bytes <= math.MaxInt64/2
	}
	return 0, "", false
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

// Bytes is a flag in bytes of which a few make sense too: 67108864, 64MiB, and 64m as
// Milvus's own configuration spells it.
type Bytes int64

// Set implements pflag.Value.
func (b *Bytes) Set(text string) error {
	unit := strings.TrimLeft(text, "0123456789. ")
	if unit == "k" || unit == "m" || unit == "g" {
		text = strings.ToUpper(text)
	}
	n, _, ok := parseBytes(text)
	if !ok || n < 1 {
		return Usagef("%q is no number of bytes; write 67108864 or 64MiB", text)
	}
	*b = Bytes(n)
	return nil
}

// String implements pflag.Value.
func (b *Bytes) String() string { return strconv.FormatInt(int64(*b), 10) }

// Type implements pflag.Value.
func (b *Bytes) Type() string { return "bytes" }
