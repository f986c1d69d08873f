package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	runpod "github.com/gpuburst/runpod-go"
)

// job is a job's record in JOBS. It has no Files: they are among the Keys.
type job struct {
	Spec
	// Run counts how often the job was to run: 1, and one more by each Retry.
	Run int `json:"run"`
	// By names the submission, so that it can tell its own write from another's.
	By string `json:"by,omitempty"`
}

// readJob reads a record under its key. It is a stranger's: whoever may write to
// the server may have made it.
func readJob(key string, data []byte) (j job, err error) {
	id, err := idOf(key)
	if err != nil {
		return j, fmt.Errorf("the subject %s names no id", quoted(key))
	}
	if len(data) > 2*longestSpec {
		return job{Spec: Spec{ID: id}}, fmt.Errorf("the record has %d bytes: at most %d", len(data), 2*longestSpec)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // a body's numbers stay as they were written
	if err := d.Decode(&j); err != nil {
		return job{Spec: Spec{ID: id}}, fmt.Errorf("the record is no JSON of a job: %w", err)
	}
	switch {
	case j.ID != id || token(id) != key:
		err = fmt.Errorf("the record is job %s's, under the subject of %s", quoted(j.ID), quoted(id))
	case j.Run < 1:
		err = fmt.Errorf("run: %d: want 1 or more", j.Run)
	case len(j.Files) > 0:
		err = errors.New("files: a machine reads no files of its own for a job")
	default:
		err = j.check()
	}
	j.ID, j.Run = id, max(j.Run, 1)
	return j, err
}

// same reports whether two records describe one job. Both were read by readJob,
// so that equal bodies are equal values.
func (j *job) same(other *job) bool {
	a, err1 := json.Marshal(j.Spec)
	b, err2 := json.Marshal(other.Spec)
	return err1 == nil && err2 == nil && bytes.Equal(a, b)
}

// body is the request's JSON, with the inputs' paths in their places; nil: none.
func (j *job) body() any {
	if j.Body == nil {
		return nil
	}
	pairs := make([]string, 0, 2*len(j.Keys))
	for i, k := range j.Keys {
		pairs = append(pairs, "{{"+strconv.Itoa(i)+"}}", runpod.Object{Key: k}.WorkerPath())
	}
	return fill(j.Body, strings.NewReplacer(pairs...))
}

// fill replaces in every text of a JSON value.
func fill(v any, r *strings.Replacer) any {
	switch v := v.(type) {
	case string:
		return r.Replace(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = fill(v[i], r)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = fill(v[k], r)
		}
		return out
	}
	return v
}

// output finds in an answer the key of the object that is the result.
func (j *job) output(answer []byte) (key string, err error) {
	var v any
	if err := json.Unmarshal(answer, &v); err != nil {
		return "", fmt.Errorf("output: the answer is not JSON: %w", err)
	}
	for name := range strings.SplitSeq(j.Output, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("output: the answer has no text in the field %s", quoted(j.Output))
	}
	return runpod.KeyFromWorkerPath(s)
}
