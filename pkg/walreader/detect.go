package walreader

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/walctl/walctl/pkg/walreader/source"
	"github.com/walctl/walctl/pkg/walreader/source/jsonl"
)

// sniffSize is how much of a file is looked at, bytes after decompression.
const sniffSize = 8 << 10

// Marks of the formats walctl tells apart by content.
var (
	magicParquet      = []byte("PAR1")
	magicBKEntryLog   = []byte("BKLO")
	magicBKJournal    = []byte("BKLG")
	magicWoodpecker   = []byte("HDR\x01") // behind the first record's frame
	magicBolt         = []byte{0xed, 0xda, 0x0c, 0xed}
	recordKeys        = [][]byte{[]byte(`"props"`), []byte(`"payload"`)}
	woodpeckerOffset  = 9 + 12
	boltMagicOffset   = 16
	archiveIndexNames = []string{"index", "payload", "evidence"}
)

// Detect tells what lies at a path by its content, never by its name. It returns
// KindUnknown without an error for what is no log.
func Detect(path string) (Kind, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return KindUnknown, fmt.Errorf("%w: %s does not exist", source.ErrNotFound, path)
	}
	if err != nil {
		return KindUnknown, fmt.Errorf("look at %s: %w", path, err)
	}
	if st.IsDir() {
		return detectDir(path)
	}
	if !st.Mode().IsRegular() {
		return KindJSONL, nil // a pipe can be read once only: it is not looked at
	}
	head, err := sniff(path)
	if err != nil {
		return KindUnknown, err
	}
	return detectBytes(path, head)
}

func detectBytes(path string, head []byte) (Kind, error) {
	at := func(off int, magic []byte) bool { return len(head) >= off && bytes.HasPrefix(head[off:], magic) }
	switch {
	case at(0, magicBKEntryLog), at(0, magicBKJournal):
		return KindBookKeeper, nil
	case at(woodpeckerOffset, magicWoodpecker):
		return KindWoodpecker, nil
	case at(0, magicParquet):
		return KindUnknown, &SpecError{Spec: path, Reason: "is a Parquet file; name the archive's directory"}
	case at(boltMagicOffset, magicBolt):
		return KindUnknown, &SpecError{Spec: path, Reason: "is a bbolt file: a catalog, not a log; give it as --catalog file:… or snapshot:…"}
	case len(head) == 0, isRecords(head), bytes.HasPrefix(bytes.TrimLeft(head, " \t\r\n"), []byte("{")):
		return KindJSONL, nil
	}
	return KindUnknown, nil
}

// isRecords finds the record format even behind a damaged first byte, so that
// its reader can say which line is damaged and read the rest.
func isRecords(head []byte) bool {
	for _, k := range recordKeys {
		if bytes.Contains(head, k) {
			return true
		}
	}
	return false
}

// sniff returns a file's first bytes, decompressed. What cannot be decompressed
// is taken for a damaged record file: its reader tells the place.
func sniff(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("look at the log: %w", err)
	}
	defer f.Close()
	r, packed, err := jsonl.Decompress(f)
	if err != nil && packed {
		return []byte("{"), nil //nolint:nilerr // said by the reader, with its place
	}
	if err != nil {
		return nil, fmt.Errorf("look at the log: %w", err)
	}
	defer r.Close()
	head := make([]byte, sniffSize)
	n, err := io.ReadFull(r, head)
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
	case packed && n == 0:
		return []byte("{"), nil
	case !packed:
		return nil, fmt.Errorf("look at the log: %w", err)
	}
	if packed && n == 0 && err != nil {
		return []byte("{"), nil //nolint:nilerr // nothing came out of it: its reader says why
	}
	return head[:n], nil
}

// detectDir tells what a directory holds.
func detectDir(dir string) (Kind, error) {
	if isArchive(dir) {
		return KindArchive, nil
	}
	for _, m := range []struct {
		pattern string
		kind    Kind
	}{
		{"data.log", KindWoodpecker}, {"*/data.log", KindWoodpecker}, {"*/*/data.log", KindWoodpecker}, {"*/*/0.blk", KindWoodpecker},
		{"current/*.txn", KindBookKeeper}, {"current/lastMark", KindBookKeeper}, {"lastMark", KindBookKeeper},
	} {
		if hits, _ := filepath.Glob(filepath.Join(dir, m.pattern)); len(hits) > 0 {
			return m.kind, nil
		}
	}
	logs, err := recordFiles(dir)
	if err != nil {
		return KindUnknown, err
	}
	if len(logs) > 0 {
		return KindJSONL, nil
	}
	if damaged(dir) {
		return KindArchive, nil // its reader says what is missing
	}
	return KindUnknown, nil
}

// damaged recognises an archive whose manifest is gone.
func damaged(dir string) bool {
	hits, _ := filepath.Glob(filepath.Join(dir, "*", "pchannel=*"))
	return slices.ContainsFunc(hits, func(p string) bool {
		return slices.Contains(archiveIndexNames, filepath.Base(filepath.Dir(p)))
	})
}

// maxDirFiles caps how many files of a directory are looked into.
const maxDirFiles = 256

// recordFiles lists the files of a directory that hold records.
func recordFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", dir, err)
	}
	var out []string
	for i, e := range entries {
		if i >= maxDirFiles {
			break
		}
		if !e.Type().IsRegular() {
			continue
		}
		head, err := sniff(filepath.Join(dir, e.Name()))
		if err == nil && bytes.Contains(head, recordKeys[0]) && bytes.Contains(head, recordKeys[1]) {
			out = append(out, e.Name())
		}
	}
	return out, nil
}
