package hammer

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// A decoder that trusts a length is found out.
func TestDamageReachesALengthThatIsTrusted(t *testing.T) {
	seed := [][][]byte{{[]byte("\x03abc"), []byte("x")}}
	m := mutator{r: rand.New(rand.NewPCG(1, 1)), seeds: seed}
	long, short, other := 0, 0, 0
	for range 10_000 {
		f := m.next()
		require.Len(t, f, 2)
		switch {
		case len(f[0]) > 0 && int(f[0][0]) > len(f[0])-1:
			long++
		case len(f[0]) < 4:
			short++
		}
		if !bytes.Equal(f[1], []byte("x")) {
			other++
		}
	}
	require.Equal(t, "\x03abc", string(seed[0][0]), "a seed was damaged")
	require.Greater(t, min(long, short, other), 500)
}

func TestEveryRunIsTheSame(t *testing.T) {
	var runs [2][]byte
	for i := range runs {
		Run(t, [][][]byte{{[]byte("abc")}, {[]byte("\x00\x01")}}, func(f [][]byte) {
			if len(runs[i]) < 1<<16 {
				runs[i] = append(runs[i], f[0]...)
			}
		})
	}
	require.Equal(t, runs[0], runs[1])
}
