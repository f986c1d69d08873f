package fleet

import (
	"time"

	runpod "github.com/gpuburst/runpod-go"
)

// Outlook says how the endpoint looks to the machines together.
type Outlook string

// What the machines may see.
const (
	Quiet     Outlook = "quiet"      // no machine has asked it yet
	Cold      Outlook = "cold"       // it was asked, and no worker has answered yet
	Answering Outlook = "answering"  // workers answer
	Refusing  Outlook = "refusing"   // it takes fewer calls than it was sent
	NoWorkers Outlook = "no workers" // calls were given up since no worker took them
)

// sight is what one machine sees of the endpoint, as it tells the others.
type sight struct {
	InFlight int   `json:"in_flight"` // its calls there
	Limit    int   `json:"limit"`     // how many its client lets through at once
	Full     int   `json:"full"`      // the most that the client ever did
	Answered int64 `json:"answered"`  // ms since a worker answered it; -1: never
	GaveUp   int64 `json:"gave_up"`   // ms since it gave up a call for want of workers; -1: never
}

// look makes a sight of a client's figures.
func look(now time.Time, s runpod.Stats, full int, gaveUp time.Time) sight {
	return sight{InFlight: s.InFlight, Limit: s.Limit, Full: max(full, s.Limit), Answered: since(now, s.LastAnswer), GaveUp: since(now, gaveUp)}
}

func since(now, then time.Time) int64 {
	if then.IsZero() {
		return -1
	}
	return max(0, now.Sub(then).Milliseconds())
}

// news reports whether the others should know at once.
func (s sight) news(before sight) bool {
	return s.Limit != before.Limit || (s.Answered < 0) != (before.Answered < 0) ||
		s.GaveUp >= 0 && (before.GaveUp < 0 || s.GaveUp < before.GaveUp)
}

// judge makes of what the machines see how the endpoint looks, and how many calls
// all together should have open, of the limit at most.
//
// If calls were given up and none was answered since, one call at a time tries.
// A client that is refused at once, or waits in vain, lets fewer calls through;
// the machines that have not met that yet then count as if they had: together
// they open as many as the narrowed clients do on average.
func judge(limit int, sights []sight) (Outlook, int) {
	answered, gaveUp, inFlight, narrow, narrowed := int64(-1), int64(-1), 0, 0, 0
	for _, s := range sights {
		answered, gaveUp = latest(answered, s.Answered), latest(gaveUp, s.GaveUp)
		inFlight += s.InFlight
		if s.Limit < s.Full {
			narrowed++
			narrow += s.Limit
		}
	}
	switch {
	case gaveUp >= 0 && (answered < 0 || gaveUp < answered):
		return NoWorkers, min(limit, 1)
	case narrowed > 0:
		return Refusing, min(limit, max(1, (narrow*len(sights)+narrowed-1)/narrowed))
	case answered >= 0:
		return Answering, limit
	case inFlight > 0:
		return Cold, limit
	}
	return Quiet, limit
}

// latest is the shorter of two times since; -1 is never.
func latest(a, b int64) int64 {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}
