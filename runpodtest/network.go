package runpodtest

import (
	"context"
	"fmt"
	"net"
	"strings"
)

// The names of the endpoint and its hosts.
const (
	endpointID   = "twin"
	endpointHost = endpointID + ".api.runpod.test"
	controlHost  = "api.runpod.test"
	s3Host       = "s3api-eu-ro-1.runpod.test"
	region       = "EU-RO-1"
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
func newNetwork(faults *faultList) *network {
	n := &network{
		faults: faults, gates: map[Service]*gate{}, urls: map[Service]string{},
		hosts: map[string]Service{endpointHost: OnEndpoint, s3Host: OnS3, controlHost: OnControl},
	}
	for host, on := range n.hosts {
		n.gates[on] = newGate(newMemListener(host), nil)
		n.urls[on] = "http://" + host
	}
	n.dial = n.dialMemory
	return n
}

// loopback puts the services on free ports of 127.0.0.1 instead.
func (n *network) loopback() error {
	n.dial = (&net.Dialer{}).DialContext
	for on := range n.gates {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fieldError("Loopback", "%v", err)
		}
		n.gates[on] = newGate(l, func() bool { return n.faults.forConnection(on).at == atConnect })
		n.urls[on] = "http://" + l.Addr().String()
	}
	return nil
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
		text := fmt.Sprintf("this in-memory network has only %s, %s and %s", endpointHost, s3Host, controlHost)
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
