package runpodtest

import (
	"sync"
	"time"
)

// alarm is a timer that a sync.WaitGroup counts until it is stopped or its
// function has returned. A nil alarm is not set.
type alarm struct {
	timer *time.Timer
	tasks *sync.WaitGroup
}

// newAlarm calls f in a goroutine of its own after d.
func newAlarm(tasks *sync.WaitGroup, d time.Duration, f func()) *alarm {
	tasks.Add(1)
	return &alarm{tasks: tasks, timer: time.AfterFunc(d, func() {
		defer tasks.Done()
		f()
	})}
}

func (a *alarm) stop() {
	if a != nil && a.timer.Stop() {
		a.tasks.Done()
	}
}
