package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// killer kills uploads of one file to one store.
type killer struct {
	settings
	store *store
	dir   string
	input string
	sum   []byte // the input's
}

// row is one kill and what followed. Sizes are in bytes.
type row struct {
	at           time.Duration // after the upload began
	holding                    // what the store had then
	sent         int64         // by the second process
	right, clean bool          // the object is the input; nothing else is left
}

func (x row) missing(s settings) int64 { return s.size - x.bytes }

// excess is how many parts' worth the second process sent that were not
// missing, headers included.
func (x row) excess(s settings) float64 {
	return float64(x.sent-x.missing(s)) / float64(s.part)
}

// writeInput writes bytes that do not repeat, and gives their checksum.
func writeInput(path string, set settings) ([]byte, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, sum), rand.NewChaCha8([32]byte{1}), set.size)
	return sum.Sum(nil), errors.Join(err, f.Close())
}

func (k *killer) order(key string) (order, error) {
	resume, err := os.MkdirTemp(k.dir, "resume-")
	return order{URL: k.store.url, Bucket: k.store.bucket, Access: k.store.access, Secret: k.store.secret,
		Input: k.input, Key: key, ResumeDir: resume, Conns: k.conns, Part: k.part}, err
}

// unharmed measures an upload that nobody kills.
func (k *killer) unharmed(ctx context.Context) (time.Duration, error) {
	o, err := k.order("whole")
	if err != nil {
		return 0, err
	}
	e, err := o.upload(ctx, -1)
	if err != nil {
		return 0, err
	}
	return e.took, k.forget(o.Key)
}

func (k *killer) forget(key string) error { return os.Remove(filepath.Join(k.store.folder, key)) }

// kill has an upload killed at a moment, and uploads again.
func (k *killer) kill(ctx context.Context, key string, moment func() time.Duration) (x row, err error) {
	o, err := k.order(key)
	if err != nil {
		return x, err
	}
	if x.at, err = k.killOnce(ctx, o, moment); err != nil {
		return x, err
	}
	begun, err := os.ReadDir(o.ResumeDir)
	if err != nil {
		return x, err
	}
	if x.holding, err = k.store.settled(ctx, key, len(begun) > 0); err != nil {
		return x, err
	}
	e, err := o.upload(ctx, -1)
	if err != nil {
		return x, fmt.Errorf("killed after %v, the next process failed too: %w", x.at, err)
	}
	x.sent = e.sent
	if x.right, err = k.stored(key); err != nil {
		return x, err
	}
	if x.clean, err = k.clean(ctx, o); err != nil {
		return x, err
	}
	return x, k.forget(key)
}

// killOnce draws moments until one comes before the upload is done.
func (k *killer) killOnce(ctx context.Context, o order, moment func() time.Duration) (time.Duration, error) {
	for range 20 {
		at := moment()
		e, err := o.upload(ctx, at)
		if e.killed || err != nil {
			return at, err
		}
		if err := k.forget(o.Key); err != nil {
			return 0, err
		}
	}
	return 0, errors.New("20 uploads were done before the moment drawn for them")
}

// stored reports whether the stored file is the input.
func (k *killer) stored(key string) (bool, error) {
	f, err := os.Open(filepath.Join(k.store.folder, key))
	if err != nil {
		return false, err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return bytes.Equal(sum.Sum(nil), k.sum), err
}

// clean reports whether nothing of an upload is left but the object.
func (k *killer) clean(ctx context.Context, o order) (bool, error) {
	uploads, err := k.store.unfinished(ctx, o.Key)
	if err != nil {
		return false, err
	}
	files, err := os.ReadDir(o.ResumeDir)
	return len(uploads)+len(files) == 0, err
}
