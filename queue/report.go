package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// report is a job as the service shows it. Its output is decoded later, into the
// caller's type.
type report struct {
	ID       text            `json:"id"`
	State    text            `json:"status"`
	Delay    number          `json:"delayTime"`     // ms
	Took     number          `json:"executionTime"` // ms
	Output   json.RawMessage `json:"output"`
	Failure  *Failure        `json:"error"`
	Retries  number          `json:"retries"`
	WorkerID text            `json:"workerId"`

	// Parts are those of the output that nobody has been handed before.
	Parts []part `json:"stream"`
}

// part is a part of a job's output.
type part struct {
	Output json.RawMessage `json:"output"`
}

func (r *report) state() State { return State(r.State) }

// UnmarshalJSON reads the form of /stream's answers that Runpod's SDKs read and
// that which its docs show, the parts alone.
func (r *report) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte("[")) {
		return json.Unmarshal(data, &r.Parts)
	}
	type plain report
	return json.Unmarshal(data, (*plain)(r))
}

// errUseless and errNoReport: answers with a good status that have not what was
// asked for, or do not say how a job is.
var (
	errUseless  = errors.New("the answer is not what was asked for")
	errNoReport = errors.New("the answer is no report of a job")
)

// ask makes a call and reads its answer, a JSON object, into out; nil: the answer
// says no more than that it is done, and may be empty. An answer that says
// nothing but an error is an error.
func (a *api) ask(ctx context.Context, c call, out any) error {
	resp, err := a.send(ctx, c)
	if err != nil || out == nil && len(resp.Body) == 0 {
		return err
	}
	var said struct {
		State text     `json:"status"`
		Error *Failure `json:"error"`
	}
	err = readJSON(resp.Body, &said)
	if failure := said.Error.from(c.hidden); err == nil && failure != nil && !State(said.State).named() {
		err = failure
	}
	if err == nil && out != nil {
		err = readJSON(resp.Body, out)
	}
	if err != nil {
		return c.failed(resp, fmt.Errorf("%w: %w", errUseless, err))
	}
	return nil
}

// report makes a call whose answer is a report.
func (a *api) report(ctx context.Context, c call) (report, error) {
	resp, err := a.send(ctx, c)
	if err != nil {
		return report{}, err
	}
	var r report
	if err := r.read(&c, resp.Body); err != nil {
		e := c.failed(resp, err)
		_, refused := errors.AsType[*Failure](err)
		e.MayHaveRun = c.name() == "runsync" || c.name() == "stream" || c.name() == "run" && !refused
		e.Advice = advice(e, &c)
		return report{}, e
	}
	return r, nil
}

// read decides whether an answer is a report, and reads it. It is one if it is a
// JSON object with a job's state. The job's id is enough for a call that queues
// the job, which is not to be lost, and the parts are enough for /stream.
func (r *report) read(c *call, body []byte) error {
	err := readJSON(body, r)
	r.Failure = r.Failure.from(c.hidden)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errNoReport, err)
	case r.state().named(), c.submits() && r.ID != "", c.name() == "stream" && r.Parts != nil:
		return nil
	case r.Failure != nil:
		return fmt.Errorf("%w: %w", errNoReport, r.Failure)
	}
	return errNoReport
}
