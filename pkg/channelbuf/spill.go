package channelbuf

import (
	"bufio"
	"fmt"
	"hash/crc32"
	"os"
)

// spillBlock is how much is written at once, bytes.
const spillBlock = 256 << 10

// spillFile is one buffer's temporary file. Chunks are only ever appended.
type spillFile struct {
	f    *os.File
	w    *bufio.Writer
	size int64

	unnamed bool // its name is gone already
}

// spillPattern names the temporary files, so that a later run knows them.
const spillPattern = "walctl-spill-*"

// openSpill makes the temporary file. Where the system allows, its name is taken
// away at once: whatever ends the process then takes the rows with it.
func openSpill(dir string) (*spillFile, error) {
	removeLeftSpills(dir)
	f, err := os.CreateTemp(dir, spillPattern)
	if err != nil {
		return nil, fmt.Errorf("spill a channel buffer: %w", err)
	}
	return &spillFile{f: f, w: bufio.NewWriterSize(f, spillBlock), unnamed: unname(f)}, nil
}

// put moves a chunk's data towards the file; flush must follow before a get.
func (s *spillFile) put(c *chunk) error {
	if _, err := s.w.Write(c.data); err != nil {
		return fmt.Errorf("spill %d bytes of a channel buffer to %s: %w", len(c.data), s.f.Name(), err)
	}
	c.off, c.crc, c.data = s.size, checksum(c.data), nil
	s.size += c.size
	return nil
}

func (s *spillFile) flush() error {
	if err := s.w.Flush(); err != nil {
		return fmt.Errorf("spill a channel buffer to %s: %w", s.f.Name(), err)
	}
	return nil
}

// get reads a chunk's data back; p is scratch.
func (s *spillFile) get(c *chunk, p []byte) ([]byte, error) {
	if int64(cap(p)) < c.size {
		p = make([]byte, c.size)
	}
	p = p[:c.size]
	if _, err := s.f.ReadAt(p, c.off); err != nil {
		return nil, fmt.Errorf("read back %d spilled bytes at %d of %s: %w", c.size, c.off, s.f.Name(), err)
	}
	if checksum(p) != c.crc {
		return nil, fmt.Errorf("read back %d spilled bytes at %d of %s: checksum differs", c.size, c.off, s.f.Name())
	}
	return p, nil
}

// close removes the file. Nobody can act on a temporary file that will not go,
// and its data is needed no more.
func (s *spillFile) close() {
	_ = s.f.Close()
	if !s.unnamed {
		_ = os.Remove(s.f.Name())
	}
}

func checksum(p []byte) uint32 { return crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) }
