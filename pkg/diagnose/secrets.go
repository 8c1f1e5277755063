package diagnose

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
)

// hidden stands in a copied log for what was left out.
const hidden = "***"

// What a log of Milvus may hold of credentials: a value under a telling name, as
// zap, JSON and URLs spell them; the user and password of an address; a signed
// request; a token by its own shape.
var (
	secretPair = regexp.MustCompile(`(?i)((?:password|passwd|secret|token|credential|authorization|access[_-]?key|api[_-]?key|private[_-]?key|signature)[a-z0-9_.-]*["'\\]*\s*[:=]\s*)` +
		`(\\"(?:[^"\\]|\\\\(?:\\")?)*\\"|"(?:[^"\\]|\\.)*"|'[^']*'|\[?(?:bearer|basic)\s+[^\s"'\],;&}]+|[^\s"'\],;&})]+)`)
	secretUser = regexp.MustCompile(`(://)[^/@\s"']+@`)
	secretJWT  = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`)
	secretAuth = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}`)
)

// WithoutSecrets is a line of a log without the credentials that can be told in it.
func WithoutSecrets(line []byte) []byte {
	line = secretPair.ReplaceAll(line, []byte("${1}"+hidden))
	line = secretUser.ReplaceAll(line, []byte("${1}"))
	line = secretJWT.ReplaceAll(line, []byte(hidden))
	return secretAuth.ReplaceAll(line, []byte("${1} "+hidden))
}

// CopiedLog says what of a log was copied.
type CopiedLog struct {
	Lines, Hidden int64 // Hidden lines are without credentials that were in them
	Short         bool  // the log goes on beyond what was copied
}

// CopyLog copies a log of Milvus line by line, without credentials, up to so many
// bytes. A line that is too long to be looked at is left out but for its end.
func CopyLog(w io.Writer, r io.Reader, most int64) (CopiedLog, error) {
	var out CopiedLog
	br := bufio.NewReaderSize(r, maxLogLine)
	for most > 0 {
		line, err := br.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			out.Hidden++
			line = []byte(hidden)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = br.ReadSlice('\n')
			}
			line = append(line, '\n')
		}
		if len(line) > 0 {
			out.Lines++
			clean := WithoutSecrets(line)
			if !bytes.Equal(clean, line) {
				out.Hidden++
			}
			most -= int64(len(clean))
			if _, werr := w.Write(clean); werr != nil {
				return out, werr
			}
		}
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
	}
	_, err := br.ReadByte()
	out.Short = err == nil
	return out, nil
}
