package queue

import (
	"context"
	"errors"
	"strconv"
)

// Run queues a job and returns at once. The service keeps its result for 30
// minutes after the job has ended (Runpod docs). Most callers call
// [Handle.Wait] next.
//
// Calls wait until they are within the service's rate limits. A request that
// may have been queued already is not sent again: the error then has
// MayHaveRun.
func Run[Out any](ctx context.Context, q *Client, r Request) (*Handle[Out], error) {
	api := q.inside()
	c := api.post("/run", "")
	report, err := api.submit(ctx, &c, r, maxRun)
	if err != nil {
		return nil, err
	}
	if report.ID == "" {
		e := c.failed(nil, errors.New("the answer has no job id"))
		e.MayHaveRun = true
		return nil, e
	}
	return Open[Out](q, string(report.ID)), nil
}

// RunSync runs a job and waits for its end: in one request for as long as the
// service holds that (Request.Wait), and then as [Handle.Wait] does. The service
// keeps the result for 1 minute (Runpod docs). If ctx ends first the job goes
// on, and there may be no way to find it again: most callers should prefer [Run]
// and Wait.
func RunSync[Out any](ctx context.Context, q *Client, r Request) (Result[Out], error) {
	api := q.inside()
	path := "/runsync"
	if r.Wait > 0 {
		path += "?wait=" + strconv.FormatInt(r.Wait.Milliseconds(), 10)
	}
	c := api.post(path, "")
	report, err := api.submit(ctx, &c, r, maxRunSync)
	switch {
	case err != nil:
		return Result[Out]{}, err
	case report.state().Final():
		return ending[Out](&c, &report)
	case report.ID == "":
		e := c.failed(nil, errors.New("the job goes on, and the answer has no job id"))
		e.MayHaveRun = true
		return Result[Out]{State: report.state()}, e
	}
	return Open[Out](q, string(report.ID)).Wait(ctx)
}

// submit sends a request that queues a job.
func (a *api) submit(ctx context.Context, c *call, r Request, limit int) (report, error) {
	var err error
	if c.body, err = r.encode(c.op(), limit); err != nil {
		return report{}, err
	}
	a.hide(r)
	said, err := a.report(ctx, *c)
	if err == nil && said.ID != "" {
		a.queued(string(said.ID))
	}
	return said, err
}
