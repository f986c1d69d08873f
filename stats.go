package runpod

import "time"

// Stats is what a Client has done since it was made, and what it is doing. It
// is a plain value.
type Stats struct {
	// Calls counts the calls that Call, Do, Run and the HTTP clients have
	// begun, CallsFailed those that ended without an answer or with a bad one.
	// Attempts counts the requests sent for them, ColdRefusals the attempts for
	// which the balancer had no worker, Troubles those that were sent again for
	// another reason.
	Calls, CallsFailed, Attempts, ColdRefusals, Troubles int64
	// InFlight requests are at the endpoint now, PeakInFlight is the most there
	// ever were. Waiting requests wait for a place in flight, of which there are
	// Limit now; see [WithMaxInFlight].
	InFlight, PeakInFlight, Waiting, Limit int
	// EndpointConnsOpened counts the connections opened to the endpoint,
	// EndpointConnsPeak is the most that were open at once.
	EndpointConnsOpened, EndpointConnsPeak int
	// Uploads and Downloads count the objects moved whole, BytesUp and BytesDown
	// are their sizes in bytes. S3Attempts counts all requests to the S3 gateway,
	// deletions and listings included.
	Uploads, Downloads, BytesUp, BytesDown, S3Attempts int64
	// S3ConnsOpened counts the connections opened to the S3 gateway, S3ConnsPeak
	// is the most that were open at once.
	S3ConnsOpened, S3ConnsPeak int
	// HeldWorkers is what this Client's holds add to the endpoint's minimum of
	// workers now. HeldWorkerSeconds is what they have come to so far: it is paid
	// for, whether calls used the workers or not.
	HeldWorkers       int
	HeldWorkerSeconds float64
	// WakePings counts the light requests sent to start workers and to keep
	// them. WarmWorkerSeconds is how long workers stood idle because of them, to
	// within a few seconds for each worker.
	WakePings         int64
	WarmWorkerSeconds float64
	// CapReached is true once these two have reached the cap of
	// [WithMaxWorkerSeconds]: no workers are held or kept warm any more.
	CapReached bool
	// S3InUse places of the S3 pool are in use, S3Waiting requests wait for one, of
	// which there are S3Limit now: at most [WithS3Conns], fewer while the gateway
	// refuses.
	S3InUse, S3Waiting, S3Limit int
	// TransfersFailed counts the uploads, downloads, deletions and pages of
	// listings that ended in an error.
	TransfersFailed int64
	// WaitedPlace, WaitedBackoff and WaitedS3 are how long all calls have waited for
	// places in flight and between attempts, and all transfers for places of the
	// S3 pool. WaitedCold is how long attempts that met no worker took, with the
	// backoffs after them.
	WaitedPlace, WaitedCold, WaitedBackoff, WaitedS3 time.Duration
	// RetryTokens are left in the budget for retries after trouble, see
	// [RetryPolicy.BudgetSize]. Below 0, retries wait for them.
	RetryTokens float64
	// LastAnswer is when a worker last answered any call; zero if none has.
	LastAnswer time.Time
}

// gather reads every counter. They are read one after the other, so that a
// call may end between two of them.
func gather(calls *caller, v *volume, h *holdCost) Stats {
	ep := calls.ep
	s := Stats{
		Calls:        ep.counts.calls.Load(),
		CallsFailed:  ep.counts.failed.Load(),
		Attempts:     ep.counts.attempts.Load(),
		ColdRefusals: ep.counts.cold.Load(),
		Troubles:     ep.counts.trouble.Load(),

		Uploads:    v.uploads.done.objects.Load(),
		Downloads:  v.down.objects.Load(),
		BytesUp:    v.uploads.done.bytes.Load(),
		BytesDown:  v.down.bytes.Load(),
		S3Attempts: v.gw.attempts.Load(),

		TransfersFailed: v.gw.failed.Load(),
		WaitedPlace:     time.Duration(ep.counts.waitedPlace.Load()),
		WaitedCold:      time.Duration(ep.counts.waitedCold.Load()),
		WaitedBackoff:   time.Duration(ep.counts.waitedBackoff.Load()),
		WaitedS3:        time.Duration(v.gw.waited.Load()),
		RetryTokens:     ep.budgets.left(time.Now()),

		LastAnswer: ep.answeredAt(),
	}
	s.HeldWorkers, s.HeldWorkerSeconds = h.totals()
	s.WakePings, s.WarmWorkerSeconds = calls.wake.totals()
	s.CapReached = h.spending.capped()
	s.InFlight, s.PeakInFlight, s.Waiting = ep.admission.gate.Counts()
	s.Limit = ep.admission.gate.Limit()
	s.S3InUse, _, s.S3Waiting = v.gw.pool.Counts()
	s.S3Limit = v.gw.pool.Limit()
	s.EndpointConnsOpened, s.EndpointConnsPeak = ep.conns.counts()
	s.S3ConnsOpened, s.S3ConnsPeak = v.gw.conns.counts()
	return s
}
