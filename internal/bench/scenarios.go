package bench

import (
	"time"

	"github.com/gpuburst/runpod-go/runpodtest"
)

// spread is a duration drawn evenly between two bounds.
type spread struct{ lo, hi time.Duration }

// scenario is an endpoint and what its caller wants of it. Zero fields mean: no
// such trouble.
type scenario struct {
	name string // short, for tables and the command line
	what string // a sentence for people

	jobs, atOnce int           // calls to be made, and how many the caller allows at once
	every        time.Duration // a new call so often; zero: as soon as one of atOnce is free

	workers, scaler int // maximum workers and scaler value
	cold, service   spread
	unfairness      float64 // see runpodtest.Config
	cancelStarting  bool    // workers still starting are dropped when demand falls
	maxWaiting      int     // the balancer refuses at once when more wait
	noWorkerID      bool    // the balancer names no worker, ever
	strangeRefusal  bool    // its 400 has a body that nobody knows

	malformed  float64       // share of calls that a worker answers with its own 400
	crash      float64       // share of executions that kill their worker half way
	badGateway float64       // share of attempts answered 502
	outage     time.Duration // when ten minutes begin in which nothing works
	unmarked   bool          // calls are not marked idempotent

	horizon time.Duration // when the caller's patience ends, for every client
	huge    bool          // left out by -short
}

// outageLength is how long an outage lasts.
const outageLength = 10 * time.Minute

// The figures of the endpoints: cold starts of 40 to 90 s are typical for a
// diffusion model on a network volume, and 10 to 15 s were measured for a warm
// request (reported by users). Maximum workers 3, scaler value 4 and idle timeout
// 5 s are Runpod's defaults.
var (
	usualCold    = spread{40 * time.Second, 90 * time.Second}
	usualService = spread{10 * time.Second, 15 * time.Second}
)

// burst is the stress tests' load, 30 calls of which 15 at once, on a usual
// endpoint.
func burst(name, what string, change func(*scenario)) scenario {
	s := scenario{
		name: name, what: what, jobs: 30, atOnce: 15, workers: 3, scaler: 4,
		cold: usualCold, service: usualService, horizon: time.Hour,
	}
	if change != nil {
		change(&s)
	}
	return s
}

// fixed is a spread of one value.
func fixed(d time.Duration) spread { return spread{d, d} }

// scenarios is every scenario of the comparison, in the order of the table.
func scenarios() []scenario {
	return []scenario{
		// The settings are those of runpodtest.StressRun2 and StressRun3; the
		// presets themselves tie a service time to a request, where here it must
		// be tied to the job for all clients to do the same work.
		burst("stress-2", "the second stress test: 4 workers, cold starts of 15-50 s, 25-35 s of work, an unfair line", func(s *scenario) {
			s.workers, s.unfairness = 4, 0.3
			s.cold, s.service = spread{15 * time.Second, 50 * time.Second}, spread{25 * time.Second, 35 * time.Second}
		}),
		burst("stress-3", "the third stress test: 3 workers, cold starts of 30-65 s, 10-14 s of work, an unfair line", func(s *scenario) {
			s.unfairness = 0.3
			s.cold, s.service = spread{30 * time.Second, 65 * time.Second}, spread{10 * time.Second, 14 * time.Second}
		}),
		burst("w2v1", "2 workers, scaler value 1", func(s *scenario) { s.workers, s.scaler = 2, 1 }),
		burst("w2v4", "2 workers, scaler value 4", func(s *scenario) { s.workers = 2 }),
		burst("w3v1", "3 workers, scaler value 1", func(s *scenario) { s.scaler = 1 }),
		burst("w3v4", "3 workers, scaler value 4", nil),
		burst("w5v1", "5 workers, scaler value 1", func(s *scenario) { s.workers, s.scaler = 5, 1 }),
		burst("w5v4", "5 workers, scaler value 4", func(s *scenario) { s.workers = 5 }),
		burst("w2v1-slow", "2 workers, scaler value 1, cold starts of 30-150 s", func(s *scenario) {
			s.workers, s.scaler, s.cold = 2, 1, spread{30 * time.Second, 150 * time.Second}
		}),
		burst("w2v4-slow", "2 workers, scaler value 4, cold starts of 30-150 s", func(s *scenario) {
			s.workers, s.cold = 2, spread{30 * time.Second, 150 * time.Second}
		}),
		burst("refuse-6", "a balancer that refuses at once when more than 6 wait", func(s *scenario) { s.maxWaiting = 6 }),
		burst("300@150", "300 calls, 150 at once, 10 workers", func(s *scenario) {
			s.jobs, s.atOnce, s.workers = 300, 150, 10
		}),
		burst("3000@1500", "3,000 calls, 1,500 at once, 60 workers", func(s *scenario) {
			s.jobs, s.atOnce, s.workers, s.huge = 3000, 1500, 60, true
		}),
		burst("cold-20s", "cold starts of 20 s", func(s *scenario) { s.cold = fixed(20 * time.Second) }),
		burst("cold-75s", "cold starts of 75 s", func(s *scenario) { s.cold = fixed(75 * time.Second) }),
		burst("cold-5min", "cold starts of 5 min", func(s *scenario) { s.cold = fixed(5 * time.Minute) }),
		burst("malformed", "5 % of the calls are malformed, cold starts of 75 s", func(s *scenario) {
			s.malformed, s.cold, s.horizon = 0.05, fixed(75*time.Second), 15*time.Minute
		}),
		burst("crash", "one execution in twenty kills its worker", func(s *scenario) { s.crash = 0.05 }),
		burst("crash-unmarked", "the same, calls not marked idempotent", func(s *scenario) { s.crash, s.unmarked = 0.05, true }),
		burst("502", "one answer in twenty is a 502, half of them after the work was done", func(s *scenario) { s.badGateway = 0.05 }),
		burst("no-id", "the same, and no answer names its worker", func(s *scenario) {
			s.noWorkerID, s.malformed, s.cold, s.horizon = true, 0.05, fixed(75*time.Second), 15*time.Minute
		}),
		burst("no-id-strange", "the same, and the refusal's body is one nobody knows: only its 2 minutes tell it", func(s *scenario) {
			s.noWorkerID, s.strangeRefusal, s.malformed, s.cold, s.horizon = true, true, 0.05, fixed(75*time.Second), 15*time.Minute
		}),
		burst("outage", "nothing works from 2 to 12 min", func(s *scenario) { s.outage = 2 * time.Minute }),
		burst("no-workers", "maximum workers is 0", func(s *scenario) { s.workers = runpodtest.NoWorkers }),
		burst("trickle", "a call every 10 s on an endpoint that has idled down", func(s *scenario) { s.every = 10 * time.Second }),
	}
}

// probes are further endpoints, on which an admission that has learned the wrong
// thing would do harm. They are run on demand.
func probes() []scenario {
	slow := spread{30 * time.Second, 150 * time.Second}
	big := func(s *scenario) { s.jobs, s.atOnce, s.workers, s.cold = 300, 150, 10, slow }
	return []scenario{
		burst("slow-v10", "300 calls, 150 at once, 10 workers, scaler value 10, cold starts of 30-150 s", func(s *scenario) { big(s); s.scaler = 10 }),
		burst("slow-v10-cancel", "the same, workers still starting are dropped when demand falls", func(s *scenario) { big(s); s.scaler, s.cancelStarting = 10, true }),
		burst("slow-v4-cancel", "300 at 150, 10 workers, scaler value 4, the same", func(s *scenario) { big(s); s.cancelStarting = true }),
		burst("long", "300 calls, 150 at once, 10 workers, scaler value 4, 60-100 s of work", func(s *scenario) {
			big(s)
			s.service, s.horizon = spread{60 * time.Second, 100 * time.Second}, 3*time.Hour
		}),
		burst("outage-300", "300 calls, 150 at once, 10 workers, an outage from 2 to 12 min", func(s *scenario) { s.jobs, s.atOnce, s.workers, s.outage = 300, 150, 10, 2*time.Minute }),
		burst("refuse-30", "300 calls, 150 at once, 10 workers, refused at once above 30 waiting", func(s *scenario) { s.jobs, s.atOnce, s.workers, s.maxWaiting = 300, 150, 10, 30 }),
		burst("crash-300", "300 calls, 150 at once, 10 workers, one execution in twenty kills its worker", func(s *scenario) { s.jobs, s.atOnce, s.workers, s.crash = 300, 150, 10, 0.05 }),
		burst("5min-300", "300 calls, 150 at once, 10 workers, cold starts of 1-5 min", func(s *scenario) {
			s.jobs, s.atOnce, s.workers, s.cold = 300, 150, 10, spread{time.Minute, 5 * time.Minute}
		}),
	}
}

// serves reports whether the endpoint ever has a worker.
func (s *scenario) serves() bool { return s.workers > 0 }
