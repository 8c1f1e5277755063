package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// pulsarVersion is the distribution scripts/fetch-pulsar brings.
const pulsarVersion = "4.0.8"

// readyWithin is how long a broker may take until its health check answers: one
// that has the machine to itself takes 7 s.
const readyWithin = 4 * time.Minute

// errGone: the broker's process ended before it was ready.
var errGone = errors.New("broker ended before it was ready")

// Broker is a Pulsar broker for tests.
type Broker struct {
	URL      string // pulsar://127.0.0.1:port
	AdminURL string // http://127.0.0.1:port

	token string // "" = the broker wants none

	process
}

// process is a service's process, which can be killed and started again.
type process struct {
	dir  string // "" = not ours: Kill and Restart are refused
	path string
	args []string
	env  []string
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has been waited for
}

// logFile holds, in the process's directory, what it prints.
const logFile = "broker.log"

// LaunchBroker starts a broker with its data under dir and waits until it is
// healthy. conf overrides keys of standalone.conf; ${brokerServicePort} in a value
// stands for the port chosen. The caller stops it.
func LaunchBroker(ctx context.Context, dir string, conf map[string]string) (*Broker, error) {
	return launchBroker(ctx, dir, "", conf)
}

// launchBroker is LaunchBroker with the token of a superuser, where one is wanted.
func launchBroker(ctx context.Context, dir, token string, conf map[string]string) (*Broker, error) {
	home, err := distribution()
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	set := map[string]string{
		"brokerServicePort": ports[0], "webServicePort": ports[1],
		"bindAddress": "127.0.0.1", "advertisedAddress": "127.0.0.1", "allowLoopback": "true",
		"defaultRetentionTimeInMinutes": "-1", "defaultRetentionSizeInMB": "-1",
		"transactionCoordinatorEnabled": "false", "managedLedgerCacheSizeMB": "64",
		// The one bookie is never shut out for what it failed while it was killed.
		"bookkeeperClientHealthCheckEnabled": "false",
		// A bookie reads 1000 entries ahead whatever their size; where that is more
		// than its cache, readers at several places throw out each other's.
		"dbStorage_writeCacheMaxSizeMb": "32", "dbStorage_readAheadCacheMaxSizeMb": "128",
		"dbStorage_readAheadCacheBatchBytesSize": "8388608",
		"brokerDeleteInactiveTopicsEnabled":      "false",
	}
	for k, v := range conf {
		set[k] = strings.ReplaceAll(v, "${brokerServicePort}", ports[0])
	}
	confFile := filepath.Join(dir, "standalone.conf")
	if err := writeConf(filepath.Join(home, "conf", "standalone.conf"), confFile, set); err != nil {
		return nil, err
	}
	// The first compiler alone starts a broker with half the work.
	b := &Broker{
		URL: "pulsar://127.0.0.1:" + ports[0], AdminURL: "http://127.0.0.1:" + ports[1], token: token,
		process: process{dir: dir, path: filepath.Join(home, "bin", "pulsar"), args: []string{"standalone", "-nfw", "-nss", "--metadata-dir", filepath.Join(dir, "meta"),
			"--bookkeeper-dir", filepath.Join(dir, "bookies"), "--bookkeeper-port", ports[2],
			"--num-bookies", "1", "-a", "127.0.0.1"},
			env: append(os.Environ(), "PULSAR_STANDALONE_CONF="+confFile, "PULSAR_LOG_DIR="+filepath.Join(dir, "logs"),
				"PULSAR_LOG_ROOT_LEVEL=warn", "PULSAR_MEM=-Xms256m -Xmx768m -XX:MaxDirectMemorySize=768m",
				"PULSAR_GC=-XX:+UseSerialGC -XX:TieredStopAtLevel=1", "PULSAR_GC_LOG=-Xlog:disable")},
	}
	if err := b.Restart(ctx); err != nil {
		b.Kill()
		return nil, err
	}
	return b, nil
}

// Restart starts the broker again on the same ports and disks, stopping it
// first where it runs, and waits until it is healthy.
func (b *Broker) Restart(ctx context.Context) error { return b.restart(ctx, b.healthy) }

// restart starts the process, again where it runs, and waits until it is healthy.
func (p *process) restart(ctx context.Context, healthy func(context.Context) bool) error {
	if p.dir == "" {
		return errors.New("restart of a broker this process did not start")
	}
	p.Kill()
	if err := p.start(); err != nil {
		return err
	}
	return p.ready(ctx, healthy)
}

// start runs the process. The goroutine that starts it waits for it on the same
// thread: the kernel's death signal follows the thread, not the process.
func (p *process) start() error {
	out, err := os.OpenFile(filepath.Join(p.dir, logFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.Command(p.path, p.args...)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.Dir = p.env, out, out, p.dir
	ownGroup(cmd)
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		defer func() { _ = out.Close() }()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p.cmd, p.done = cmd, done
	return nil
}

// Kill ends the broker as kill -9 does, and waits until it is gone.
func (p *process) Kill() {
	if p.cmd == nil {
		return
	}
	killGroup(p.cmd)
	<-p.done
	p.cmd = nil
}

func (p *process) ready(ctx context.Context, healthy func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		if healthy(ctx) {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%w: %s", errGone, tail(filepath.Join(p.dir, logFile)))
		case <-ctx.Done():
			return fmt.Errorf("broker not healthy within %s: %s", readyWithin, tail(filepath.Join(p.dir, logFile)))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (b *Broker) healthy(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.AdminURL+"/admin/v2/brokers/health", nil)
	if err != nil {
		return false
	}
	b.authorize(req)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (b *Broker) authorize(req *http.Request) {
	if b.token != "" {
		req.Header.Set("Authorization", "Bearer "+b.token)
	}
}

// distribution finds what scripts/fetch-pulsar unpacked.
func distribution() (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", fmt.Errorf("no java: run scripts/fetch-pulsar: %w", err)
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	home := filepath.Join(cache, "apache-pulsar-"+pulsarVersion)
	if _, err := os.Stat(filepath.Join(home, "bin", "pulsar")); err != nil {
		return "", fmt.Errorf("no Pulsar distribution: run scripts/fetch-pulsar: %w", err)
	}
	return home, nil
}

// cacheDir is where the scripts keep what they fetch.
func cacheDir() (string, error) {
	if cache := os.Getenv("WALCTL_TEST_CACHE"); cache != "" {
		return cache, nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "walctl-test"), err
}

// writeConf copies a properties file with keys replaced or added.
func writeConf(from, to string, set map[string]string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var out strings.Builder
	for _, line := range strings.Split(string(text), "\n") {
		key, _, _ := strings.Cut(line, "=")
		if _, ours := set[strings.TrimSpace(key)]; !ours {
			out.WriteString(line + "\n")
		}
	}
	for k, v := range set {
		fmt.Fprintf(&out, "%s=%s\n", k, v)
	}
	return os.WriteFile(to, []byte(out.String()), 0o600)
}

// freePorts asks the kernel for ports nobody listens on; all are held until
// all are known, so that they differ.
func freePorts(n int) ([]string, error) {
	ports := make([]string, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		ports[i] = strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func tail(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}
