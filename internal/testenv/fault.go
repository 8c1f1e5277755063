package testenv

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Death is a way a connection, or a port, can be dead.
type Death string

// The ways. Those that only a port can be dead in are served by DeadPort alone.
const (
	DeathNone    Death = ""          // it lives
	DeathFIN     Death = "FIN"       // accepted and closed
	DeathRST     Death = "RST"       // accepted and reset
	DeathHang    Death = "hang"      // accepted, and nothing ever again
	DeathHalf    Death = "half-open" // it still reads and has closed its own side
	DeathGarbage Death = "garbage"   // it answers with noise
	DeathTLS     Death = "TLS"       // it speaks TLS alone
	DeathHTTP    Death = "HTTP"      // it is a web server
	DeathRefused Death = "refused"   // nobody listens
)

// Deaths lists every way a port can be dead.
func Deaths() []Death {
	return []Death{DeathFIN, DeathRST, DeathHang, DeathHalf, DeathGarbage, DeathTLS, DeathHTTP, DeathRefused}
}

// Proxy stands before a service and lets its connections die when it is told to.
type Proxy struct {
	target string
	l      net.Listener
	wg     sync.WaitGroup

	mu    sync.Mutex
	how   Death
	left  int64 // bytes the service may still send
	conns map[net.Conn]struct{}
	quit  chan struct{}
	hold  int64         // bytes a connection may be sent before it is held; 0 = none is held
	held  int           // connections that are
	free  chan struct{} // closed when they are let go
}

// NewProxy listens before target, HOST:PORT; "" = it is set with Serve. It lives
// as long as the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: target, l: l, conns: map[net.Conn]struct{}{}, quit: make(chan struct{})}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// DeadPort is a port that is dead in a way from the start. It returns HOST:PORT.
func DeadPort(t testing.TB, how Death) string {
	t.Helper()
	switch how {
	case DeathRefused:
		ports, err := freePorts(1)
		if err != nil {
			t.Fatal(err)
		}
		return "127.0.0.1:" + ports[0]
	case DeathTLS, DeathHTTP:
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute, TLSConfig: selfSigned(t)}
		s.ErrorLog = log.New(io.Discard, "", 0)
		if how == DeathTLS {
			l = tls.NewListener(l, s.TLSConfig)
		}
		done := make(chan struct{})
		go func() { defer close(done); _ = s.Serve(l) }()
		t.Cleanup(func() { _ = s.Close(); <-done })
		return l.Addr().String()
	}
	p := NewProxy(t, "")
	p.Break(how, 0)
	return p.Addr()
}

// Addr is where the proxy listens, HOST:PORT.
func (p *Proxy) Addr() string { return p.l.Addr().String() }

// Serve says what the proxy stands before.
func (p *Proxy) Serve(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Break lets connections die when the service has sent so many bytes more; new
// ones die at once then.
func (p *Proxy) Break(how Death, after int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.how, p.left = how, after
}

// Hold keeps back what the service sends over a connection once it sent so many
// bytes, until Release: its client is met in the middle for sure.
func (p *Proxy) Hold(after int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold, p.held, p.free = after, 0, make(chan struct{})
}

// Held is how many connections are held.
func (p *Proxy) Held() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

// Release lets what is held go on, and holds no more.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = 0
	close(p.free)
}

// heldBack waits where a connection that was sent so many bytes is held.
func (p *Proxy) heldBack(sent int64) {
	p.mu.Lock()
	free := p.free
	wait := p.hold > 0 && sent > p.hold
	if wait {
		p.held++
	}
	p.mu.Unlock()
	if !wait {
		return
	}
	select {
	case <-free:
	case <-p.quit:
	}
}

// Mend lets new connections live.
func (p *Proxy) Mend() { p.Break(DeathNone, 0) }

func (p *Proxy) close() {
	_ = p.l.Close()
	close(p.quit)
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *Proxy) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = struct{}{}
}

// may takes n bytes off what the service may still send.
func (p *Proxy) may(n int) (how Death, dead bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.how == DeathNone {
		return p.how, false
	}
	p.left -= int64(n)
	return p.how, p.left < 0
}

func (p *Proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.keep(c)
		p.wg.Go(func() { p.serve(c) })
	}
}

func (p *Proxy) serve(c net.Conn) {
	if how, dead := p.may(1); dead {
		p.die(c, how)
		return
	}
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	s, err := net.Dial("tcp", target)
	if err != nil {
		_ = c.Close()
		return
	}
	p.keep(s)
	p.wg.Go(func() { pass(s, c) })
	buf := make([]byte, 32<<10)
	for sent := int64(0); ; {
		n, err := s.Read(buf)
		sent += int64(n)
		p.heldBack(sent)
		if how, dead := p.may(n); dead {
			_ = s.Close()
			p.die(c, how)
			return
		}
		if n > 0 {
			if _, werr := c.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			_, _ = c.Close(), s.Close()
			return
		}
	}
}

// pass copies one way until either end is gone.
func pass(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

// die ends one connection in a way.
func (p *Proxy) die(c net.Conn, how Death) {
	tcp, _ := c.(*net.TCPConn)
	switch how {
	case DeathRST:
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
	case DeathHang:
		<-p.quit
	case DeathHalf:
		_ = tcp.CloseWrite()
		buf := make([]byte, 4<<10)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	case DeathGarbage:
		noise := make([]byte, 512)
		_, _ = rand.Read(noise)
		noise[0] = 0x7f // no length of a frame that could be meant
		noise = append(noise, '\n')
		_, _ = c.Write(noise)
		<-p.quit
	default: // what was sent to it is taken first: else it would be a reset
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = c.Read(make([]byte, 64<<10))
		_ = c.Close()
	}
}

// selfSigned is a certificate nobody trusts.
func selfSigned(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nobody"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
