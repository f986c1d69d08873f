package runpodtest

import (
	"fmt"
	"time"
)

// ScalerType is the rule by which an endpoint decides how many workers it wants.
type ScalerType uint8

const (
	// RequestCount wants ceil((queued + in progress) / value) workers (Runpod
	// docs: what load-balancing endpoints use).
	RequestCount ScalerType = iota
	// QueueDelay wants one worker for every request in progress and for every one
	// that has waited for value seconds. Runpod documents the idea; this formula
	// is inferred.
	QueueDelay
)

func (t ScalerType) String() string {
	switch t {
	case RequestCount:
		return "REQUEST_COUNT"
	case QueueDelay:
		return "QUEUE_DELAY"
	}
	return fmt.Sprintf("ScalerType(%d)", uint8(t))
}

// demand is what the autoscaler looks at.
type demand struct {
	queued     int // requests waiting for a worker
	overdue    int // of these, how many have waited for ScalerValue seconds
	inProgress int
}

// wanted is how many workers the rule asks for, within the bounds.
func wanted(rule ScalerType, value int, d demand, minWorkers, maxWorkers int) int {
	n := d.inProgress + d.overdue
	if rule == RequestCount {
		n = (d.queued + d.inProgress + value - 1) / value
	}
	return min(max(n, minWorkers), maxWorkers)
}

// Idle policy, as Runpod documents it.
const (
	idlePolicyFirst  = 3 * 24 * time.Hour
	idlePolicySecond = 7 * 24 * time.Hour
)
