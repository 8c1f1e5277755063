package pulsar

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	client "github.com/apache/pulsar-client-go/pulsar"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/walctl/walctl/pkg/walreader/source"
)

// Trouble is the way a connection failed.
type Trouble uint8

// The ways. TroubleOther is what none of them describes.
const (
	TroubleOther Trouble = iota
	TroubleRefused
	TroubleClosed
	TroubleReset
	TroubleSilent
	TroubleName
	TroubleRoute
	TroubleTLS
	TroubleWrongService
)

// ReachError is why a place could not be reached, or not be read on, in words for
// a screen. What the network or a client library said stays inside: it does not
// unwrap, so that an io.EOF out of a library never passes for the end of a log.
// It wraps source.ErrUnavailable.
type ReachError struct {
	Addr    string // HOST:PORT; "" = not known
	Trouble Trouble
	Words   string // what happened, with the place in it
	Help    string // what to do about it; may be ""

	foreign error
}

// Error implements error.
func (e *ReachError) Error() string {
	if e.Help != "" {
		return e.Words + "; " + e.Help
	}
	return e.Words
}

// Unwrap returns source.ErrUnavailable, and nothing of what a library said.
func (e *ReachError) Unwrap() error { return source.ErrUnavailable }

// foreignOf is what a library said beneath an error of ours; err itself where
// nothing of ours is around it.
func foreignOf(err error) error {
	var r *ReachError
	if errors.As(err, &r) && r.foreign != nil {
		return r.foreign
	}
	return err
}

// reach is the one place where an error out of a library becomes one of ours.
func (c Config) reach(addr string, err error) error {
	if err == nil {
		return nil
	}
	var ours *ReachError
	if errors.As(err, &ours) {
		return ours
	}
	at := addr
	if at == "" {
		at = "the broker"
	}
	e := &ReachError{Addr: addr, foreign: err}
	e.Trouble, e.Words = describe(at, err)
	if hint, ok := c.untrusted(err); ok {
		e.Trouble, e.Help = TroubleTLS, hint
		e.Words = "no TLS with " + at + ": " + tlsWords(err)
	}
	return e
}

// describe sorts an error by what it means at the other end.
func describe(at string, err error) (Trouble, string) {
	var dns *net.DNSError
	var timeout net.Error
	var known *client.Error
	text := err.Error()
	has := func(words string) bool { return strings.Contains(text, words) }
	switch {
	case errors.As(err, &dns):
		return TroubleName, fmt.Sprintf("the name %s does not resolve", dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED), has("connection refused"), has("actively refused"):
		return TroubleRefused, "connection refused by " + at
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), has("connection reset"), has("broken pipe"):
		return TroubleReset, "connection reset by " + at
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), has("no route to host"), has("network is unreachable"):
		return TroubleRoute, "no route to " + at
	case has("tls: "), has("remote error: tls"):
		return TroubleTLS, "no TLS with " + at + ": " + tlsWords(err)
	case has("malformed HTTP"):
		return TroubleWrongService, at + " does not speak HTTP"
	case errors.As(err, &known) && known.Result() == client.TimeoutError, errors.As(err, &timeout) && timeout.Timeout(),
		errors.Is(err, context.DeadlineExceeded), has("request timed out"), has("timeout"):
		return TroubleSilent, "no answer from " + at
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), has("EOF"),
		has("connection closed"), has("connection error"), has("closed network connection"), has("server closed idle connection"):
		return TroubleClosed, "connection closed by " + at
	}
	return TroubleOther, fmt.Sprintf("trouble with %s: %s", at, plain(text))
}

// tlsWords is what went wrong with a certificate or a handshake, shortly.
func tlsWords(err error) string {
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return "it answered without it"
	}
	text := err.Error()
	for _, mark := range []string{"x509: ", "remote error: tls: ", "tls: "} {
		if i := strings.LastIndex(text, mark); i >= 0 {
			return plain(text[i+len(mark):])
		}
	}
	return plain(text)
}

// plain keeps the words of another's error to one line of bounded length.
func plain(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	return text
}

// hosts are the brokers of the service URL, each with its port.
func (c Config) hosts() []string {
	u, err := url.Parse(c.ServiceURL)
	if err != nil {
		return nil
	}
	var out []string
	for _, h := range strings.Split(u.Host, ",") {
		if _, _, split := net.SplitHostPort(h); split != nil {
			h = net.JoinHostPort(strings.Trim(h, "[]"), map[string]string{"pulsar": "6650", "pulsar+ssl": "6651"}[u.Scheme])
		}
		out = append(out, h)
	}
	return out
}

// service names the brokers for a screen.
func (c Config) service() string { return strings.Join(c.hosts(), ", ") }

// adminHost names the admin port for a screen.
func (c Config) adminHost() string {
	u, err := url.Parse(c.AdminURL)
	if err != nil || u.Host == "" {
		return c.AdminURL
	}
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	return u.Host
}

// encrypted reports whether the service URL asks for TLS.
func (c Config) encrypted() bool { return strings.HasPrefix(c.ServiceURL, "pulsar+ssl://") }

// hello has one of the brokers answer Pulsar's own greeting, so that a port that
// is dead, silent or somebody else's is told at once and with its reason; the
// client would try on in silence. A broker that answers with a refusal is there:
// what it refuses is told by who then reads.
func (s *Source) hello(ctx context.Context) error {
	defer s.waits.begin(s.cfg.service())()
	var all []string
	var first *ReachError
	for _, host := range s.cfg.hosts() {
		err := s.helloTo(ctx, host)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var r *ReachError
		if errors.As(err, &r) && first == nil {
			first = r
		}
		all = append(all, err.Error())
	}
	if first == nil {
		return &ReachError{Words: "the service URL names no broker"}
	}
	if len(all) == 1 {
		return first
	}
	return &ReachError{Addr: first.Addr, Trouble: first.Trouble, Words: "no broker answers: " + strings.Join(all, "; "), foreign: first.foreign}
}

func (s *Source) helloTo(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.contactStep())
	defer cancel()
	conn, err := s.greet(ctx, host)
	if err != nil {
		return s.cfg.reach(host, err)
	}
	defer func() { _ = conn.Close() }()
	kind, err := readGreeting(conn)
	if err == nil && kind.known() {
		return nil
	}
	return s.otherService(ctx, host, kind, err)
}

// greet connects and sends CONNECT.
func (s *Source) greet(ctx context.Context, host string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	if at, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(at)
	}
	if s.cfg.encrypted() {
		cfg, err := s.cfg.tls()
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
		cfg.ServerName, _, _ = net.SplitHostPort(host)
		secure := tls.Client(conn, cfg)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		conn = secure
	}
	token, err := s.cfg.token()
	if err == nil {
		_, err = conn.Write(connectFrame(token))
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// otherService says what answered in a broker's place.
func (s *Source) otherService(ctx context.Context, host string, got greeting, err error) error {
	e := &ReachError{Addr: host, Trouble: TroubleWrongService, foreign: err}
	switch {
	case got.text() == "HTTP":
		e.Words = host + " speaks HTTP and not Pulsar's protocol"
		e.Help = "is it the admin port? a broker's own is usually 6650"
	case !s.cfg.encrypted() && (got.alert() || err != nil && s.cfg.speaksTLS(ctx, host)):
		e.Trouble, e.Words, e.Help = TroubleTLS, host+" speaks TLS", "write pulsar+ssl:// before it"
	case err == nil || len(got) > 0:
		e.Words = host + " does not speak Pulsar's protocol"
		e.Help = "check the host and the port"
	default:
		r := s.cfg.reach(host, err)
		if errors.As(r, &e) && e.Trouble == TroubleClosed {
			e.Words += " before it answered"
			e.Help = "is a broker behind it?"
		}
	}
	return e
}

// speaksTLS tries whether a port that did not like a plain greeting likes TLS's.
func (c Config) speaksTLS(ctx context.Context, host string) bool {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", host)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(min(2*time.Second, c.contactStep())))
	// Nothing is sent over it: who is there does not matter.
	return tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10}).HandshakeContext(ctx) == nil
}

// greeting is the beginning of what a port answered to CONNECT.
type greeting []byte

// maxGreeting is how much of an answer is looked at.
const maxGreeting = 64

// readGreeting reads the frame a broker answers with: its two lengths and the
// beginning of its command.
func readGreeting(conn net.Conn) (greeting, error) {
	buf := make([]byte, maxGreeting)
	n, err := io.ReadAtLeast(conn, buf, 10)
	return greeting(buf[:n]), err
}

func (g greeting) text() string {
	if len(g) < 4 {
		return ""
	}
	return string(g[:4])
}

// alert reports whether it is TLS's answer to what is not TLS.
func (g greeting) alert() bool { return len(g) >= 2 && g[0] == 0x15 && g[1] == 3 }

// Pulsar's commands that answer CONNECT, by number in its BaseCommand.
const (
	commandConnect       = 2
	commandConnected     = 3
	commandError         = 14
	commandAuthChallenge = 36
	clientProtocol       = 19 // the version the client library speaks
)

// known reports whether it is a frame of Pulsar's with one of these commands.
func (g greeting) known() bool {
	command, ok := g.command()
	return ok && (command == commandConnected || command == commandError || command == commandAuthChallenge)
}

// command is the number of a frame's command; false where it is no frame of Pulsar's.
func (g greeting) command() (uint64, bool) {
	if len(g) < 10 {
		return 0, false
	}
	total, size := binary.BigEndian.Uint32(g), binary.BigEndian.Uint32(g[4:])
	if size < 2 || total < size+4 || total > 6<<20 {
		return 0, false
	}
	num, typ, n := protowire.ConsumeTag(g[8:])
	if n < 0 || num != 1 || typ != protowire.VarintType {
		return 0, false
	}
	command, m := protowire.ConsumeVarint(g[8+n:])
	return command, m > 0
}

// connectFrame is the greeting a client sends.
func connectFrame(token string) []byte {
	var connect []byte
	connect = protowire.AppendTag(connect, 1, protowire.BytesType)
	connect = protowire.AppendString(connect, "walctl")
	if token != "" {
		connect = protowire.AppendTag(connect, 3, protowire.BytesType)
		connect = protowire.AppendString(connect, token)
		connect = protowire.AppendTag(connect, 5, protowire.BytesType)
		connect = protowire.AppendString(connect, "token")
	}
	connect = protowire.AppendTag(connect, 4, protowire.VarintType)
	connect = protowire.AppendVarint(connect, clientProtocol)
	var command []byte
	command = protowire.AppendTag(command, 1, protowire.VarintType)
	command = protowire.AppendVarint(command, commandConnect)
	command = protowire.AppendTag(command, 2, protowire.BytesType)
	command = protowire.AppendBytes(command, connect)
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(command)+4))
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(command)))
	return append(frame, command...)
}
