package runpod

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"
	"sync"
)

// ContentKey returns the key prefix/<SHA-256 of the content><extension> for an
// input, which it reads to its end. Equal contents get equal keys, so that with
// [WithSkipExisting] each is stored once. An empty prefix is left out.
func ContentKey(ctx context.Context, prefix string, in Input) (string, error) {
	const op = "content key"
	if err := in.usable(); err != nil {
		return "", refuse(op, "Input", "%w", err)
	}
	r, err := in.open(ctx)
	if err != nil {
		return "", inputError(ctx, op, in, err)
	}
	defer r.Close()
	h := sha256.New()
	if _, err := copyContext(ctx, h, r); err != nil {
		return "", inputError(ctx, op, in, err)
	}
	name := hex.EncodeToString(h.Sum(nil))
	if ext := path.Ext(in.baseName()); len(ext) <= 16 {
		name += ext
	}
	key := name
	if prefix != "" {
		key = strings.TrimSuffix(prefix, "/") + "/" + name
	}
	if err := checkKey(key); err != nil {
		return "", refuse(op, "prefix", "%w", err)
	}
	return key, nil
}

// flights are the uploads under way, by their keys. It is safe for concurrent
// use.
type flights struct {
	mu     sync.Mutex
	flying map[string]*flight
}

func newFlights() *flights { return &flights{flying: map[string]*flight{}} }

// flight is one upload that others may wait for.
type flight struct {
	etag string // of the content
	done chan struct{}
	obj  Object // set before done is closed
	err  error
}

// board returns the flight under a key, and whether it is a new one, which the
// caller must land.
func (f *flights) board(key, etag string) (fl *flight, first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.flying[key]; fl != nil {
		return fl, false
	}
	fl = &flight{etag: etag, done: make(chan struct{}), err: context.Canceled}
	f.flying[key] = fl
	return fl, true
}

func (f *flights) land(key string, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.flying, key)
	close(fl.done)
}

// flyOnce calls store unless another is storing the same content under the key;
// then it waits for that one. One that fails fails its own caller only: of those
// who waited, one takes its place. Other content is stored besides by other:
// whoever is last wins, as always. Op names what is waited for.
func (f *flights) flyOnce(ctx context.Context, op, key, etag string, store, other func() (Object, error)) (obj Object, shared bool, err error) {
	for {
		fl, first := f.board(key, etag)
		if first {
			obj, err := f.pilot(key, fl, store)
			return obj, false, err
		}
		if fl.etag != etag {
			obj, err := other()
			return obj, false, err
		}
		select {
		case <-fl.done:
		case <-ctx.Done():
			return Object{}, false, ended(ctx, op)
		}
		if fl.err == nil {
			return fl.obj, true, nil
		}
	}
}

// pilot stores for all who wait, who hear of its end also if it panics.
func (f *flights) pilot(key string, fl *flight, store func() (Object, error)) (Object, error) {
	defer f.land(key, fl)
	fl.obj, fl.err = store()
	return fl.obj, fl.err
}
