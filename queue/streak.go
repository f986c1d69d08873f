package queue

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gpuburst/runpod-go"
)

// passes reports whether the reason why a look brought no report may pass: the
// service or something before it has answered what is no report, or has failed,
// and said nothing of the job.
func passes(err error) bool {
	e, ok := errors.AsType[*runpod.Error](err)
	switch {
	case !ok, e.Field != "", errors.Is(err, runpod.ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.Is(err, errNoReport), errors.Is(err, errNoBatch), errors.Is(err, errUseless):
		return true
	case e.Status == 0:
		return errors.Is(err, runpod.ErrNotFound) // the host name, for a moment
	}
	redirected := e.Status >= 300 && e.Status < 400 // by a gateway, to its own pages
	return redirected || e.Status >= 500 && e.Status != http.StatusNotImplemented
}

// maxStreak is how many looks in a row may bring no report: with the default
// policy they take about half a minute.
const maxStreak = 10

// streak is how many looks in a row have brought no report. Package runpod has
// retried each of them already, for as long as that promised anything.
type streak struct {
	n     int
	since time.Time
}

// ends takes in the outcome of a look that began when it was asked, and returns
// the error that ends the wait; nil if the job is to be looked at again.
func (s *streak) ends(err error, asked, now time.Time, patience time.Duration) error {
	switch {
	case err == nil:
		*s = streak{}
		return nil
	case errors.Is(err, errSettling): // which ends by itself
		return nil
	case s.n == 0:
		s.since = asked
	}
	if s.n++; passes(err) && s.n < maxStreak && now.Sub(s.since) < patience {
		return nil
	}
	if e, ok := errors.AsType[*runpod.Error](err); ok && passes(err) {
		e.Err = after(s.n, e.Err)
		e.Advice = "the job may go on: open it again by its id"
	}
	return err
}

// after says how many looks a cause, if there is one, has put an end to.
func after(looks int, cause error) error {
	if cause == nil {
		return fmt.Errorf("%d looks in a row brought no report", looks)
	}
	return fmt.Errorf("%d looks in a row brought no report: %w", looks, cause)
}
