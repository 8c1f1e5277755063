package archive

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/walctl/walctl/pkg/walreader/message"
)

// fileSafe spells a name so that it is one path element everywhere and DuckDB,
// Spark and Trino read it back as the value of a partition key.
func fileSafe(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' && i > 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if b.Len() == 0 {
		return "%"
	}
	return b.String()
}

// idName spells an id for a file name: 12_345_0, m1 for −1.
func idName(id message.ID) string {
	var b []byte
	for i, v := range []int64{id.A, id.B, int64(id.Batch)} {
		if i > 0 {
			b = append(b, '_')
		}
		if v < 0 {
			b = append(b, 'm')
		}
		b = strconv.AppendUint(b, uint64(max(v, -v)), 10)
	}
	return string(b)
}

// parseIDNames reads the two ids of a segment's file name.
func parseIDNames(file string) (first, last message.ID, ok bool) {
	base, _, _ := strings.Cut(file, ".")
	a, b, found := strings.Cut(base, "-")
	first, ok1 := parseIDName(a)
	last, ok2 := parseIDName(b)
	return first, last, found && ok1 && ok2
}

func parseIDName(s string) (id message.ID, ok bool) {
	parts := strings.Split(s, "_")
	if len(parts) != 3 {
		return id, false
	}
	var v [3]int64
	for i, p := range parts {
		n, err := strconv.ParseInt(strings.Replace(p, "m", "-", 1), 10, 64)
		if err != nil {
			return id, false
		}
		v[i] = n
	}
	return message.ID{A: v[0], B: v[1], Batch: int32(v[2])}, true
}
