package queue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/gpuburst/runpod-go"
)

// The most that a call may send (Runpod docs: 10 and 20 MB, and the service's
// own words are "10MiB").
const (
	maxRun     = 10 << 20
	maxRunSync = 20 << 20
)

// Request is a job to run. Most callers set Input and nothing else: a zero field
// is left out, and means the service's default. It is a plain value.
type Request struct {
	// Input is what the worker's handler gets, as JSON; required. A []byte or
	// [json.RawMessage] is JSON that is encoded already.
	Input   any
	Webhook string // a URL that gets the result when the job ends

	ExecutionTimeout time.Duration // how long the job may run; above 5 s, the service's default is 10 min
	TTL              time.Duration // how long the job may live, waiting included; 10 s to a week, the default is 24 h
	LowPriority      bool          // the job starts no worker

	S3 *S3 // handed on to the worker

	// Wait is how long the service holds the request of [RunSync] before it answers
	// that the job is not done: 1 s to 5 min, the service's default is 90 s. RunSync
	// goes on waiting either way. If something on the way cuts requests earlier
	// (users report gateways that do so after 60 s), set it below that, or use
	// [Run].
	Wait time.Duration
}

// S3 is a store for the worker's files. Its secret goes to the service, and from
// there to the worker; errors do not show it.
type S3 struct {
	AccessID     string `json:"accessId,omitempty"`     // the access key's id
	AccessSecret string `json:"accessSecret,omitempty"` // the access key's secret
	BucketName   string `json:"bucketName,omitempty"`   // the bucket
	EndpointURL  string `json:"endpointUrl,omitempty"`  // the store's address
	ObjectPath   string `json:"objectPath,omitempty"`   // the folder or object in the bucket
}

// check names the field that the service would refuse.
func (r *Request) check(op string) error {
	switch {
	case r.Webhook != "" && !isWebURL(r.Webhook):
		return refuse(op, "Request.Webhook", "want an http or https URL")
	case r.ExecutionTimeout != 0 && r.ExecutionTimeout.Milliseconds() <= 5000:
		return refuse(op, "Request.ExecutionTimeout", "%v: the service wants more than 5 s", r.ExecutionTimeout)
	case r.TTL != 0 && (r.TTL < 10*time.Second || r.TTL > 7*24*time.Hour):
		return refuse(op, "Request.TTL", "%v: the service takes 10 s to a week", r.TTL)
	case r.Wait != 0 && (r.Wait < time.Second || r.Wait > 5*time.Minute):
		return refuse(op, "Request.Wait", "%v: the service takes 1 s to 5 min", r.Wait)
	}
	return nil
}

func isWebURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// MarshalJSON returns the request as the service takes it.
func (r Request) MarshalJSON() ([]byte, error) {
	type policy struct {
		ExecutionTimeout int64 `json:"executionTimeout,omitempty"`
		TTL              int64 `json:"ttl,omitempty"`
		LowPriority      bool  `json:"lowPriority,omitempty"`
	}
	out := struct {
		Input   any     `json:"input"`
		Webhook string  `json:"webhook,omitempty"`
		Policy  *policy `json:"policy,omitempty"`
		S3      *S3     `json:"s3Config,omitempty"`
	}{Input: r.Input, Webhook: r.Webhook, S3: r.S3}
	if p := (policy{r.ExecutionTimeout.Milliseconds(), r.TTL.Milliseconds(), r.LowPriority}); p != (policy{}) {
		out.Policy = &p
	}
	return json.Marshal(out)
}

// encode makes a request's body, of at most limit bytes.
func (r *Request) encode(op string, limit int) ([]byte, error) {
	if err := r.check(op); err != nil {
		return nil, err
	}
	own := *r
	var err error
	if own.Input, err = input(r.Input); err != nil {
		return nil, refuse(op, "Request.Input", "%w", err)
	}
	data, err := own.MarshalJSON()
	if err != nil {
		return nil, refuse(op, "Request", "it does not encode as JSON: %w", err)
	}
	if len(data) > limit {
		e := refuse(op, "Request.Input", "%d bytes of JSON: the service takes at most %d MiB here", len(data), limit>>20)
		e.Kind, e.Advice = runpod.ErrTooLarge, "upload it and send its path"
		return nil, e
	}
	return data, nil
}

// input encodes a job's input. It refuses what the worker would not get as it
// was meant.
func input(in any) (json.RawMessage, error) {
	var data json.RawMessage
	switch v := in.(type) {
	case json.RawMessage:
		data = v
	case []byte:
		data = v
	case io.Reader:
		return nil, fmt.Errorf("a %T would be sent as an empty object: read it first, or upload it and send its path", in)
	default:
		var err error
		if data, err = json.Marshal(in); err != nil {
			return nil, fmt.Errorf("it does not encode as JSON: %w", err)
		}
	}
	switch {
	case !json.Valid(data):
		return nil, errors.New("it is not JSON")
	case string(bytes.TrimSpace(data)) == "null":
		return nil, errors.New("it is nil: the service wants one, if only {}")
	}
	return data, nil
}
