package runpod

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"
)

// Client uploads inputs to a network volume, calls a load-balancing endpoint,
// and brings results back. It is safe for concurrent use by any number of
// goroutines, which share its one S3 connection pool and its one limit of
// requests in flight. Most programs should make one with [New], keep it, and
// close it when done.
type Client struct{ *rooms }

// rooms are what stands behind the doors.
type rooms struct {
	config *config
	life   *lifetime
	volume *volume
	ep     *endpoint

	store     *store
	calls     *caller
	runner    *runner
	batches   *batches
	warmer    *warmer
	readiness *readiness
	holds     *holds
}

// New makes a Client from options, and from the environment for what they
// leave unset. It sends nothing. A Client without S3 settings can still call,
// and one without an endpoint can still upload: the method that lacks a setting
// returns an error that says what to set. New's own error is an [*Error] whose
// Field names the option that is wrong.
func New(opts ...Option) (*Client, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	return &Client{newRooms(cfg, newLifetime())}, nil
}

func newRooms(cfg *config, life *lifetime) *rooms {
	r := &rooms{config: cfg, life: life, volume: newVolume(cfg), ep: newEndpoint(cfg)}
	r.store = &store{volume: r.volume, life: r.life, missing: cfg.missingForS3}
	costs := newSpending(cfg.maxSpending, cfg.logger)
	r.warmer = newWarmer(cfg, r.ep, r.life, costs)
	r.calls = newCaller(r.ep, r.warmer.wake, r.life, cfg.missingForCalls)
	r.runner = &runner{
		life: r.life, volume: r.volume, calls: r.calls, all: cfg.observers, missing: cfg.missingForS3, logger: cfg.logger,
		cleanup: cfg.policy.Stall,
	}
	r.batches = newBatches(r.runner, cfg.maxInFlight, cfg.s3Conns)
	r.readiness = newReadiness(r.life, cfg.control, r.ep.answeredAt, placeOf(cfg.s3))
	r.holds = newHolds(r.life, costs, cfg.observers, &holdMinimum{control: cfg.control, logger: cfg.logger, open: openHoldStores(r.volume)})
	return r
}

// NewGroup makes a [Group] of Clients, each for an endpoint of its own, in order of
// preference. The Group closes them. A Client that is nil or was not made by New is
// refused, and so is one that cannot call.
func NewGroup(clients []*Client, opts ...GroupOption) (*Group, error) {
	members := make([]*groupMember, len(clients))
	for i, c := range clients {
		r := c.in()
		if err := r.config.missingForCalls(http.MethodPost, "/"); err != nil || r.config.unmade {
			return nil, refuse("new group", fmt.Sprintf("clients[%d]", i), "it cannot call: %w", cmp.Or(err, errUnmade("new group")))
		}
		members[i] = &groupMember{
			name: r.ep.host(), runner: r.runner, calls: r.calls, room: r.config.maxInFlight + r.config.s3Conns, warmer: r.warmer,
			ready: r.readiness.now, stats: r.stats, drain: r.shutdown, close: r.closeAll, logger: r.config.logger,
			idle: r.config.policy.IdleTimeout, wait: r.config.policy.QueueWait, workers: map[string]time.Time{},
		}
	}
	return newGroup(members, opts)
}

// in returns what is behind the doors. The rooms of a Client that New has not
// made refuse everything.
func (c *Client) in() *rooms {
	if c == nil || c.rooms == nil {
		cfg := &config{unmade: true}
		cfg.setDefaults()
		return newRooms(cfg, &lifetime{})
	}
	return c.rooms
}

// Round trips: upload, call, fetch, clean up.

// Run does one job. The whole job is checked before any traffic. The error is an
// [*Error] whose JobID names the job; the Result comes with it as far as the job
// got. Most callers with several jobs should use [Client.RunAll].
func (c *Client) Run(ctx context.Context, job Job) (Result, error) {
	return c.in().runner.run(ctx, job)
}

// RunAll does jobs side by side and yields each result as soon as it is there,
// with the error that the job ended in. It yields on the caller's goroutine.
//
// Jobs are read by one goroutine, at most one ahead of what the S3 pool and the
// endpoint can use together. A loop that is slow to take results holds back new
// jobs, not running ones. Breaking out of the loop cancels the jobs in flight
// and returns when they have ended. A sequence that blocks must watch the
// context itself: RunAll returns only when the sequence has returned.
//
// Every job that is read is yielded once, with the Index at which it was read.
// When the context ends or the Client is closed, no further job is read, and
// those in flight are yielded with their errors. A RunAll that cannot begin,
// since the context has ended or the Client is closed, yields one error with a
// Result of Index -1. So whatever has no result without an error is to be run
// again, jobs that failed and jobs that were never read alike:
//
//	done := make([]bool, len(jobs))
//	for r, err := range c.RunAll(ctx, slices.Values(jobs)) {
//		if err == nil {
//			done[r.Index] = true
//		}
//	}
//	var again []runpod.Job
//	for i, job := range jobs {
//		if !done[i] {
//			again = append(again, job)
//		}
//	}
//
// A job that failed with Error.MayHaveRun may have run already. An input whose
// [Reader] opens only once cannot be run again.
//
// If one of a job's functions panics, or calls runtime.Goexit as t.FailNow does,
// that is the job's error, with the stack in its text; the other jobs go on. If
// the sequence does, the loop does too, when the jobs that were read have ended.
func (c *Client) RunAll(ctx context.Context, jobs iter.Seq[Job]) iter.Seq2[Result, error] {
	return c.in().batches.runAll(ctx, jobs)
}

// The volume.

// Upload stores an input as the object key on the volume and returns what was
// stored. An input above [WithPartSize] goes in parts, several at a time. Every
// request carries a checksum that was taken before it was sent, so the gateway
// refuses what arrives damaged, and the answer is compared with it: a mismatch
// is [ErrIntegrity]. A key that cannot be a file on the volume is refused.
func (c *Client) Upload(ctx context.Context, key string, in Input) (Object, error) {
	return c.in().store.upload(ctx, key, in)
}

// Download writes an object's content to w. If the connection breaks it goes on
// from the last byte, so that w gets every byte once and in order. After an
// error w may have got the beginning. [ErrNotFound] says that there is no such
// object. For a file, use [Client.DownloadFile], which is faster.
func (c *Client) Download(ctx context.Context, key string, w io.Writer) (Object, error) {
	return c.in().store.download(ctx, key, w)
}

// DownloadFile writes an object's content to the file at path, whole or not at
// all: it is filled under a temporary name beside it, from several connections
// at once, and renamed into place. The folder must exist. A file that is there
// is replaced and its mode kept. A symbolic link is replaced too: what it points
// to stays as it is.
func (c *Client) DownloadFile(ctx context.Context, key, path string) (Object, error) {
	return c.in().store.downloadFile(ctx, key, path)
}

// Stat returns what is known of an object without reading it. [ErrNotFound] says
// that there is no such object.
func (c *Client) Stat(ctx context.Context, key string) (Object, error) {
	return c.in().store.stat(ctx, key)
}

// Delete removes an object from the volume. It is no error if there is none.
func (c *Client) Delete(ctx context.Context, key string) error { return c.in().store.delete(ctx, key) }

// List yields every object whose key begins with prefix, "" for all of them, in
// the gateway's order, which is that of the keys. It asks for them in pages, as
// the loop gets there. After an error nothing more comes.
//
// Listings above 10,000 objects are slow, and the gateway may repeat a page's
// token there (Runpod docs): such a listing goes on after the last key, and
// yields no object twice.
func (c *Client) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return c.in().store.list(ctx, prefix)
}

// UploadDir uploads every file of a folder and of the folders in it, several at
// a time, as prefix/<path within the folder>. It returns the objects in the
// order of their paths. What is neither a regular file nor a folder, symbolic
// links included, is refused before any traffic; empty folders are left out. The
// first failure ends it: what was uploaded until then is returned with the
// error, and stays.
func (c *Client) UploadDir(ctx context.Context, dir, prefix string) ([]Object, error) {
	return c.in().store.uploadDir(ctx, dir, prefix)
}

// DownloadDir downloads every object under the folder prefix, "" for the whole
// volume, to a folder, several at a time, each file whole or not at all. Folders
// are made if they are not there; a file that is there is replaced. A key that
// cannot be a file there is left out: it leads out of the folder, by its names or
// by a symbolic link, has an empty name in it, or is the folder of another key.
// The error names it once everything else is there. Any other failure ends it:
// what was downloaded until then is returned with the error.
func (c *Client) DownloadDir(ctx context.Context, prefix, dir string) ([]Object, error) {
	return c.in().store.downloadDir(ctx, prefix, dir)
}

// DeleteAll deletes every object whose key begins with prefix, and returns how
// many it has deleted. "results" is the beginning of "results2" too: end a
// folder's name with a slash. It sends one request an object, several at a time,
// since the gateway has no other way (Runpod docs). An empty prefix is refused.
// The first failure ends it.
func (c *Client) DeleteAll(ctx context.Context, prefix string) (int, error) {
	return c.in().store.deleteAll(ctx, prefix)
}

// SweepInputs deletes inputs that a process left on the volume when it was
// killed: objects whose keys were made up by [Client.Run] (see [JobInput]) and
// that were written longer than age ago, by the gateway's clock. It returns what
// it has deleted and touches nothing else. Most callers should use a day; an age
// below what a job takes would delete inputs in use. The first failure ends it.
func (c *Client) SweepInputs(ctx context.Context, age time.Duration) ([]Object, error) {
	return c.in().store.sweepInputs(ctx, age)
}

// Progress returns how far all uploads and downloads of the Client are; see
// [WithProgress] for some of them.
func (c *Client) Progress() Transferred { return c.in().volume.gw.progress.Now() }

// Calls.

// Call sends in as JSON to a path of the endpoint, as often as it takes, and
// decodes the answer's JSON into out. In may be nil for no body, or a []byte or
// json.RawMessage for JSON that is encoded already. Out may be nil, a *[]byte
// for the body as it is, or an io.Writer that the body is streamed to.
//
// If the final answer's status is outside 200 to 299, Call returns both the
// Response and an error. See [Error] for what an error says.
func (c *Client) Call(ctx context.Context, method, path string, in, out any, opts ...CallOption) (*Response, error) {
	return c.in().calls.call(ctx, method, path, in, out, opts)
}

// Do sends a request to the endpoint with the resilience of [Client.Call], which
// most callers should use. Its URL is the endpoint's, or a path alone. Any final
// HTTP status is returned as a response, with its body to read and close; an
// error means that there is none. The request is not changed. A body without
// GetBody is read into memory, at most 30 MB, so that it can be sent again. The
// API key is added unless the request has an Authorization of its own. Redirects
// are returned, not followed. Options are in the request's context; see
// [WithCallOptions].
func (c *Client) Do(req *http.Request) (*http.Response, error) { return c.in().calls.do(req) }

// Transport returns an [http.RoundTripper] with the resilience of [Client.Do],
// for HTTP clients that others wrote: put it into an [http.Client], and that
// into openai-go, a generated client, or a WebSocket library. It is safe for
// concurrent use, and works until the Client is closed.
//
// Requests to the endpoint's own host carry the Client's key in place of any
// Authorization that the other client has set (Do keeps a caller's own). They
// take their place in flight, are retried by the table of the package
// documentation, and are logged and observed; options are in the request's
// context, see [WithCallOptions]. Every final HTTP status is an answer, returned
// as soon as its headers are there, so that streams flow as they come. If a
// stream breaks off, its Read returns the error. A 101 is passed on untouched.
//
// Requests to any other host, after a redirect for instance, are sent once and
// as they are, except that headers with the Client's key in them are left out.
//
// A body is sent as often as it takes if GetBody opens it anew, or if its length
// is known: it is read into memory then, at most 30 MB. Any other body is sent
// once, as it comes, so that streams in both directions work. If a retry would
// need it again there is no retry, and the error says so; if there is an answer,
// the log does.
//
// Waiting for a cold endpoint takes minutes. Set no [http.Client.Timeout], which
// covers the whole exchange, streams included; use a context instead, and switch
// the other client's retries off.
func (c *Client) Transport() http.RoundTripper { return &transport{c.in().calls} }

// HTTPClient returns a new HTTP client on [Client.Transport], without a timeout.
// Its paths may do without a host: Get("/health") asks the endpoint. It is the
// caller's to change.
func (c *Client) HTTPClient() *http.Client { return &http.Client{Transport: &transport{c.in().calls}} }

// Session begins a session: its requests go to one worker. It sends nothing.
// Without [OnWorker] the worker is the one that first answers a request of the
// session with success, a 101 included. End the session when done.
func (c *Client) Session(opts ...SessionOption) *Session { return newSession(c.in().calls, opts) }

// Readiness.

// Warm starts workers until n are up: until n distinct ones have answered, or the
// control plane lists n as ready. It returns how many are up. If these are fewer
// than n, the error says why Warm does not wait longer: ctx has ended, no worker
// came within [RetryPolicy.GiveUp], no further one came within
// [RetryPolicy.QueueWait], or the endpoint refuses for good. Most callers should
// use [WithWarmup] instead.
//
// Warm sends light requests, GET /ping unless [WithWarmPath] says otherwise, all
// at once. The autoscaler asks for one worker per scaler value of requests that it
// sees (Runpod docs; 4 unless the control plane says otherwise), so n workers take
// 4(n-1)+1 requests, and one more is sent. Requests that are sent one after the
// other would start one worker only.
//
// All callers and [WithWarmup] share one wake: if a caller's ctx ends, the wake
// goes on. Each worker that is up gets a light request every 3/5 of
// [RetryPolicy.IdleTimeout], so that it does not idle out, until the calls that
// follow have come and gone, or for [RetryPolicy.WarmFor] if none come. Close ends
// the wake. Idle workers are billed: see Stats.WarmWorkerSeconds.
//
// Light requests are no calls: they take no place in flight and no pace, and every
// call that is sent replaces one. They are never sent while calls keep all workers
// busy, and a worker answers one in an instant.
//
// Warm has limits. An endpoint that drops starting workers as soon as demand falls
// (inferred, not documented) may do so when the first worker answers the requests
// that were to start the others; use [Client.HoldWorkers] there. Workers that do
// not name themselves are told apart only with [WithControl]. A worker that is up
// already may answer light requests faster than they add up to the demand for a
// second one; they are repeated, and calls add to the demand too. With a scaler
// value of 1, a call may start one worker more than are needed, if it is sent
// before the light request that it replaces has left.
func (c *Client) Warm(ctx context.Context, n int) (int, error) { return c.in().warmer.warm(ctx, n) }

// HoldWorkers raises the endpoint's minimum of workers to n and keeps it there
// until [Hold.Release] or Close, so that a burst finds workers that are up. It
// returns when the control plane has accepted the change; the workers are up a
// cold start later. It needs [WithControl]. Minimum workers are billed all the
// time, see Stats.HeldWorkerSeconds; [WithMaxWorkerSeconds] caps that. Most callers
// should use [WithWarmup] instead, which leaves nothing running.
//
// Several holds may exist at once, in this process and elsewhere: the largest n
// counts. A hold restores the minimum if it is still what the holds set. The last
// one to end restores the minimum from before the first. If somebody else has
// changed the minimum, it stays as they set it, unless they chose the very number
// that the holds had set: that cannot be told apart.
//
// # A killed process leaves the minimum raised
//
// A process that is killed cannot lower the minimum, and the control plane does
// not do so by itself: the workers are paid for until somebody lowers it. So
// HoldWorkers writes a record before it raises anything, and renews it every 20 s.
// The record is the object .runpod-go/holds/<endpoint>/<id>.json on the network
// volume, which every machine sees. Without S3 settings it is the file
// runpod-go/holds/<endpoint>/<id>.json in [os.UserCacheDir], which only this
// machine sees. A record that was not renewed for 90 s is stale. The next client
// that holds or releases workers lowers what stale records have raised, and so does
//
//	go run github.com/gpuburst/runpod-go/cmd/runpod-workers release
//
// The clocks of machines that hold the same endpoint may differ by up to a minute.
// Whatever else lies among the records is logged and left alone. See
// docs/security.md for what somebody who can write there can do.
func (c *Client) HoldWorkers(ctx context.Context, n int) (*Hold, error) {
	return c.in().holds.raise(ctx, n)
}

// Holds returns the recorded holds of the endpoint: this Client's, everybody
// else's, and stale ones. If there is something among the records that is not one,
// Holds returns the others together with an error that names it and matches
// [ErrIntegrity].
func (c *Client) Holds(ctx context.Context) ([]HoldRecord, error) { return c.in().holds.recorded(ctx) }

// ClearHolds ends the stale holds, or all holds if all is true, and returns their
// records. It lowers the minimum to what the remaining holds ask for; if none
// remains, it restores the minimum from before, if that is still what the holds
// set. A living hold that is ended finds out within about 20 s, see [Hold.Err].
// Ending living holds takes 4 s longer, to make sure that none has renewed its
// record meanwhile.
func (c *Client) ClearHolds(ctx context.Context, all bool) ([]HoldRecord, error) {
	return c.in().holds.clear(ctx, all)
}

// Ready returns what is known about the endpoint, for a service's own health
// check. It sends nothing to the endpoint, so it wakes no worker. With
// [WithControl] it asks the control plane, at most every 5 s for all callers
// together. Without WithControl it returns no error and knows next to nothing, as
// Readiness.Unknown says: a health check should not rely on a nil error then.
// Readiness.Warnings say what may keep calls from succeeding, and what to do.
//
// If no call can succeed, Ready returns an error: [ErrNoWorkers] if the endpoint's
// maximum is 0 workers, as it is after 7 days without use (Runpod docs), and
// [ErrBadRequest] if the endpoint is not a load-balancing one. The Readiness that
// comes with an error holds what is known all the same.
func (c *Client) Ready(ctx context.Context) (Readiness, error) { return c.in().readiness.now(ctx) }

// The Client itself.

// Redact returns text without the secrets that the Client holds, or was handed by
// a credentials provider: the API key and the S3 keys, as they are, in base64, and
// escaped for a URL, JSON or HTML. The Client's own errors and log lines have gone
// through it. Use it on what a worker has sent before you log that.
func (c *Client) Redact(text string) string { return c.in().config.secrets.String(text) }

// Stats returns what the Client has done so far. It is cheap enough to be called
// every second. Its figures are read one after the other, so two of them may
// differ by a call that ended in between.
func (c *Client) Stats() Stats { return c.in().stats() }

func (r *rooms) stats() Stats { return gather(r.calls, r.volume, r.holds.cost) }

// RetryPolicy returns the policy in use, with the defaults filled in.
func (c *Client) RetryPolicy() RetryPolicy { return c.in().config.policy }

// SetMaxInFlight changes what [WithMaxInFlight] has set, at once: requests that
// wait are sent, or those beyond the new number are let end and no further one
// is begun until enough have. A RunAll under way reads as many more jobs ahead.
// 0 means the default; a negative number is refused. With [AdmissionOff] it
// changes only how far RunAll reads ahead.
func (c *Client) SetMaxInFlight(n int) error { return c.in().setMaxInFlight(n) }

func (r *rooms) setMaxInFlight(n int) error {
	const op = "set max in flight"
	switch {
	case r.config.unmade:
		return errUnmade(op)
	case n < 0:
		return refuse(op, "n", "%d is negative", n)
	}
	n = cmp.Or(n, defaultMaxInFlight)
	r.ep.setMaxInFlight(n)
	r.batches.makeRoom(n)
	return nil
}

// Shutdown ends the Client gracefully: it refuses new operations with
// [ErrClosed], lets those in flight end, retries included, and returns when all
// have ended and the bodies that [Client.Do] has returned are read or closed.
// RunAll begins no further job and yields those that it has begun. Then the
// workers that are held are released, as by [Client.Close], whose error it
// returns.
//
// If ctx ends first, Shutdown does what Close does, and the error says how many
// operations it cut off. Most services should call it when they are told to
// stop, with a deadline a little below what their platform grants them.
func (c *Client) Shutdown(ctx context.Context) error { return c.in().shutdown(ctx) }

// Close refuses new operations, ends those in flight with [ErrClosed], and
// returns when all have returned. Bodies that [Client.Do] has returned fail with
// ErrClosed too. Workers that are held are released, within 5 s; the error says
// which could not be (see [Client.HoldWorkers]) and is nil otherwise. Closing
// again tries that again and does nothing else.
//
// The loop of a RunAll may call Close. The functions of a job, an observer or a
// classifier must not: Close waits for them.
func (c *Client) Close() error { return c.in().closeAll() }

func (r *rooms) closeAll() error {
	r.life.close()
	r.calls.abort()
	r.life.settle()
	err := r.holds.releaseAll()
	r.volume.shut()
	r.calls.close()
	return err
}

func (r *rooms) shutdown(ctx context.Context) error {
	const op = "shut down"
	if ctx == nil {
		return refuse(op, "ctx", "it is nil")
	}
	r.life.drain()
	left := r.life.drained(ctx)
	err := r.closeAll()
	if left == 0 {
		return err
	}
	cut := &Error{Op: op, Err: fmt.Errorf("cut off %s: %w", plural(int(left), "operation"), context.Cause(ctx))}
	if err != nil {
		cut.Err = errors.Join(cut.Err, err)
	}
	return cut
}
