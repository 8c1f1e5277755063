package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
)

// Session is a live Milvus process as it announced itself. The key dies with its
// lease, some seconds after the process.
type Session struct {
	Key      string `json:"key"`  // below session/, as found
	Role     string `json:"role"` // streamingnode, mixcoord, querynode, …
	ServerID int64  `json:"server_id"`
	Address  string `json:"address,omitempty"`
	Host     string `json:"host,omitempty"` // in Kubernetes the pod's name
	Version  string `json:"version,omitempty"`
	Stopping bool   `json:"stopping,omitempty"`
}

// maxSession bounds the session value that is decoded, in bytes.
const maxSession = 64 << 10

// parseSession reads a session's JSON. A value that cannot be read is a session
// all the same: something put the key there.
func parseSession(kv KV) (Session, *Problem) {
	var raw struct {
		ServerID   int64
		ServerName string
		Address    string
		HostName   string
		Version    string
		Stopping   bool
	}
	s := Session{Key: kv.Key}
	var err error
	if len(kv.Value) > maxSession {
		err = fmt.Errorf("%d bytes", len(kv.Value))
	} else {
		err = json.Unmarshal(kv.Value, &raw)
	}
	s.Role, _, _ = strings.Cut(strings.TrimPrefix(kv.Key, SessionPrefix), "-")
	if raw.ServerName != "" {
		s.Role = raw.ServerName
	}
	s.ServerID, s.Address, s.Host, s.Version, s.Stopping = raw.ServerID, raw.Address, raw.HostName, raw.Version, raw.Stopping
	if err != nil {
		return s, &Problem{Key: kv.Key, Code: CodeUndecodable, Detail: "no session of Milvus, but counted as one: " + err.Error()}
	}
	return s, nil
}

// Sessions lists the live Milvus processes.
func Sessions(ctx context.Context, c Catalog) ([]Session, error) {
	kvs, _, err := c.Range(ctx, SessionPrefix)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	var out []Session
	for _, kv := range kvs {
		if kv.Key == SessionCounterKey {
			continue
		}
		s, _ := parseSession(kv)
		out = append(out, s)
	}
	return out, nil
}

// metricsPort is where a Milvus process serves its metrics unless it is told another.
const metricsPort = "9091"

// MetricsPlaces are the URLs at which the streaming nodes among live processes serve
// their metrics, by the addresses of their sessions.
func MetricsPlaces(sessions []Session) []string {
	out := []string{}
	for _, s := range sessions {
		host, _, err := net.SplitHostPort(s.Address)
		if place := "http://" + net.JoinHostPort(host, metricsPort) + "/metrics"; err == nil && host != "" && s.Role == "streamingnode" && !slices.Contains(out, place) {
			out = append(out, place)
		}
	}
	return out
}

// String names the session as an operator knows it.
func (s Session) String() string {
	name := fmt.Sprintf("%s-%d", s.Role, s.ServerID)
	if s.Host != "" {
		return fmt.Sprintf("%s (pod %s, %s)", name, s.Host, s.Address)
	}
	if s.Address != "" {
		return fmt.Sprintf("%s (%s)", name, s.Address)
	}
	return fmt.Sprintf("%s (key %s)", name, s.Key)
}

// deploymentPod and statefulPod are how Kubernetes names the pods of each.
var (
	deploymentPod = regexp.MustCompile(`^([a-z0-9][a-z0-9.-]*)-[a-z0-9]{6,10}-[a-z0-9]{5}$`)
	statefulPod   = regexp.MustCompile(`^([a-z0-9][a-z0-9.-]*)-[0-9]+$`)
)

// StopCommand is the command that stops the process, as far as its host's name
// tells how it runs; empty where it does not.
func (s Session) StopCommand() string {
	if m := deploymentPod.FindStringSubmatch(s.Host); m != nil {
		return "kubectl scale deployment " + m[1] + " --replicas=0"
	}
	if m := statefulPod.FindStringSubmatch(s.Host); m != nil {
		return "kubectl scale statefulset " + m[1] + " --replicas=0"
	}
	return ""
}
