package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/walctl/walctl/internal/safefile"
)

// IsEndpoint reports whether metrics are asked for at an address: a URL, or HOST:PORT
// with or without a path, that is no file.
func IsEndpoint(place string) bool {
	if strings.Contains(place, "://") {
		return true
	}
	if _, err := os.Stat(place); err == nil {
		return false
	}
	host, _, _ := strings.Cut(place, "/")
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// OpenMetrics opens the metrics of a node, asked for or saved. The caller closes them.
func OpenMetrics(ctx context.Context, place string) (io.ReadCloser, error) {
	if IsEndpoint(place) {
		return GetMetrics(ctx, place)
	}
	file, err := safefile.Open(place)
	if err != nil {
		return nil, err
	}
	return file, nil
}

// MetricsURL is where an endpoint is asked, and bare the same without what may be a
// secret in it, to be shown.
func MetricsURL(endpoint string) (u *url.URL, bare string, err error) {
	if !strings.Contains(endpoint, "://") {
		endpoint = "http://" + endpoint
	}
	if u, err = url.Parse(endpoint); err != nil {
		return nil, "", err
	}
	if u.Path == "" {
		u.Path = "/metrics"
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return u, shown.String(), nil
}

// GetMetrics asks a node for its metrics. The caller closes the answer.
func GetMetrics(ctx context.Context, place string) (io.ReadCloser, error) {
	ctx, cancel := context.WithTimeout(ctx, metricsTimeout)
	u, bare, err := MetricsURL(place)
	if err != nil {
		cancel()
		return nil, errors.New("an endpoint is not a URL")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%s cannot be asked", bare)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		cancel()
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return nil, fmt.Errorf("GET %s: %w", bare, err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		cancel()
		return nil, fmt.Errorf("%s answers %s", bare, resp.Status)
	}
	return &heldAnswer{resp.Body, cancel}, nil
}

// heldAnswer ends its request when it is closed.
type heldAnswer struct {
	io.ReadCloser
	done context.CancelFunc
}

// Close implements io.Closer.
func (a *heldAnswer) Close() error {
	defer a.done()
	return a.ReadCloser.Close()
}

// metricsTimeout bounds how long one metrics endpoint is waited for.
const metricsTimeout = 10 * time.Second
