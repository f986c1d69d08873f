// Package runpod calls Runpod load-balancing endpoints whose GPU workers scale
// from zero, and moves inputs and results through the endpoint's network volume.
//
//	client, err := runpod.New() // settings from the RUNPOD_ variables
//	if err != nil {
//		return err
//	}
//	defer client.Close()
//	var answer struct{ Caption string }
//	_, err = client.Call(ctx, "POST", "/caption", request, &answer)
//	if err != nil {
//		return err // errors.Is(err, runpod.ErrNoWorkers): no worker answered for 15 minutes
//	}
//
// # Retries
//
// Call returns the answer although the endpoint was cold. A request that has
// waited 2 minutes for a worker is refused with a bare 400 (Runpod docs;
// measured at 120 to 121 s). It must be sent again, and a worker's own 400 must
// not. Three signs tell them apart: the header X-Runpod-Worker-Id, which only
// workers' answers carry; the body; and, if both are silent, how long the answer
// took.
//
//	answer                                     then
//	-----------------------------------------  ------------------------------------
//	1xx, 2xx, 3xx                              deliver
//	400 in one of the balancer's known bodies  retry
//	400 that names a worker                    give up: ErrBadRequest
//	400 unknown, after the balancer's 2 min    retry
//	400 unknown, sooner, where workers name    retry, at most twice
//	    themselves
//	400 unknown, sooner, otherwise             give up: ErrBadRequest
//	"not allowed for QB API"                   give up: ErrBadRequest
//	401, 403                                   give up: ErrUnauthorized, or
//	                                               ErrBadRequest from a worker or as
//	                                               a block page
//	pinned worker gone, busy or unreachable,   drop the pin and retry
//	    with AnyWorker
//	404                                        give up: ErrNotFound, or
//	                                               ErrWorkerGone for a pinned one
//	413                                        give up: ErrTooLarge
//	408, 425, 429, 503                         retry, not before Retry-After
//	other 4xx (422 ...)                        give up: ErrBadRequest
//	502, 521-523, 525, 526, 530 without a      retry
//	    worker's name
//	the same with one, 504, 520, 524, other    retry if idempotent
//	    5xx
//	500                                        retry if idempotent, at most twice
//	501, 505; 507                              give up: ErrBadRequest; ErrVolumeFull
//	connection failed before the request       retry; gives up if no retry helps
//	    was written                            (proxy, TLS, address), or after 2
//	                                               retries of an unknown host name
//	connection lost after it was written, or   retry if idempotent
//	    no answer within the attempt's limit
//
// If a request is not idempotent and therefore not retried, the error says that
// it may have run ([Error.MayHaveRun]).
//
// The delay before a retry is exponential with full jitter. It counts from when
// the attempt was sent: a refusal that took 2 minutes goes back at once, one that
// took a second waits. A Retry-After is obeyed, up to a cap. A call is limited by
// time, not by a number of attempts: see [RetryPolicy.GiveUp]. It ends at once
// when the caller's context does.
//
// The calls of a Client share a budget for retries after trouble, that is, after
// anything but the balancer's refusals: see [RetryPolicy.BudgetSize]. An empty
// budget delays a retry and never fails a call. Refusals have a budget of their
// own, from which those that waited their 2 minutes take nothing.
//
// A [Classifier] decides before the table does. An [Observer] and the log see
// every verdict with its reason.
//
// # Causes
//
// [Attempt.Cause] names what an attempt met by a code that does not change, so
// that attempts can be counted by it:
//
//	answered                an answer that is delivered
//	cold_wait               refused after the balancer's 2 minutes: no worker
//	cold_refused            refused sooner: no worker
//	unnamed_refusal         a 400 of which nobody says who wrote it
//	bad_request             a worker's own 400, 401 or 403, or another 4xx
//	queue_endpoint          the endpoint is queue-based
//	unauthorized            401, 403
//	blocked                 403 with a block page of the network's edge
//	worker_busy             the pinned worker is busy
//	worker_gone             the pinned worker is gone
//	not_found               404
//	too_large               413
//	rate_limited            429
//	asked_again             408, 425
//	unavailable             503 without a worker's name
//	worker_loading          503 with one
//	worker_unreachable      502 and its kin without a worker's name
//	worker_connection_lost  the same with one
//	processing_timeout      524
//	worker_failed           500
//	server_failed           504, 520 and other 5xx
//	not_supported           501, 505
//	volume_full             507
//	connect_failed          the connection failed before the request was written
//	connect_impossible      the same, and no retry mends it
//	host_not_found          the host name is not known
//	connection_lost         the connection broke after the request was written
//	attempt_timeout         no answer within the attempt's limit
//	classifier              a [Classifier] has decided
//	cancelled               the context ended, or the Client was closed
//
// Attempts against the S3 gateway have these too, and:
//
//	input_changed, input_unreadable     the input was not what it was, or broke
//	body_damaged, body_cut              the gateway got something else, or less
//	body_broke_off                      a download that goes on where it stopped
//	stalled                             no byte moved for too long, or too few
//	no_result, answer_too_long          a 2xx that is not what was asked for
//	object_changed                      it was replaced while it was read
//	clock_skew, token_expired           the signature's time, or its token
//	redirected                          the volume is at another address
//	expect_refused, proxy_refused       somebody between here and the gateway
//
// # The way of a job
//
//	Input -> upload -> request -> place in flight -> attempt <-> retry -> response -> download -> Result
//
// [Client.Run] does all of it for one job and [Client.RunAll] for many; most
// bursts should use RunAll. [Client.Upload], [Client.Call], [Client.Do] and
// [Client.Download] are the stages. All goroutines that use a Client share one
// bounded pool of S3 connections and one limit of requests in flight. Those who
// wait for either are served in the order in which they came, and a wait ends
// with its context.
//
// Package queue runs jobs on queue-based endpoints, which have an API of their
// own.
//
// # Admission
//
// The service's autoscaler starts workers for the requests it sees in flight.
// Too few in flight on a cold endpoint start too few workers; more than the
// workers can serve within 2 minutes wait in vain. See [AdmissionAdaptive] for
// how a Client chooses between the two.
//
// # Warm before the burst
//
// A burst begins with uploads, and workers can start in the meantime.
// [WithWarmup] makes [Client.Run] and [Client.RunAll] start them with the first
// upload, [Client.Warm] starts them when it is called, and [WithKeepWarm] keeps
// them from one burst to the next. All three send light requests (GET /ping).
// The cost is the time that workers stand idle: see Stats.WarmWorkerSeconds.
//
// [Client.HoldWorkers] raises the endpoint's minimum of workers through the
// control plane (package control, [WithControl]). Releasing the [Hold], or
// closing the Client, lowers it again. A killed process does neither: the minimum
// stays raised, and is paid for, until the next client that holds, or the command
// runpod-workers release, finds the record of the hold. Records are on the
// network volume under .runpod-go/holds, or without S3 settings in
// [os.UserCacheDir].
//
// # Uploads and downloads
//
// Objects above 64 MiB are uploaded in parts ([WithPartSize]), each of which is
// retried alone; a free connection goes to the caller that has the fewest. Files
// are read in place, and an input that can be read only once goes through buffers
// of bounded size ([WithBufferMemory]). Every body carries a checksum that the
// store verifies ([WithChecksum]). A download is checked against the object's
// length and continues by Range after a break.
//
// The gateway's errors are retried: a 5xx or a lost connection up to 10 times in
// a row (Runpod docs); a 403, which good keys get under concurrency, up to 4
// times, or 10 while the key works for other requests. Meanwhile the pool narrows.
// An upload in parts may have succeeded although its last answer is an error
// (Runpod docs), so the object is looked at before it counts as failed.
//
// A failed upload has its parts deleted, unless it can be continued
// ([WithResumeDir]). If the answer to its very first request is lost, an empty
// unfinished upload stays behind: nothing tells it from somebody else's.
//
// # Limits
//
// The service takes 30 MB in a request or an answer, lets a request wait for 2
// minutes, and lets it run for 5.5 minutes (Runpod docs). An object may have up
// to 4 TB. Sizes are in bytes, times are [time.Duration].
package runpod
