package fit

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/gpuburst/runpod-go/internal/burst/model"
)

// unfairness is the one of many for which simulated bursts look most like the
// records: in the share of requests that were served before an older one, and
// in the share that was refused.
func (f *Fit) unfairness(s *sample) {
	var seen look
	for _, r := range s.runs {
		seen = seen.plus(lookOf(r.attempts, r.instant))
	}
	switch {
	case seen.waited == 0:
		f.doubt("unfairness", "0", "no request waited while others did: first come, first served is assumed")
		return
	case seen.overtook == 0:
		f.know("unfairness", "0", "%d requests waited and none was overtaken", seen.waited)
		return
	}
	best, least := 0.0, math.Inf(1)
	for i := range 26 {
		u := float64(i) / 25
		if off := f.simulate(s, u).off(seen); off < least {
			best, least = u, off
		}
	}
	f.Config.Unfairness, f.file["unfairness"] = best, best
	f.know("unfairness", strconv.FormatFloat(best, 'g', 2, 64), "%d of %d requests were served before an older one", seen.overtook, seen.waited)
}

// unfairSeeds is how many bursts are simulated for each value.
const unfairSeeds = 6

// simulate computes the runs with an unfairness and adds up how they look.
func (f *Fit) simulate(s *sample, u float64) (sum look) {
	c := f.Config
	c.Unfairness = u
	for seed := range uint64(unfairSeeds) {
		c.Seed = seed
		d, err := c.Draws()
		if err != nil {
			panic(err) // what was fitted makes sense
		}
		for _, r := range s.runs {
			o := model.Record(d, model.Client{Requests: len(r.attempts), InFlight: r.inFlight})
			sum = sum.plus(lookOf(fromModel(o.Attempts), r.instant))
		}
	}
	return sum
}

func fromModel(all []model.Attempt) []attempt {
	out := make([]attempt, len(all))
	last := map[int]float64{}
	for i, a := range all {
		one := attempt{start: a.Start.Seconds(), end: a.End.Seconds()}
		if a.Worker > 0 {
			one.worker = strconv.Itoa(a.Worker)
			if before, known := last[a.Worker]; known {
				one.taken = max(one.start, before)
			} else {
				one.taken = one.start
			}
			last[a.Worker] = one.end
		}
		out[i] = one
	}
	return out
}

// look is what unfairness shows in.
type look struct{ attempts, waited, overtook, refused int }

func (l look) plus(m look) look {
	return look{l.attempts + m.attempts, l.waited + m.waited, l.overtook + m.overtook, l.refused + m.refused}
}

// off is how different two bursts look.
func (l look) off(m look) float64 {
	share := func(part, of int) float64 { return float64(part) / float64(max(1, of)) }
	return math.Abs(share(l.overtook, l.waited)-share(m.overtook, m.waited)) +
		math.Abs(share(l.refused, l.attempts)-share(m.refused, m.attempts))
}

// lookOf counts who was served before an older request that waited. Requests
// that are not further apart than an instant may have come in any order.
func lookOf(attempts []attempt, instant float64) (l look) {
	byTaken := slices.Clone(attempts)
	for i, a := range byTaken {
		if a.worker == "" {
			byTaken[i].taken = a.end // it left the line
		}
	}
	slices.SortStableFunc(byTaken, func(a, b attempt) int { return cmp.Compare(a.taken, b.taken) })
	l.attempts = len(byTaken)
	// From the end: the oldest that left the line later.
	oldest := math.Inf(1)
	for i := len(byTaken) - 1; i >= 0; i-- {
		a := byTaken[i]
		if a.worker == "" {
			l.refused++
		} else if a.taken > a.start {
			l.waited++
			if oldest < a.start-instant {
				l.overtook++
			}
		}
		oldest = min(oldest, a.start)
	}
	return l
}
