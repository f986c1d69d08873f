package runpod

import (
	"errors"
	"fmt"
	"io"
	"net/http"
)

// bytesRead is how much of an answer's body was read, into memory or by its
// caller.
func bytesRead(resp *http.Response, r *Response) int64 {
	if resp != nil {
		if body, ok := resp.Body.(*attemptBody); ok {
			return body.read
		}
	}
	if r == nil {
		return 0
	}
	return int64(len(r.Body))
}

// conclude turns the last answer of a call into a Response, and its body into
// out: a *[]byte, an io.Writer, or whatever JSON decodes into. An answer that is
// no success is an error too.
func (c *call) conclude(resp *http.Response, out any) (*Response, error) {
	defer resp.Body.Close()
	r := &Response{Status: resp.StatusCode, Header: resp.Header, WorkerID: c.answer.WorkerID, Attempts: c.attempts, secrets: c.ep.secrets}
	success := r.Status >= 200 && r.Status < 300
	if w, ok := out.(io.Writer); ok && success {
		return r, c.copyTo(w, resp.Body)
	}
	if body, ok := resp.Body.(*attemptBody); ok && !success {
		body.limit(peekTime)
	}
	var err error
	if r.Body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1)); err != nil && success {
		return r, c.broken(err)
	}
	switch {
	case !success:
		return r, c.unsuccessful(r)
	case len(r.Body) > maxBody:
		e := c.newError()
		e.Kind, e.Err = ErrTooLarge, errors.New("the answer is over 30 MB, more than the service lets through")
		return r, c.report(e)
	case out == nil || len(r.Body) == 0:
		return r, nil
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = r.Body
		return r, nil
	}
	if err := r.JSON(out); err != nil {
		e, _ := errors.AsType[*Error](err)
		e.Op = c.op
		return r, c.report(e)
	}
	return r, nil
}

// copyTo streams an answer's body to the caller's writer.
func (c *call) copyTo(w io.Writer, body io.Reader) error {
	_, err := copyContext(c, w, body)
	if failed, ok := errors.AsType[*writeError](err); ok {
		e := c.newError()
		e.Err = fmt.Errorf("writing the answer: %w", failed.error)
		return c.report(e)
	}
	if err != nil {
		return c.broken(err)
	}
	return nil
}

// unsuccessful is the error of a final answer that is no success.
func (c *call) unsuccessful(r *Response) error {
	e := c.newError()
	e.Body = capped(c.redacted(r.Body))
	if r.Status < 400 {
		e.Err = errors.New("redirects are not followed")
		if to := r.Header.Get("Location"); to != "" {
			to = c.ep.secrets.Line([]byte(to), maxExcerpt)
			e.Err = fmt.Errorf("it redirects to %q, and redirects are not followed", to[:min(len(to), 300)])
			e.Advice = "use that address (WithEndpoint) if you trust it"
		}
	}
	return c.report(e)
}
