package runpod

import (
	"testing"
	"testing/synctest"
	"time"
)

type expireFunc func()

func (f expireFunc) expire() { f() }

func TestDeadlinesComeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ds := deadlines{limit: time.Minute}
		defer ds.close()
		start := time.Now()
		var came []time.Duration
		expire := expireFunc(func() { came = append(came, time.Since(start)) })
		var all [5]deadline
		for i := range all {
			ds.add(&all[i], time.Now(), expire)
			time.Sleep(10 * time.Second)
		}
		ds.remove(&all[1])
		ds.remove(&all[1]) // again
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		want := []time.Duration{60 * time.Second, 80 * time.Second, 90 * time.Second, 100 * time.Second}
		if len(came) != len(want) {
			t.Fatalf("came at %v, want %v", came, want)
		}
		for i := range want {
			if came[i] != want[i] {
				t.Errorf("came at %v, want %v", came, want)
			}
		}
		if ds.first != nil || ds.last != nil || ds.timer != nil {
			t.Error("something is left")
		}
		ds.add(&all[0], time.Now(), expire)
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(came) != 5 {
			t.Error("after a pause no deadline comes")
		}
	})
}
