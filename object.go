package runpod

import (
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/gpuburst/runpod-go/internal/redact"
)

// workerRoot is where a serverless worker sees the network volume: the object
// a/b.jpg is its file /runpod-volume/a/b.jpg (Runpod docs, S3-compatible API).
const workerRoot = "/runpod-volume/"

// Object describes one object on the network volume. It is a plain value.
type Object struct {
	Key  string // path within the volume, without a leading slash
	Size int64  // bytes
	ETag string // as the gateway gave it, without quotes; "" if it gave none
	// Existed reports that an upload sent nothing, because the object was there
	// already or was being stored by another upload. See [WithSkipExisting].
	Existed bool
}

// WorkerPath returns the path under which a serverless worker finds the object
// as a file, such as /runpod-volume/photos/a.png. Most callers put it into the
// request.
func (o Object) WorkerPath() string { return workerRoot + o.Key }

// KeyFromWorkerPath returns the object key for a path as workers write it:
// for "/runpod-volume/results/a.png" and "results/a.png" it is "results/a.png".
// If the path is outside the volume, or cannot be a file's, the error is an
// *Error of kind [ErrBadRequest].
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

// opOn names an operation on something for errors and the log. What a terminal
// would not show as it is, is quoted.
func opOn(verb, name string) string {
	return verb + " " + redact.Name(name)
}

// inputPrefix begins the keys that are made up for inputs.
const inputPrefix = "input-"

// madeUpKey is such a key. It has no folder in it: keys are files on the volume,
// and a folder would stay there, empty, when its object is deleted.
var madeUpKey = regexp.MustCompile(`^` + inputPrefix + `[A-Z2-7]{26}-[^/]+$`)

// uniqueKey makes up a key for an input. Its random part keeps two jobs with
// files of one name apart. A name too long for a file is cut at its beginning:
// the extension stays.
func uniqueKey(in Input) string {
	key := inputPrefix + rand.Text() + "-"
	name := in.baseName()
	for len(key)+len(name) > 255 {
		_, n := utf8.DecodeRuneInString(name)
		name = name[n:]
	}
	return key + name
}
