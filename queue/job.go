package queue

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gpuburst/runpod-go"
)

// job is one job by its id.
type job struct {
	api *api
	id  string
}

// get and post make calls about the job. The name may have a query.
func (j job) get(name string) call  { return j.api.get(j.path(name), j.id) }
func (j job) post(name string) call { return j.api.post(j.path(name), j.id) }

func (j job) path(name string) string {
	name, query, asks := strings.Cut(name, "?")
	path := "/" + name + "/" + url.PathEscape(j.id)
	if asks {
		path += "?" + query
	}
	return path
}

// report makes a call about the job that brings a report of it.
func (j job) report(ctx context.Context, c call) (report, error) {
	if err := j.check(ctx, &c); err != nil {
		return report{}, err
	}
	r, err := j.api.report(ctx, c)
	return r, j.mended(err)
}

// ask makes a call about the job whose answer says no more than that it is done.
func (j job) ask(ctx context.Context, c call) error {
	if err := j.check(ctx, &c); err != nil {
		return err
	}
	return j.mended(j.api.ask(ctx, c, nil))
}

func (j job) check(ctx context.Context, c *call) error {
	if err := j.api.usable(ctx, c); err != nil {
		return err
	}
	if j.id == "" {
		return refuse(c.op(), "job id", "it is empty")
	}
	return nil
}

// errSettling: a job that was queued a moment ago may not be known everywhere.
var errSettling = errors.New("the service does not know the job yet")

// mended is the error of a call about the job. That there is no such job means
// [ErrExpired], unless it was queued a moment ago.
func (j job) mended(err error) error {
	if statusOf(err) != http.StatusNotFound {
		return err
	}
	e, _ := errors.AsType[*runpod.Error](err)
	if j.api.recent.has(j.id, time.Now(), j.api.settling()) {
		e.Err, e.Advice = errSettling, "try again in a few seconds"
	} else {
		e.Kind, e.Advice = ErrExpired, "look sooner, or give the job a webhook"
	}
	return e
}
