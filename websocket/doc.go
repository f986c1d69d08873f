// Package websocket opens WebSockets on Runpod load-balancing endpoints, with
// github.com/coder/websocket over the retries of package runpod, and keeps the
// worker at the other end while the socket is silent.
//
//	conn, _, err := websocket.Dial(ctx, client, "/ws", nil)
//	if err != nil {
//		return err
//	}
//	defer conn.CloseNow()
//
// A handshake goes the way of any request of [runpod.Client.Transport]: it waits
// for its place in flight, is sent again while the endpoint has no worker, and
// carries the API key. Once the socket is open nothing of it is sent again: what
// is to follow a lost socket, the program knows.
//
// An open socket may not count as activity (reported by users), so that a worker
// is scaled down under it after 5 s of silence (Runpod docs: the idle timeout's
// default). While the socket lives, a GET /ping goes to its worker, and to no
// other, every 3 s; see [Options] for other paths and intervals.
//
// It is a module of its own: who imports package runpod alone gets no WebSocket
// library.
package websocket
