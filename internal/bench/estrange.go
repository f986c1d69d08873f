package bench

import (
	"bytes"
	"context"
	"net"
)

// estranged makes a dialer whose connections replace the balancer's two known
// refusals by texts that nobody knows, of the same length: a refusal then shows
// only by the two minutes it took. The simulated endpoint answers in one piece,
// which is what lets a connection do this.
func estranged(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &estrangedConn{c}, nil
	}
}

type estrangedConn struct{ net.Conn }

var strangeWords = [][2][]byte{
	{[]byte("no workers available"), []byte("capacity exceeded..!")},
	{[]byte("timed out waiting for worker"), []byte("the upstream was not ready..")},
}

func (c *estrangedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for _, w := range strangeWords {
		copy(p[:n], bytes.ReplaceAll(p[:n], w[0], w[1]))
	}
	return n, err
}
