package runpod

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path"
	"strings"
	"sync"
)

// ContentKey makes the key prefix/<SHA-256 of the content><extension> for an
// input, which it reads to its end. Equal contents get equal keys, so that
// with [WithSkipExisting] each is stored once. An empty prefix is left out.
func ContentKey(ctx context.Context, prefix string, in Input) (string, error) {
	const op = "content key"
	if err := in.check(); err != nil {
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

// flight is one upload that others may wait for.
type flight struct {
	etag string // of the content
	done chan struct{}
	obj  Object // set before done is closed
	err  error
}

// board gives the flight under a key, and whether it is a new one, which the
// caller must land.
func (f *flights) board(key, etag string) (fl *flight, first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.flying[key]; fl != nil {
		return fl, false
	}
	fl = &flight{etag: etag, done: make(chan struct{})}
	f.flying[key] = fl
	return fl, true
}

func (f *flights) land(key string, fl *flight, obj Object, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.obj, fl.err = obj, err
	delete(f.flying, key)
	close(fl.done)
}

// uploadOnce stores an input unless it is there, or on its way. A flight that
// fails fails its own caller only: one of those who waited takes its place.
func (v *volume) uploadOnce(ctx context.Context, op, key string, in Input, state inputState) (Object, error) {
	etag, known, err := v.contentOf(ctx, in, state)
	if err != nil {
		return Object{}, inputError(ctx, op, in, err)
	}
	for {
		fl, first := v.once.board(key, etag)
		if first {
			obj, err := v.unlessThere(ctx, op, key, in, state, etag, known)
			v.once.land(key, fl, obj, err)
			return obj, err
		}
		if fl.etag != etag { // other content: whoever is last wins, as always
			return v.store(ctx, op, key, in, state, known)
		}
		select {
		case <-fl.done:
		case <-ctx.Done():
			return Object{}, ended(ctx, op)
		}
		if fl.err == nil {
			return v.existed(ctx, fl.obj), nil
		}
	}
}

func (v *volume) existed(ctx context.Context, obj Object) Object {
	v.meter(ctx).move(obj.Size)
	obj.Existed = true
	return obj
}

// contentOf foretells the ETag of an input's object, and gives the MD5 of one
// that is stored whole.
func (v *volume) contentOf(ctx context.Context, in Input, state inputState) (string, *digest, error) {
	if state.size > v.partSize {
		etag, err := v.partsETagOf(ctx, in, state.size, partSizeFor(state.size, v.partSize))
		return etag, nil, err
	}
	d, err := v.sum(ctx, ChecksumMD5, body{in: in, size: state.size, local: in.local, open: in.open})
	return hex.EncodeToString(d.sum), &d, err
}

func (v *volume) unlessThere(ctx context.Context, op, key string, in Input, state inputState, etag string, known *digest) (Object, error) {
	obj, _, err := v.head(ctx, op, key)
	switch {
	case err == nil && obj.Size == state.size && strings.EqualFold(obj.ETag, etag):
		return v.existed(ctx, obj), nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return Object{}, err
	}
	return v.store(ctx, op, key, in, state, known)
}
