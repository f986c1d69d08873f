package fleet

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	runpod "github.com/gpuburst/runpod-go"
)

// Bounds of a [Spec].
const (
	longestID   = 200
	longestPath = 4 << 10
	longestKey  = 1024
	mostInputs  = 256
	longestSpec = 256 << 10 // as JSON
)

// Spec describes one job. As JSON it is a line of runpod-burst's manifest.
type Spec struct {
	// ID names the job: at most 200 bytes. The same ID is the same job, however
	// often it is submitted. Without one, Submit makes one of the job's place in
	// the sequence and its content, so that a file that is submitted again adds
	// nothing.
	ID string `json:"id,omitempty"`
	// Files are uploaded by Submit, each content once.
	Files []string `json:"files,omitempty"`
	// Keys are objects that are on the volume already. They are numbered after
	// the Files.
	Keys []string `json:"keys,omitempty"`
	// Method and Path are the request's. Method "" means POST.
	Method string `json:"method,omitempty"`
	Path   string `json:"path"`
	// Body is the request's JSON. In its texts {{0}} stands for the path at which
	// a worker finds the first input, {{1}} for that of the second, and so on.
	// nil: no body.
	Body any `json:"body,omitempty"`
	// Output is the field of the answer, such as a.b, that names the result on
	// the volume. "": the answer is the result.
	Output string `json:"output,omitempty"`
	// SaveTo is the file for the result, within the folder given to [Save]. "":
	// it is not fetched.
	SaveTo string `json:"save_to,omitempty"`
	// Idempotent says that the request may run twice without harm. If a machine
	// dies, its idempotent jobs go to others. GET, HEAD, OPTIONS, PUT and DELETE
	// are idempotent by themselves (RFC 9110, section 9.2.2).
	Idempotent bool `json:"idempotent,omitempty"`
}

// ReadSpecs reads jobs from JSON lines. Paths of files count from dir. The last
// round has the error, if there is one, with the number of its line.
func ReadSpecs(r io.Reader, dir string) iter.Seq2[Spec, error] {
	return func(yield func(Spec, error) bool) {
		in := bufio.NewScanner(r)
		in.Buffer(nil, 2*longestSpec)
		n := 0
		for in.Scan() {
			n++
			if len(bytes.TrimSpace(in.Bytes())) == 0 {
				continue
			}
			s, err := readSpec(in.Bytes(), dir)
			if err != nil {
				yield(Spec{}, fmt.Errorf("line %d: %w", n, err))
				return
			}
			if !yield(s, nil) {
				return
			}
		}
		if err := in.Err(); err != nil {
			yield(Spec{}, fmt.Errorf("line %d: %w", n+1, err))
		}
	}
}

func readSpec(line []byte, dir string) (s Spec, err error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	d.UseNumber()
	if err := d.Decode(&s); err != nil {
		return s, err
	}
	if d.More() {
		return s, errors.New("more than one JSON value")
	}
	for i, name := range s.Files {
		if !filepath.IsAbs(name) {
			s.Files[i] = filepath.Join(dir, name)
		}
	}
	return s, s.check()
}

// check refuses what cannot work, naming the field. What comes from the queue is
// checked by it too.
func (s *Spec) check() error {
	switch {
	case len(s.ID) > longestID || !printable(s.ID):
		return fmt.Errorf("id: %s: want at most %d printable bytes of UTF-8", quoted(s.ID), longestID)
	case len(s.Files)+len(s.Keys) > mostInputs:
		return fmt.Errorf("files: %d inputs: want at most %d", len(s.Files)+len(s.Keys), mostInputs)
	case s.Method != "" && strings.Trim(s.Method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "":
		return fmt.Errorf("method: %s: want an HTTP method such as POST", quoted(s.Method))
	case len(s.Output) > longestKey || !printable(s.Output):
		return fmt.Errorf("output: %s: want a field of the answer, such as a.b", quoted(s.Output))
	}
	if err := checkPath(s.Path); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	for i, k := range s.Keys {
		if err := checkKey(k); err != nil {
			return fmt.Errorf("keys[%d]: %w", i, err)
		}
	}
	for i, name := range s.Files {
		if name == "" {
			return fmt.Errorf("files[%d]: it is empty", i)
		}
	}
	if err := checkSaveTo(s.SaveTo); err != nil {
		return fmt.Errorf("save_to: %w", err)
	}
	return nil
}

// checkPath refuses what is not a path of the endpoint, such as another host.
func checkPath(p string) error {
	switch {
	case p == "":
		return errors.New("it is missing; want the route on the endpoint, such as /api/v1/tryon")
	case len(p) > longestPath || !printable(p):
		return fmt.Errorf("%s: want at most %d printable bytes", quoted(p), longestPath)
	}
	u, err := url.Parse(p)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || u.Fragment != "" {
		return fmt.Errorf("%s: want a path that begins with one slash, such as /api/v1/tryon", quoted(p))
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if part == "." || part == ".." {
			return fmt.Errorf("%s: it has the part %q", quoted(p), part)
		}
	}
	return nil
}

// checkKey refuses what is not the key of an object on the volume.
func checkKey(k string) error {
	if len(k) > longestKey || !printable(k) {
		return fmt.Errorf("%s: want at most %d printable bytes of UTF-8", quoted(k), longestKey)
	}
	clean, err := runpod.KeyFromWorkerPath(k)
	if err == nil && clean != k {
		err = fmt.Errorf("%s: want the object's key, such as %s", quoted(k), quoted(clean))
	}
	return err
}

// checkSaveTo refuses a file outside the folder for results.
func checkSaveTo(name string) error {
	if name == "" {
		return nil
	}
	if len(name) > longestKey || !printable(name) || strings.Contains(name, `\`) || !filepath.IsLocal(name) || filepath.Clean(name) == "." {
		return fmt.Errorf("%s: want a file within the folder for results, such as out/1.png", quoted(name))
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// quoted is a stranger's text as errors show it.
func quoted(s string) string {
	const most = 100
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}

// madeID is the id for a job that has none: its place and its content.
func (s *Spec) madeID(place int) (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("body: %w", err)
	}
	sum := sha256.Sum256(text)
	return fmt.Sprintf("%d-%x", place, sum[:8]), nil
}

// twice reports whether the job may run twice.
func (s *Spec) twice() bool {
	switch s.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return s.Idempotent
}
