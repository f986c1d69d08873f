package report

import (
	"fmt"
)

// Advice is something to change, with the figure it rests on.
type Advice struct {
	Do, Figure string
}

// advice is what a run's records say should be changed, the weightiest first.
func (r *run) advice() (all []Advice) {
	for _, rule := range []func(*run) (Advice, bool){
		(*run).adviseUploads, (*run).adviseRetry, (*run).adviseRequests,
		(*run).adviseWarm, (*run).adviseMore, (*run).adviseIdle, (*run).advisePool,
	} {
		if a, ok := rule(r); ok {
			all = append(all, a)
		}
	}
	return all
}

func (r *run) adviseUploads() (Advice, bool) {
	gap, ok := oneByOne(r.log)
	f := &r.Figures
	return Advice{"Let uploads run side by side, through one pool that is shared and fair.",
		fmt.Sprintf("One job's uploads ended every %v; at the endpoint there were at most %d requests at once, of %d that were wanted.",
			gap, f.PeakInFlight, r.log.Run.Concurrency)}, ok
}

func (r *run) adviseRetry() (Advice, bool) {
	lost := lostToRefusals(r.log)
	var waited seconds
	for _, i := range lost {
		last := r.log.Jobs[i].Attempts[len(r.log.Jobs[i].Attempts)-1]
		waited += last.End - last.Start
	}
	return Advice{"Send refused requests again: a 400 that names no worker, after 2 minutes, says that no worker was free, not that the request is wrong.",
		fmt.Sprintf("%s ended with such a refusal, after %v of waiting on the average; %d of %d others were served.",
			capital(jobs(len(lost))), waited/seconds(max(1, len(lost))), r.Figures.Succeeded, len(r.log.Jobs)-len(lost))}, len(lost) > 0
}

func (r *run) adviseRequests() (Advice, bool) {
	n := 0
	for i := range r.log.Jobs {
		j := &r.log.Jobs[i]
		if k := len(j.Attempts); k > 0 && !j.OK && !j.Interrupted {
			if a := j.Attempts[k-1]; a.Status >= 400 && a.Status < 500 && a.Worker != "" {
				n++
			}
		}
	}
	return Advice{"Correct the requests that workers refused; sending them again does not help.",
		fmt.Sprintf("%s got a 4xx that names a worker; the words of each are in the table.", capital(jobs(n)))}, n > 0
}

// adviseWarm says what minimum workers would have saved.
func (r *run) adviseWarm() (Advice, bool) {
	replay, ok := newReplay(r.log)
	if !ok || r.log.Run.MinWorkers >= len(replay.ready) {
		return Advice{}, false
	}
	n := max(2, r.log.Run.MinWorkers+1)
	end, mean := replay.run(replay.ready)
	warmEnd, warmMean := replay.run(replay.warm(n))
	return Advice{fmt.Sprintf("For bursts, keep %d minimum workers: that would have saved a job %v on the average.", n, mean-warmMean),
		fmt.Sprintf("This run's working times, replayed: a job took %v and the whole burst %v with its workers, %v and %v with %d of them ready at the start. They cost their idle time between bursts.",
			mean, end, warmMean, warmEnd, n)}, mean-warmMean > mean/50 && mean-warmMean > 1
}

// adviseMore says what more workers would have saved.
func (r *run) adviseMore() (Advice, bool) {
	replay, ok := newReplay(r.log)
	if _, uploads := oneByOne(r.log); !ok || uploads { // then the endpoint was never asked for more
		return Advice{}, false
	}
	const extra = 2
	as, _ := replay.run(replay.ready)
	more, _ := replay.run(replay.more(extra))
	queue := peak(queueSpans(r.log))
	return Advice{fmt.Sprintf("Raise the maximum workers by %d: the burst would have ended about %v earlier.", extra, as-more),
			fmt.Sprintf("Up to %d requests waited in the balancer at once, with %s at the most. Replayed: %v instead of %v, for the same working time and %d cold starts more.",
				queue, plural(r.Figures.PeakWorkers, "worker"), more, as, extra)},
		as-more > as/10 && queue > r.Figures.PeakWorkers
}

func (r *run) adviseIdle() (Advice, bool) {
	f := &r.Figures
	share := float64(f.Idle) / float64(max(1, f.WorkerSeconds))
	return Advice{"Shorten the idle timeout, or send bursts closer together: workers were paid for waiting.",
		fmt.Sprintf("%v of %v worker-seconds (%.0f %%) were idle.", f.Idle, f.WorkerSeconds, 100*share)}, share > 0.2
}

func (r *run) advisePool() (Advice, bool) {
	f := &r.Figures
	return Advice{"Bound the S3 connections: opening one costs a TLS handshake, and the gateway refuses some of many at once.",
		fmt.Sprintf("%d connections were opened, %d at once; a pool of 8 opens 8.", f.S3Opened, f.S3Peak)}, f.S3Opened > 16
}
