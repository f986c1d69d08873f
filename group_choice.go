package runpod

import (
	"slices"
	"time"
)

// memberView is what the choice of an endpoint depends on.
type memberView struct {
	aside    bool    // nothing will help there for now
	warm     bool    // a worker is believed to be there
	refused  bool    // lately the balancer had no worker, or two attempts in a row met trouble
	doubtful bool    // it was refused at some time, and nothing has answered since
	workers  int     // that answered lately, or that the control plane lists
	grown    bool    // it has had no further worker for as long as the balancer lets a request wait
	busy     int     // of the group's jobs and calls that are there, waiting ones included
	limit    int     // requests in flight that it allows
	weight   float64 // of [Weights]; 0: none were given
}

// share is how much each worker would have to do with one more.
func (v *memberView) share() float64 {
	return float64(v.busy+1) / float64(max(1, v.workers))
}

func (v *memberView) hasRoom() bool { return v.busy < v.limit }

// mayTry reports whether a job may find out if workers start there: one job at a
// time if the last one was refused.
func (v *memberView) mayTry() bool { return !v.refused && (!v.doubtful || v.busy == 0) }

// choose returns which member gets the next job or call; -1 if there is none but
// except. The earlier one is preferred:
//
//	with weights                    the one with the least under way for its weight,
//	                                of those that do not refuse
//	some are warm                   the first with a worker to spare; otherwise the
//	                                one with the least to do for each worker; if all
//	                                of those are full and get no further worker,
//	                                the first that is cold and has not refused
//	none is warm                    the first that has not refused: what starts
//	                                workers is not torn apart
//	one refused a while ago         one job at a time, in place of a cold one, to
//	                                find out
//	all refuse                      the one with the least under way
//	all are set aside               the first
func choose(views []memberView, except int) int {
	best := -1
	better := func(i int, than func(a, b *memberView) bool, eligible func(*memberView) bool) {
		v := &views[i]
		if i == except || v.aside || !eligible(v) {
			return
		}
		if best < 0 || than(v, &views[best]) {
			best = i
		}
	}
	for _, r := range choiceRules(views) {
		for i := range views {
			better(i, r.better, r.eligible)
		}
		if best >= 0 {
			return best
		}
	}
	for i := range views {
		if i != except {
			return i
		}
	}
	return -1
}

// choiceRule is one row of choose's table.
type choiceRule struct {
	eligible func(*memberView) bool
	better   func(a, b *memberView) bool
}

func choiceRules(views []memberView) []choiceRule {
	first := func(a, b *memberView) bool { return false }
	rules := []choiceRule{
		{func(v *memberView) bool { return v.warm && !v.refused && v.busy < v.workers }, first},
		{func(v *memberView) bool { return v.warm && !v.refused && (v.hasRoom() || !v.grown) }, func(a, b *memberView) bool { return a.share() < b.share() }},
		{func(v *memberView) bool { return !v.warm && v.mayTry() }, first},
		{func(v *memberView) bool { return v.warm && !v.refused }, func(a, b *memberView) bool { return a.share() < b.share() }},
		{func(*memberView) bool { return true }, func(a, b *memberView) bool { return a.busy < b.busy }},
	}
	if views[0].weight > 0 {
		weighted := func(v *memberView) float64 { return float64(v.busy+1) / v.weight }
		rule := choiceRule{func(v *memberView) bool { return v.mayTry() && v.hasRoom() },
			func(a, b *memberView) bool { return weighted(a) < weighted(b) }}
		rules = append([]choiceRule{rule}, rules[len(rules)-1])
	}
	return rules
}

// shouldMove returns where a request goes that was refused at a member, or that
// has waited for its place there and is about to be sent; -1 if it stays:
//
//	the member refuses, or is set aside   where choose says, if that one has never
//	                                      refused since its last answer, and has a
//	                                      worker, or room; one that is not yet sent
//	                                      waits there for room rather than here
//	it is well, but busy                  where a worker is idle
//	it has no room for one it refused     where choose says, given all of them
func shouldMove(views []memberView, at int, unsent bool) int {
	here := &views[at]
	if here.refused || here.aside {
		to := choose(views, at)
		if to < 0 || !views[to].welcomes() || !views[to].hasRoom() && !views[to].warm && !unsent {
			return -1
		}
		return to
	}
	if here.busy <= here.workers {
		return -1
	}
	if to := idleMember(views, at); to >= 0 || unsent {
		return to
	}
	others := slices.Clone(views)
	others[at].busy-- // the request itself
	if to := choose(others, -1); to != at && views[to].welcomes() {
		return to
	}
	return -1
}

// welcomes reports whether a request may move there.
func (v *memberView) welcomes() bool { return !v.aside && !v.refused && !v.doubtful }

// idleMember returns the first member but except that has a worker to spare; -1 if
// none has.
func idleMember(views []memberView, except int) int {
	for i := range views {
		if v := &views[i]; i != except && !v.aside && !v.refused && v.warm && v.busy < v.workers {
			return i
		}
	}
	return -1
}

// asideFor is how long a member is left alone that failed so often in a row for
// good.
func asideFor(times int) time.Duration {
	const most = 15 * time.Minute
	if times > 5 {
		return most
	}
	return min(most, time.Minute<<(times-1))
}

// refusedFor is how long a member that refused so often in a row gets nothing
// while another does not refuse; then one job at a time tries it.
func refusedFor(times int, wait time.Duration) time.Duration {
	const most = 15 * time.Minute
	if times > 5 {
		return most
	}
	return min(most, 2*wait<<(times-1))
}
