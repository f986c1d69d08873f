// Package queue runs jobs on Runpod's queue-based endpoints, with inputs and
// outputs of your own types:
//
//	q, err := queue.New("abc123") // the endpoint's id; the key is in RUNPOD_API_KEY
//	if err != nil {
//		return err
//	}
//	defer q.Close()
//	job, err := queue.Run[Caption](ctx, q, queue.Request{Input: map[string]string{"image": url}})
//	if err != nil {
//		return err
//	}
//	result, err := job.Wait(ctx) // errors.Is(err, queue.ErrFailed), queue.ErrTimedOut, ...
//	fmt.Println(result.Output.Text)
//
// Most callers use [Run] and [Handle.Wait], from as many goroutines as they have
// jobs. [RunSync] is one request for short jobs, [Stream] returns an output part
// by part, [NewBatch] is for thousands of jobs that may take hours, and [Open]
// finds a job again by its id. Load-balancing endpoints have no queue: package
// runpod calls those.
//
// # Errors
//
// Every error is a *runpod.Error. Its JobID names the job, or the batch.
//
//	errors.Is(err, ...)             means
//	------------------------------  --------------------------------------------
//	ErrFailed                       the job failed; a *Failure in the error says
//	                                    what the worker reported
//	ErrCancelled                    somebody cancelled it, or purged the queue
//	ErrTimedOut                     it ran, or waited, for too long
//	ErrExpired                      its result is kept no longer (30 minutes, 1
//	                                    for RunSync), or there was no such job
//	ErrNoOutput                     it completed without an output
//	runpod.ErrUnauthorized, ...     a call was refused; nothing is known about
//	                                    the job
//
// Calls are retried by the table of package runpod, with one exception: a 400
// never means a cold start here. A call that may have queued a job is not sent
// again if its answer is lost; the error then has MayHaveRun. Calls that only
// look at a job are sent again in any case, and [Handle.Wait] lives through
// answers that say nothing of the job.
//
// # Limits
//
// The service takes 10 MiB by [Run], 20 MiB by [RunSync], and 10 MiB in a call
// of a batch. Its rate limits for an endpoint (Runpod docs: 1,000 calls of /run
// in 10 s and 200 at once, for instance) are kept by waiting. If other programs
// use the same endpoint, its 429 and Retry-After are obeyed.
//
// # What is read
//
// Answers are read as they come from workers in many languages: numbers in
// quotes, a byte order mark, and NaN and Infinity, which Python writes and JSON
// has not, and which are null here. A field in an unknown form is a zero value
// and fails no report.
//
// docs/jobs.md holds every call against Runpod's documentation and its SDKs.
package queue
