package fleet

import (
	"context"
	"errors"
	"os"
	"path"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	runpod "github.com/gpuburst/runpod-go"
)

// mostKnown bounds the memory for files that were seen.
const mostKnown = 4096

// inputs uploads the files of one submission under keys made of their contents.
// BOOK records what was uploaded, so that each content is sent once, by whoever
// comes first. It is safe for concurrent use.
type inputs struct {
	f      *Fleet
	client *runpod.Client
	flying singleflight.Group

	mu    sync.Mutex
	known map[fileState]string // key by file
}

// fileState says which content a file had.
type fileState struct {
	path     string
	size     int64
	modified time.Time
}

func newInputs(f *Fleet, client *runpod.Client) *inputs {
	return &inputs{f: f, client: client, known: map[fileState]string{}}
}

// upload returns the keys of files, in their order, when all are on the volume.
func (in *inputs) upload(ctx context.Context, files []string) ([]string, error) {
	if in.client == nil {
		return nil, errors.New("there is no client to upload them")
	}
	keys := make([]string, len(files))
	for i, name := range files {
		v, err, _ := in.flying.Do("file "+name, func() (any, error) { return in.file(ctx, name) })
		if err != nil {
			return nil, err
		}
		keys[i] = v.(string)
	}
	return keys, nil
}

func (in *inputs) file(ctx context.Context, name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	state := fileState{name, info.Size(), info.ModTime()}
	in.mu.Lock()
	key, ok := in.known[state]
	in.mu.Unlock()
	if ok {
		return key, nil
	}
	if key, err = runpod.ContentKey(ctx, in.f.folder()+"inputs", runpod.File(name)); err != nil {
		return "", err
	}
	if _, err, _ := in.flying.Do("key "+key, func() (any, error) { return nil, in.store(ctx, key, name) }); err != nil {
		return "", err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.known) >= mostKnown {
		clear(in.known)
	}
	in.known[state] = key
	return key, nil
}

// store uploads a content that is not recorded, and records it.
func (in *inputs) store(ctx context.Context, key, name string) error {
	record := "upload." + token(path.Base(key))
	var there entry
	err := persist(ctx, func(ctx context.Context) (err error) {
		there, err = in.f.book.get(ctx, record)
		return err
	})
	if err != nil || there.seq > 0 {
		return err
	}
	obj, err := in.client.Upload(ctx, key, runpod.File(name))
	if err != nil {
		return err
	}
	return persist(ctx, func(ctx context.Context) error {
		if _, err := in.f.book.put(ctx, record, obj.Size, 0); !errors.Is(err, errConflict) {
			return err
		}
		return nil // uploaded by two at once
	})
}
