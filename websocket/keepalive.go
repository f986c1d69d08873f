package websocket

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	runpod "github.com/gpuburst/runpod-go"
)

// keepAlive is the goroutine that keeps a socket's worker. The socket owns it. A
// nil keepAlive is none.
type keepAlive struct {
	ctx  context.Context
	end  context.CancelFunc
	done chan struct{}
	err  error // set before done is closed
}

var errNoName = errors.New("no answer names the worker that it comes from")

// startKeepAlive keeps the worker of a session made for this, which cannot move
// on to another one as its user's may.
func startKeepAlive(ctx context.Context, session *runpod.Session, o Options) *keepAlive {
	k := &keepAlive{done: make(chan struct{})}
	k.ctx, k.end = context.WithCancel(ctx)
	go func() {
		defer close(k.done)
		defer session.End()
		err := k.keep(session, cmp.Or(o.KeepAlivePath, DefaultKeepAlivePath), o.KeepAliveEvery)
		if k.ctx.Err() == nil {
			k.err = err
		}
	}()
	return k
}

func (k *keepAlive) keep(session *runpod.Session, path string, every time.Duration) error {
	if session.WorkerID() == "" {
		resp, err := session.Call(k.ctx, http.MethodGet, path, nil, nil)
		if err != nil {
			return err
		}
		if resp.WorkerID == "" {
			return errNoName
		}
	}
	return session.KeepAlive(k.ctx, path, every)
}

// cancel ends the keeping, and does not wait for it.
func (k *keepAlive) cancel() {
	if k != nil {
		k.end()
	}
}

// stop ends the keeping and waits for it.
func (k *keepAlive) stop() {
	if k != nil {
		k.end()
		<-k.done
	}
}

// ended is the error that the keeping ended with; nil while it goes on, and
// where the socket has ended it.
func (k *keepAlive) ended() error {
	select {
	case <-k.done:
		return k.err
	default:
		return nil
	}
}
