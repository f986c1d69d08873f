package runpodtest

import "strings"

// Routing says which of several free workers gets a request.
type Routing uint8

const (
	// RouteEven takes the worker that has served least.
	RouteEven Routing = iota
	// RouteFirst takes the oldest worker.
	RouteFirst
	// RouteUneven has favourites, fixed by the seed: in one captured run of 8
	// workers, 2 healthy ones got nothing (reported by users).
	RouteUneven
)

// place is a request's place in line: lower ones are served first, equal ones
// in order of arrival. lot is drawn for the request, from 0 to 1.
func place(unfairness, lot float64) int {
	switch {
	case lot < unfairness/2:
		return -1
	case lot >= 1-unfairness/2:
		return 1
	}
	return 0
}

// candidate is a worker that could take a request.
type candidate struct {
	number, served int
	favour         float64 // fixed for the worker, from 0 to 1
}

// less reports whether a is to be preferred to b.
func (r Routing) less(a, b candidate) bool {
	switch {
	case r == RouteEven && a.served != b.served:
		return a.served < b.served
	case r == RouteUneven && a.favour != b.favour:
		return a.favour > b.favour
	}
	return a.number < b.number
}

// affinity is what the X-Runpod-Worker-Id header of a request asks for (Runpod
// docs, worker affinity).
type affinity struct {
	worker string // "" means any
	strict bool   // no other will do
	resume bool   // and it is to be started again if it was scaled down
}

func parseAffinity(header string) affinity {
	words := strings.Fields(header)
	switch {
	case len(words) == 1:
		return affinity{worker: words[0]}
	case len(words) == 2 && strings.EqualFold(words[0], "strict"):
		return affinity{worker: words[1], strict: true}
	case len(words) == 2 && strings.EqualFold(words[0], "strict-resume"):
		return affinity{worker: words[1], strict: true, resume: true}
	}
	return affinity{}
}
