// Package runpod calls Runpod load-balancing endpoints whose GPU workers scale
// from zero, and moves inputs and results through the endpoint's network
// volume. It is made for bursts: many jobs at once on an endpoint that is cold.
//
// # The way of a job
//
//	Input -> upload -> request -> place in flight -> attempt <-> retry -> response -> download -> Result
//
// [Client.Run] goes that way for one job and [Client.RunAll] for many;
// [Client.Upload], [Client.Call], [Client.Do] and [Client.Download] are its
// stages. All goroutines that use a Client share one S3 connection pool with a
// hard bound and one limit of requests in flight. Who waits for a place in
// either is served first come, first served, and leaves when its context ends.
//
// # Retries
//
// A cold endpoint answers a request that has waited 2 minutes for a worker with
// a bare 400 (Runpod docs; measured at 120 to 121 s). It must be sent again,
// while a worker's own 400 must not. The two are told apart by the header
// X-Runpod-Worker-Id, which workers' answers carry, by the body, and where both
// are silent by how long the answer took.
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
//	401, 403                                   give up: ErrUnauthorized
//	pinned worker gone or busy, with           drop the pin and retry
//	    AnyWorker
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
//	connection failed before the request       retry; a wrong certificate gives up,
//	    was written                            an unknown host name after 2 retries
//	connection lost after it was written, or   retry if idempotent
//	    no answer within the attempt's limit
//
// Where a request that is not idempotent is not retried, the error says that it
// may have run ([Error.MayHaveRun]).
//
// The delay before a retry is exponential with full jitter and counts from when
// the attempt was sent: a refusal that took 2 minutes has used its delay up and
// goes back at once, one that took a second waits its turn. A Retry-After is
// obeyed up to a cap. There is no number of attempts after which a call fails,
// but a time: see [RetryPolicy.GiveUp]. The caller's context ends everything at
// once.
//
// Retries on trouble (all but the balancer's refusals) are paid for from a
// budget that the Client's calls share: see [RetryPolicy.BudgetSize]. An empty
// budget delays them and fails none. Refusals have an account of their own,
// and those that have waited their 2 minutes pay nothing. A [Classifier] can
// be put before the table, an [Observer] and the log see every verdict with its
// reason.
//
// # Admission
//
// The service's autoscaler starts workers by what it sees in flight, so holding
// requests back on a cold endpoint starves it, and sending more than workers
// can serve within 2 minutes has requests wait in vain. See
// [AdmissionAdaptive] for how a Client chooses between the two.
//
// # Warm before the burst
//
// A burst begins with uploads, and the endpoint may start its workers meanwhile:
// [WithWarmup] has [Client.Run] and [Client.RunAll] wake them as the first upload
// begins, [Client.Warm] does so whenever it is called, [WithKeepWarm] keeps them
// from one burst to the next. All three send light requests (GET /ping), which
// costs the time that workers stand idle; see Stats.WarmWorkerSeconds.
//
// [Client.HoldWorkers] raises the endpoint's minimum of workers by the control
// plane (package control, [WithControl]) and lowers it when the [Hold] is
// released or the Client closed. A process that is killed cannot do that: the
// minimum stays raised, and paid for, until the next client to hold, or the
// command runpod-workers release, finds the record of the hold. It lies on the
// network volume under .runpod-go/holds, or without S3 settings in
// [os.UserCacheDir].
//
// # Uploads and downloads
//
// Objects above 64 MiB go in parts ([WithPartSize]), of which each is sent, and
// sent again, by itself. All parts and objects of all goroutines draw on the
// one pool, fairly: a free connection goes to the caller who holds the fewest.
// While the gateway refuses (403, 503, lost connections) the pool narrows, and
// it widens again while things go well. Files are read where they are; what
// can only be read once goes through buffers of bounded size
// ([WithBufferMemory]).
//
// No body travels unprotected. Each carries a checksum of its own, taken
// before anything is sent (its CRC32C where the store confirms that, Content-MD5
// elsewhere: [WithChecksum]), by which the store refuses what arrived damaged or
// cut short; the answer's CRC32C is compared, or its ETag where that is an MD5,
// and so is the ETag of an object made of parts. Over https,
// TLS protects the bytes on the way besides; over http the checksum alone does.
// The signature covers the headers, the checksum among them, not the body.
//
// The end of an upload in parts may succeed although the answer says otherwise
// (Runpod docs). Then the object is looked at, its size, its ETag and an id of
// its own in its metadata, before anything is done again or counts as failed.
//
// An upload that fails or is cancelled has the gateway forget its parts, unless
// it can be gone on with ([WithResumeDir]). Where the answer to its very
// beginning is lost, an unfinished upload without a byte in it stays behind:
// nothing tells it from somebody else's.
//
// Downloads are held against the object's length and go on by Range after a
// break. The S3 gateway's errors are retried too: its 5xx and lost connections
// up to 10 attempts in a row (Runpod docs), its 403s, which good keys get under
// concurrency, up to 4, or 10 while the key is good for other requests.
//
// # Limits
//
// The service takes 30 MB a request and an answer, 2 minutes of waiting for a
// worker and 5.5 minutes of processing (Runpod docs). An object may have up to
// 4 TB. Sizes are in bytes, times are [time.Duration].
package runpod
