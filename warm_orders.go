package runpod

import (
	"fmt"
	"time"
)

const (
	// maxPings bounds the light requests under way, whatever scaler value the
	// control plane names: so many wake 1,000 workers at the default one.
	maxPings = 4 * maxWarm
	// maxWorkerName is how many bytes of a worker's name are kept.
	maxWorkerName = 256
)

// ask is one caller of Warm. Its result is final once the core has settled it.
type ask struct {
	n       int
	begun   time.Time
	settled chan struct{} // closed by the wake
	up      int
	err     error
}

// ping is a light request; worker is the one it prefers, "" for any.
type ping struct {
	id     int64
	worker string
}

// traffic is what is at the endpoint: calls in flight, calls that wait for a
// place, and how many may be in flight.
type traffic struct{ calls, waiting, limit int }

// finding is what a light request has shown.
type finding struct {
	answered bool   // a worker answered it
	worker   string // which one; "" if it does not name itself
	ready    bool   // that worker can take work
	refused  error  // the endpoint refuses for good
	inVain   bool   // it waited for a worker, and there was none
}

// orders is what the wake does after a decision of the core.
type orders struct {
	send    []ping
	cancel  []int64
	settled []*ask
	list    bool // ask the control plane for the workers
	want    int  // workers that are wanted now
	over    bool // nobody wants workers any more
}

// end settles what a caller gets.
func (a *ask) end(up int, err error, o *orders) {
	a.up, a.err = up, err
	o.settled = append(o.settled, a)
}

// short is the error of a wake that did not reach its number.
func short(up, n int, why, advice string) error {
	return &Error{Kind: ErrNoWorkers, Err: fmt.Errorf("%d of %d workers are up: %s", up, n, why), Advice: advice}
}
