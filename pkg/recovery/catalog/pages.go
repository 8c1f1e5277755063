package catalog

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"

	"github.com/walctl/walctl/internal/safefile"
)

// The parts of bbolt's file format that say which page hangs below which (wire
// format of bbolt 1.3):
//
//	page     │id u64│flags u16│count u16│overflow u32│ elements …
//	meta     │magic u32│version u32│page size u32│flags u32│root u64│seq u64│
//	         │freelist u64│pages u64│txid u64│fnv64a of the above│
//	branch   │pos u32│key size u32│page u64│
//	leaf     │flags u32│pos u32│key size u32│value size u32│   pos counts from the element
const (
	pageHeader   = 16
	pageBranch   = 0x01
	pageLeaf     = 0x02
	leafIsBucket = 0x01
	elementSize  = 16
	metaSize     = 64
	metaMagic    = 0xED0CDAED
	maxPageSize  = 1 << 16
)

type pageWalker struct {
	f     io.ReaderAt
	size  uint64 // of a page
	pages uint64 // in the file
	seen  map[uint64]bool
}

// checkPages reads which page hangs below which and refuses a file where a page
// lies outside it or hangs in two places.
func checkPages(path string) error {
	f, err := safefile.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	root, pageSize, err := currentMeta(f)
	if err != nil {
		return err
	}
	w := pageWalker{f: f, size: uint64(pageSize), pages: uint64(info.Size()) / uint64(pageSize), seen: map[uint64]bool{}}
	return w.walk(root, true)
}

// currentMeta returns the root page of the newest valid meta page.
func currentMeta(f io.ReaderAt) (root uint64, pageSize uint32, err error) {
	var newest uint64
	offsets := []int64{0}
	for size := int64(512); size <= maxPageSize; size <<= 1 {
		offsets = append(offsets, size)
	}
	for _, off := range offsets {
		b := make([]byte, metaSize)
		if _, err := f.ReadAt(b, off+pageHeader); err != nil {
			break
		}
		sum := fnv.New64a()
		sum.Write(b[:metaSize-8])
		if binary.LittleEndian.Uint32(b) != metaMagic || sum.Sum64() != binary.LittleEndian.Uint64(b[metaSize-8:]) {
			continue
		}
		txid := binary.LittleEndian.Uint64(b[48:])
		if size := binary.LittleEndian.Uint32(b[8:]); pageSize == 0 || txid >= newest {
			root, pageSize, newest = binary.LittleEndian.Uint64(b[16:]), size, txid
		}
	}
	if pageSize < 512 || pageSize > maxPageSize || pageSize&(pageSize-1) != 0 {
		return 0, 0, fmt.Errorf("no valid first page, so no bbolt file: %w", ErrCorrupt)
	}
	return root, pageSize, nil
}

// walk follows one tree. In the top tree it follows the buckets of leaves too;
// buckets inside buckets are neither etcd's nor ours.
func (w *pageWalker) walk(root uint64, top bool) error {
	todo := []uint64{root}
	for len(todo) > 0 {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if id >= w.pages || id < 2 {
			return fmt.Errorf("page %d lies outside the file of %d pages: %w", id, w.pages, ErrCorrupt)
		}
		if w.seen[id] {
			return fmt.Errorf("page %d hangs in two places: %w", id, ErrCorrupt)
		}
		w.seen[id] = true
		children, buckets, err := w.page(id, top)
		if err != nil {
			return err
		}
		todo = append(todo, children...)
		for _, b := range buckets {
			if err := w.walk(b, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// page returns the pages below a branch page, or the bucket roots in a leaf page.
func (w *pageWalker) page(id uint64, top bool) (children, buckets []uint64, err error) {
	head := make([]byte, pageHeader)
	if _, err := w.f.ReadAt(head, int64(id*w.size)); err != nil {
		return nil, nil, fmt.Errorf("page %d: %w: %w", id, err, ErrCorrupt)
	}
	flags, count := binary.LittleEndian.Uint16(head[8:]), uint64(binary.LittleEndian.Uint16(head[10:]))
	overflow := uint64(binary.LittleEndian.Uint32(head[12:]))
	if binary.LittleEndian.Uint64(head) != id || overflow >= w.pages-id || flags != pageBranch && flags != pageLeaf {
		return nil, nil, fmt.Errorf("page %d has a broken header: %w", id, ErrCorrupt)
	}
	if bytes := (overflow + 1) * w.size; count > (bytes-pageHeader)/elementSize {
		return nil, nil, fmt.Errorf("page %d claims %d elements: %w", id, count, ErrCorrupt)
	}
	if flags == pageLeaf && !top {
		return nil, nil, nil
	}
	b := make([]byte, count*elementSize)
	if _, err := w.f.ReadAt(b, int64(id*w.size+pageHeader)); err != nil {
		return nil, nil, fmt.Errorf("page %d: %w: %w", id, err, ErrCorrupt)
	}
	for i := uint64(0); i < count; i++ {
		e := b[i*elementSize:]
		if flags == pageBranch {
			children = append(children, binary.LittleEndian.Uint64(e[8:]))
			continue
		}
		if binary.LittleEndian.Uint32(e)&leafIsBucket == 0 {
			continue
		}
		// A bucket's value begins with its root page; 0 = it lies inline.
		at := id*w.size + pageHeader + i*elementSize + uint64(binary.LittleEndian.Uint32(e[4:])) + uint64(binary.LittleEndian.Uint32(e[8:]))
		var v [8]byte
		if _, err := w.f.ReadAt(v[:], int64(at)); err != nil {
			return nil, nil, fmt.Errorf("page %d element %d: %w: %w", id, i, err, ErrCorrupt)
		}
		if r := binary.LittleEndian.Uint64(v[:]); r != 0 {
			buckets = append(buckets, r)
		}
	}
	return children, buckets, nil
}
