package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/walctl/walctl/internal/safefile"
)

// MaxFileSize is the largest plan file that is read, in bytes.
const MaxFileSize = 2 << 30

// Encode returns the plan as its file has it, byte for byte.
func Encode(p *Plan) ([]byte, error) {
	b, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode plan: %w", err)
	}
	return append(b, '\n'), nil
}

// Looks reports whether a file that begins so is a plan of walctl's, of any version.
func Looks(head []byte) bool {
	return bytes.HasPrefix(head, []byte("{\n \"schema\": \""+planSchemas))
}

// Read reads a plan file and holds it to its schema and digest: ErrCorrupt where
// it is no plan or not byte for byte what Encode gives, a *RefusedError where it
// was changed or made by another walctl. Only a regular file is read.
func Read(path string) (*Plan, error) {
	b, err := safefile.Read(path, MaxFileSize)
	if errors.Is(err, safefile.ErrTooLarge) {
		return nil, fmt.Errorf("plan %s: %w: more than %d bytes", path, ErrCorrupt, MaxFileSize)
	}
	if err != nil {
		return nil, fmt.Errorf("read plan: %w", err)
	}
	p, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w", path, err)
	}
	return p, nil
}

// Parse is Read over bytes.
func Parse(b []byte) (*Plan, error) {
	if len(b) > MaxFileSize {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrCorrupt, MaxFileSize)
	}
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, otherHand(head.Schema, err)
	}
	if !strings.HasPrefix(head.Schema, planSchemas) {
		return nil, fmt.Errorf("%w: no plan of walctl", ErrCorrupt)
	}
	p := &Plan{Schema: head.Schema}
	if head.Schema == SchemaVersion {
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields() // an unknown field was not digested
		if err := d.Decode(p); err != nil {
			return nil, otherHand(head.Schema, err)
		}
		own, err := Encode(p)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(own, b) { // what is read twice, or spelled otherwise, can mean two things
			return nil, otherHand(head.Schema, nil)
		}
	}
	if err := p.Verify(); err != nil {
		return nil, err
	}
	return p, nil
}

// otherHand is why a file is not taken, though parts of it may be a plan's.
func otherHand(schema string, err error) error {
	if !strings.HasPrefix(schema, planSchemas) {
		return fmt.Errorf("%w: no plan of walctl", ErrCorrupt)
	}
	where := ""
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		where = fmt.Sprintf(" (byte %d)", syntax.Offset)
	}
	return fmt.Errorf("%w: not as walctl wrote it%s: cut off, or edited by hand or by another tool; make the plan again", ErrCorrupt, where)
}
