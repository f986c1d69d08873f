package runpod

import "testing"

func TestWorkerStatusUp(t *testing.T) {
	for status, want := range map[WorkerStatus]bool{
		WorkerRunning: true, WorkerIdle: true, WorkerInitializing: false, WorkerThrottled: false, WorkerUnhealthy: false, "": false, "NEW": false,
	} {
		if status.up() != want {
			t.Errorf("%q takes requests: %v", status, !want)
		}
	}
}
