package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	runpod "github.com/gpuburst/runpod-go"
)

// longestAnswer is how much of an answer travels in a message; a longer one is
// put on the volume.
const longestAnswer = 64 << 10

// Result is how a job ended.
type Result struct {
	ID  string
	Run int // 1, and one more for each Retry
	// Pos is the result's place among all: From(r.Pos) goes on behind it.
	Pos uint64
	// Answer is the endpoint's answer: JSON, or whatever it sent. nil if it is
	// longer than 64 KiB: then AnswerKey names the object on the volume that
	// holds it.
	Answer    []byte
	AnswerKey string
	// OutputKey names the job's result on the volume, for a Spec with an Output.
	OutputKey string
	SaveTo    string // as in the Spec
	Saved     string // the file that Save has written, within its folder
	Status    int    // the HTTP status of the last answer; 0: none came
	WorkerID  string // the endpoint's worker that answered
	Attempts  int    // how often the call was sent
	Machine   string // that ran it
	Begun     time.Time
	Ended     time.Time

	failure *Error
}

// Errors of a job, besides those of package runpod: ErrNoWorkers, ErrBadRequest
// and the others.
var (
	// ErrMayHaveRun: the job's machine died or lost its call, and the job is not
	// idempotent. It may have run, once or in part. Look, then Retry.
	ErrMayHaveRun = errors.New("the job may have run")
	// ErrCancelled: the job was cancelled. If it was running, its call was ended,
	// and the endpoint may have finished it.
	ErrCancelled = errors.New("the job was cancelled")
)

// Error is how a job failed. It is a plain value.
type Error struct {
	ID string
	// Kind is ErrMayHaveRun, ErrCancelled, one of package runpod's Err... values,
	// or nil.
	Kind error
	// MayHaveRun reports that a worker may have carried out the job.
	MayHaveRun bool
	Status     int
	WorkerID   string
	Machine    string
	Message    string // what happened, as the machine that had the job put it
}

// Error says which job failed and how.
func (e *Error) Error() string {
	text := fmt.Sprintf("fleet: job %q: %s", e.ID, e.Message)
	if e.MayHaveRun {
		text += "; it may have run: look before Retry"
	}
	return text
}

// Unwrap returns the kind. A job that may have run is an ErrMayHaveRun too.
func (e *Error) Unwrap() []error {
	var all []error
	if e.Kind != nil {
		all = append(all, e.Kind)
	}
	if e.MayHaveRun && e.Kind != ErrMayHaveRun {
		all = append(all, ErrMayHaveRun)
	}
	return all
}

// kinds are the names that errors travel under.
var kinds = map[string]error{
	"may have run": ErrMayHaveRun, "cancelled": ErrCancelled,
	"no workers": runpod.ErrNoWorkers, "bad request": runpod.ErrBadRequest, "unauthorized": runpod.ErrUnauthorized,
	"worker gone": runpod.ErrWorkerGone, "not found": runpod.ErrNotFound, "too large": runpod.ErrTooLarge,
	"rate limited": runpod.ErrRateLimited, "processing timeout": runpod.ErrProcessingTimeout,
	"volume full": runpod.ErrVolumeFull, "integrity": runpod.ErrIntegrity,
}

// kindOf names an error's kind, "" if it has none that travels.
func kindOf(err error) string {
	if errors.Is(err, runpod.ErrWorkerGone) {
		return "worker gone" // it is a "not found" too
	}
	for name, kind := range kinds {
		if errors.Is(err, kind) {
			return name
		}
	}
	return ""
}

// wireResult is a result's record in RESULTS.
type wireResult struct {
	Run        int             `json:"run"`
	Take       string          `json:"take,omitempty"` // whose write it is
	Answer     json.RawMessage `json:"answer,omitempty"`
	Raw        []byte          `json:"raw,omitempty"` // an answer that is not JSON
	AnswerKey  string          `json:"answer_key,omitempty"`
	OutputKey  string          `json:"output_key,omitempty"`
	SaveTo     string          `json:"save_to,omitempty"`
	Status     int             `json:"status,omitempty"`
	WorkerID   string          `json:"worker,omitempty"`
	Attempts   int             `json:"attempts,omitempty"`
	Machine    string          `json:"machine,omitempty"`
	Begun      int64           `json:"begun,omitempty"` // Unix milliseconds
	Ended      int64           `json:"ended"`
	Failed     string          `json:"failed,omitempty"` // what happened; "": it went well
	Kind       string          `json:"kind,omitempty"`
	MayHaveRun bool            `json:"may_have_run,omitempty"`
}

// setAnswer keeps an answer in the record.
func (w *wireResult) setAnswer(body []byte) {
	if json.Valid(body) {
		w.Answer = body
	} else {
		w.Raw = body
	}
}

// fail makes the record one of a failure.
func (w *wireResult) fail(err error) {
	const most = 4 << 10
	w.Kind, w.Failed = kindOf(err), err.Error()
	if len(w.Failed) > most {
		w.Failed = w.Failed[:most] + "..."
	}
	if e, ok := errors.AsType[*runpod.Error](err); ok {
		w.MayHaveRun, w.Status, w.WorkerID, w.Attempts = e.MayHaveRun, e.Status, e.WorkerID, len(e.Attempts)
	}
	if errors.Is(err, ErrMayHaveRun) {
		w.MayHaveRun = true
	}
}

// readResult reads a record of RESULTS. It is a stranger's, as a job's is.
func readResult(e entry) (r Result, err error) {
	id, err := idOf(e.key)
	if err != nil {
		id = e.key
	}
	var w wireResult
	if err := json.Unmarshal(e.data, &w); err != nil {
		w = wireResult{Failed: "the record of its result is broken: " + err.Error()}
	}
	for name, key := range map[string]string{"answer_key": w.AnswerKey, "output_key": w.OutputKey} {
		if key == "" {
			continue
		}
		if err := checkKey(key); err != nil {
			w = wireResult{Run: w.Run, Failed: "the record of its result is broken: " + name + ": " + err.Error()}
		}
	}
	if err := checkSaveTo(w.SaveTo); err != nil {
		w = wireResult{Run: w.Run, Failed: "the record of its result is broken: save_to: " + err.Error()}
	}
	r = Result{ID: id, Run: w.Run, Pos: e.seq, Answer: w.Raw, AnswerKey: w.AnswerKey, OutputKey: w.OutputKey, SaveTo: w.SaveTo,
		Status: w.Status, WorkerID: w.WorkerID, Attempts: w.Attempts, Machine: w.Machine, Begun: unix(w.Begun), Ended: unix(w.Ended)}
	if w.Answer != nil {
		r.Answer = w.Answer
	}
	if w.Failed == "" {
		return r, nil
	}
	r.failure = &Error{ID: id, Kind: kinds[w.Kind], MayHaveRun: w.MayHaveRun, Status: w.Status, WorkerID: w.WorkerID, Machine: w.Machine, Message: w.Failed}
	return r, r.failure
}

func unix(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// took is what a response says for the record.
func (w *wireResult) took(resp *runpod.Response) {
	if resp == nil {
		return
	}
	w.Status, w.WorkerID, w.Attempts = resp.Status, resp.WorkerID, len(resp.Attempts)
}
