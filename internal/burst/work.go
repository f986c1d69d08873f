package burst

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	runpod "github.com/gpuburst/runpod-go"
)

// Work is one job to do, the same for every client.
type Work struct {
	Index      int
	ID         string
	Files      []File
	Method     string // "" means POST
	Path       string // on the endpoint
	Body       any    // the request's JSON, in which "{{0}}" stands for the path of the first file
	Output     string // the answer's field that names the result, such as a.b; "": the answer is the result
	Took       string // the answer's field that says how many seconds the work took; "": there is none
	SaveTo     string // the result's file; "": it is not fetched
	Idempotent bool
}

// File is one input: a file, or data.
type File struct {
	Name string
	Path string // "": Data holds it
	Data []byte
}

func (f File) input() runpod.Input {
	if f.Path != "" {
		return runpod.File(f.Path)
	}
	return runpod.Bytes(f.Name, f.Data)
}

// Open is the file as the AWS SDK takes it.
func (f File) Open() (io.ReadSeekCloser, error) {
	if f.Path != "" {
		return os.Open(f.Path)
	}
	return inMemory{bytes.NewReader(f.Data)}, nil
}

type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }

// Plan is where jobs come from.
type Plan struct {
	Jobs int              // 0: as many as are wanted
	Work func(i int) Work // job i, the same every time
}

// TryOn is the workload of the stress tests: two files, and the answer names the
// picture.
func TryOn(i int, files []File) Work {
	return Work{
		Index: i, ID: strconv.Itoa(i + 1), Files: files, Path: "/api/v1/tryon", Output: "result_image_path",
		Body: map[string]any{"person_image_path": "{{0}}", "garment_image_path": "{{1}}"},
	}
}

// Generated is the plan of jobs with two made-up files of so many bytes each.
func Generated(bytes int) *Plan {
	r := rand.NewChaCha8([32]byte{})
	data := make([]byte, bytes)
	r.Read(data)
	files := []File{{Name: "person.bin", Data: data}, {Name: "garment.bin", Data: data}}
	return &Plan{Work: func(i int) Work { return TryOn(i, files) }}
}

// Folder is the plan of jobs that each take two files of a folder, the next pair
// every time, beginning again at its end.
func Folder(dir string) (*Plan, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, e := range entries {
		if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, File{Name: e.Name(), Path: filepath.Join(dir, e.Name())})
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no files", dir)
	}
	for _, f := range files {
		if err := readable(f.Path); err != nil {
			return nil, err
		}
	}
	return &Plan{Work: func(i int) Work {
		return TryOn(i, []File{files[2*i%len(files)], files[(2*i+1)%len(files)]})
	}}, nil
}

func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// entry is one line of a manifest.
type entry struct {
	ID         string   `json:"id"`
	Files      []string `json:"files"`
	Method     string   `json:"method"`
	Path       string   `json:"path"`
	Body       any      `json:"body"`
	Output     string   `json:"output"`
	SaveTo     string   `json:"save_to"`
	Idempotent bool     `json:"idempotent"`
}

// Manifest reads a plan from JSON lines, one job each. Paths of files count from
// the manifest's folder.
func Manifest(name string) (*Plan, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []Work
	in := bufio.NewScanner(f)
	in.Buffer(nil, 32<<20)
	for n := 1; in.Scan(); n++ {
		if len(bytes.TrimSpace(in.Bytes())) == 0 {
			continue
		}
		w, err := parseEntry(in.Bytes(), filepath.Dir(name), len(all))
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", name, n, err)
		}
		all = append(all, w)
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no jobs", name)
	}
	return &Plan{Jobs: len(all), Work: func(i int) Work { return all[i] }}, nil
}

func parseEntry(text []byte, dir string, index int) (Work, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var e entry
	if err := d.Decode(&e); err != nil {
		return Work{}, err
	}
	if d.More() {
		return Work{}, errors.New("more than one JSON value: want one job a line")
	}
	if e.Path == "" {
		return Work{}, errors.New("path: it is missing; want the route on the endpoint, such as /api/v1/tryon")
	}
	w := Work{Index: index, ID: e.ID, Method: e.Method, Path: e.Path, Body: e.Body, Output: e.Output, SaveTo: e.SaveTo, Idempotent: e.Idempotent}
	if w.ID == "" {
		w.ID = strconv.Itoa(index + 1)
	}
	for i, name := range e.Files {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		if err := readable(name); err != nil {
			return Work{}, fmt.Errorf("files[%d]: %w", i, err)
		}
		w.Files = append(w.Files, File{Name: filepath.Base(name), Path: name})
	}
	return w, nil
}

// fill puts paths in the places of a body's template.
func fill(template any, paths []string) any {
	switch v := template.(type) {
	case string:
		for i, p := range paths {
			v = strings.ReplaceAll(v, "{{"+strconv.Itoa(i)+"}}", p)
		}
		return v
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = fill(v[i], paths)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = fill(v[k], paths)
		}
		return out
	}
	return template
}

// field finds a field of an answer, such as a.b; nil: there is none.
func field(answer []byte, name string) (v any, err error) {
	if err := json.Unmarshal(answer, &v); err != nil {
		return nil, fmt.Errorf("the answer is not JSON: %w", err)
	}
	for name := range strings.SplitSeq(name, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v, nil
}

// output finds the field of an answer that names the result.
func (w *Work) output(answer []byte) (string, error) {
	v, err := field(answer, w.Output)
	if err != nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("the answer has no text in the field %s", w.Output)
	}
	return s, nil
}

// took is how long the work took, as the answer says; 0: it does not say.
func (w *Work) took(answer []byte) Seconds {
	if w.Took == "" {
		return 0
	}
	v, _ := field(answer, w.Took)
	s, _ := v.(float64)
	return Seconds(s)
}

// saver names the file for the result of a job that names none.
func saver(dir string) func(*Work) {
	return func(w *Work) {
		if dir != "" && w.SaveTo == "" {
			w.SaveTo = filepath.Join(dir, fmt.Sprintf("job-%05d.bin", w.Index+1))
		}
	}
}
