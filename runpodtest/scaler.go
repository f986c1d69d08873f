package runpodtest

import (
	"fmt"
	"time"
)

// ScalerType is the rule that decides how many workers an endpoint asks for.
// Load-balancing endpoints use RequestCount, the default.
type ScalerType uint8

const (
	// RequestCount asks for ceil((queued + in progress) / value) workers (Runpod
	// docs).
	RequestCount ScalerType = iota
	// QueueDelay asks for one worker for each request in progress and for each
	// request that has waited for value seconds. Runpod documents the idea; this
	// formula is inferred.
	QueueDelay
)

// String returns the rule's name in Runpod's API: REQUEST_COUNT or QUEUE_DELAY.
func (t ScalerType) String() string {
	switch t {
	case RequestCount:
		return "REQUEST_COUNT"
	case QueueDelay:
		return "QUEUE_DELAY"
	}
	return fmt.Sprintf("ScalerType(%d)", uint8(t))
}

// settings are what a person may change while the endpoint runs.
type settings struct {
	min, max    int // workers
	capacity    int // 0: no limit
	idleTimeout time.Duration
	scalerType  ScalerType
	scalerValue int
}

// demand is what the autoscaler looks at.
type demand struct {
	queued     int // requests waiting for a worker
	overdue    int // of these, how many have waited for scalerValue seconds
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
