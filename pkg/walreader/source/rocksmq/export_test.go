package rocksmq

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Rows returns a directory's rows as RocksDB's ldb prints them: merged, what is
// deleted left out.
func Rows(ctx context.Context, dir string) ([]string, error) {
	data, err := place(dir)
	if err != nil {
		return nil, err
	}
	s, err := scan(ctx, data)
	if err != nil {
		return nil, err
	}
	defer s.release()
	var out []string
	for _, name := range s.names() {
		m := newMerge(s, s.topics[name], 0)
		for {
			f, err := m.next(ctx)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, err
			}
			if !f.deleted {
				out = append(out, fmt.Sprintf("0x%s : 0x%s", strings.ToUpper(hex.EncodeToString(keyOf(name, f.id))), strings.ToUpper(hex.EncodeToString(f.value))))
			}
		}
		m.close()
	}
	slices.Sort(out)
	return out, nil
}
