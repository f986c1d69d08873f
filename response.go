package runpod

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/gpuburst/runpod-go/internal/redact"
)

// Response is an endpoint's answer to [Client.Call].
type Response struct {
	Status   int         // HTTP status
	Header   http.Header // as the worker sent it
	Body     []byte      // the whole body; nil if it went to an io.Writer
	WorkerID string      // the worker that answered; "" if the answer names none
	Attempts []Attempt   // every attempt, in order; the last one brought this answer

	secrets *redact.Secrets // which no error may show, should the worker echo them
}

// JSON decodes the body into out. The error is an *Error with the beginning of
// the body.
func (r *Response) JSON(out any) error {
	if err := json.Unmarshal(r.Body, out); err != nil {
		return &Error{Op: "decode answer", Status: r.Status, WorkerID: r.WorkerID, Attempts: r.Attempts,
			Body: r.secrets.Head(r.Body, peekLimit), Err: fmt.Errorf("it is not the JSON that was asked for: %w", err)}
	}
	return nil
}

// status is the answer's, 0 if there is none.
func (r *Response) status() int {
	if r == nil {
		return 0
	}
	return r.Status
}

func capped(body []byte) []byte { return body[:min(len(body), peekLimit)] }
