package runpodtest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// network is what the server's clients connect through: a listener for each
// service, in memory or over loopback.
type network struct {
	faults *faultList
	hosts  map[string]Service
	gates  map[Service]*gate
	urls   map[Service]string
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
}

// newNetwork makes a network in memory.
func newNetwork(cfg *Config, faults *faultList) *network {
	n := &network{faults: faults, gates: map[Service]*gate{}, urls: map[Service]string{}}
	n.hosts = map[string]Service{
		strings.ToLower(cfg.EndpointID) + ".api.runpod.test":    OnEndpoint,
		"s3api-" + strings.ToLower(cfg.Region) + ".runpod.test": OnS3,
		"api.runpod.test": OnControl,
	}
	for host, on := range n.hosts {
		n.gates[on] = newGate(newMemListener(host), nil)
		n.urls[on] = "http://" + host
	}
	n.dial = n.dialMemory
	return n
}

// loopback puts the services on free ports of 127.0.0.1 instead, or from addr
// on.
func (n *network) loopback(addr string) error {
	n.dial = (&net.Dialer{}).DialContext
	host, port, err := splitAddr(addr)
	if err != nil {
		return fieldError("Addr", "%v", err)
	}
	for _, on := range []Service{OnEndpoint, OnS3, OnControl} {
		at := port
		if port > 0 {
			at += int(on)
		}
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(at)))
		if err != nil {
			return fieldError("Addr", "%v", err)
		}
		n.gates[on] = newGate(l, func() bool { return n.faults.forConnection(on).at == atConnect })
		n.urls[on] = "http://" + reachable(l.Addr().(*net.TCPAddr))
	}
	return nil
}

// splitAddr reads Config.Addr; port 0 means free ports.
func splitAddr(addr string) (host string, port int, err error) {
	if addr == "" {
		return "127.0.0.1", 0, nil
	}
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 0 || port > 65533 {
		return "", 0, fmt.Errorf("%q: want a host and a port up to 65533, such as 127.0.0.1:8700", addr)
	}
	return host, port, nil
}

// reachable is where clients on this machine reach a listener.
func reachable(a *net.TCPAddr) string {
	host := a.IP.String()
	if a.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, strconv.Itoa(a.Port))
}

// dialMemory connects to a service in memory.
func (n *network) dialMemory(ctx context.Context, _, addr string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	on, known := n.hosts[strings.ToLower(host)]
	if !known {
		text := "this in-memory network has only " + strings.Join(slices.Sorted(maps.Keys(n.hosts)), ", ")
		return nil, &net.DNSError{Err: text, Name: host, IsNotFound: true}
	}
	l := n.gates[on].Listener.(*memListener)
	act := n.faults.forConnection(on)
	if act.at == atConnect && act.status != 0 {
		return nil, refusedError(l.addr)
	}
	c, err := l.dial()
	if err == nil && act.at == atConnect {
		c.(*memConn).reset()
	}
	return c, err
}

// close ends every connection and lets no new one in.
func (n *network) close() {
	for _, g := range n.gates {
		g.closeAll()
	}
	for _, g := range n.gates {
		g.Close()
	}
}
