// Package websocket opens WebSockets on Runpod load-balancing endpoints. It dials
// github.com/coder/websocket with the retries of package runpod, and keeps the
// worker at the other end while the socket is silent.
//
//	conn, _, err := websocket.Dial(ctx, client, "/ws", nil)
//	if err != nil {
//		return err
//	}
//	defer conn.CloseNow()
//
// A handshake is sent like any request of [runpod.Client.Transport]: it waits for
// a place in flight, is sent again while the endpoint has no worker, and carries
// the API key. Once the socket is open, nothing is sent again: only the program
// knows what to do after a lost socket.
//
// An open socket may not count as activity (reported by users), and then its
// worker is scaled down after 5 s of silence (Runpod docs: the default idle
// timeout). While the socket is open, a GET /ping is therefore sent to its worker,
// and to no other, every 3 s; see [Options] for other paths and intervals.
//
// The package is a module of its own, so package runpod does not depend on a
// WebSocket library.
package websocket
