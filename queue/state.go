package queue

// State is how far a job has come (Runpod docs, job states).
type State string

// The states of a job. Any other one that the service may name counts as a job
// that goes on.
const (
	StateInQueue    State = "IN_QUEUE"
	StateInProgress State = "IN_PROGRESS"
	StateRunning    State = "RUNNING" // seen beside IN_PROGRESS
	StateCompleted  State = "COMPLETED"
	StateFailed     State = "FAILED"
	StateCancelled  State = "CANCELLED"
	StateTimedOut   State = "TIMED_OUT"
)

// Final reports whether a job in this state has ended.
func (s State) Final() bool {
	return s == StateCompleted || s == StateFailed || s == StateCancelled || s == StateTimedOut
}

// named reports whether s looks like a state at all.
func (s State) named() bool {
	for _, r := range s {
		if r != '_' && (r < 'A' || r > 'Z') {
			return false
		}
	}
	return s != ""
}
