package runpod

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// workerRoot is where a serverless worker sees the network volume: the object
// a/b.jpg is its file /runpod-volume/a/b.jpg (Runpod docs, S3-compatible API).
const workerRoot = "/runpod-volume/"

// Object is what is known of one object on the network volume.
type Object struct {
	Key  string // path within the volume, without a leading slash
	Size int64  // bytes
	ETag string // as the gateway gave it, without quotes; "" when it gave none
	// Existed: an upload found the object there, or on its way by another
	// upload, and sent nothing. See [WithSkipExisting].
	Existed bool
}

// WorkerPath is where a serverless worker finds the object as a file.
func (o Object) WorkerPath() string { return workerRoot + o.Key }

// KeyFromWorkerPath gives the object key for a path as workers write it:
// "/runpod-volume/results/a.png" and "results/a.png" are both "results/a.png".
// It refuses paths outside the volume.
func KeyFromWorkerPath(p string) (string, error) {
	key, ok := strings.CutPrefix(p, workerRoot)
	if !ok && strings.HasPrefix(p, "/") {
		return "", refuse("key from worker path", "path", "%q is not under %s", p, workerRoot)
	}
	if err := checkKey(key); err != nil {
		return "", refuse("key from worker path", "path", "%q: %w", p, err)
	}
	return key, nil
}

// checkKey refuses keys that cannot be the path of a file on the volume. Keys
// are file paths there, so a name may have 255 bytes (reported by users); S3
// keys may have 1,024.
func checkKey(key string) error {
	switch {
	case key == "":
		return errors.New("the key is empty")
	case len(key) > 1024:
		return fmt.Errorf("the key has %d bytes: at most 1024", len(key))
	case !utf8.ValidString(key):
		return errors.New("the key is not valid UTF-8")
	case strings.ContainsRune(key, 0):
		return errors.New("the key has a zero byte in it")
	}
	for name := range strings.SplitSeq(key, "/") {
		switch {
		case name == "":
			return fmt.Errorf("the key %q has an empty name in it: no slash may stand first, last or doubled", key)
		case name == "." || name == "..":
			return fmt.Errorf("the key %q has the name %q in it", key, name)
		case len(name) > 255:
			return fmt.Errorf("the key has a name of %d bytes in it: at most 255", len(name))
		}
	}
	return nil
}

// uniqueKey makes up a key for an input: the random part keeps two jobs with
// files of one name apart.
func uniqueKey(in Input) string { return "inputs/" + rand.Text() + "/" + in.baseName() }
