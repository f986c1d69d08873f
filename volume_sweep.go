package runpod

import (
	"context"
	"time"

	"github.com/gpuburst/runpod-go/internal/line"
)

// sweepInputs deletes the objects whose keys were made up for inputs of jobs and
// that were written longer than age ago.
func (s *store) sweepInputs(ctx context.Context, age time.Duration) ([]Object, error) {
	const op = "sweep inputs"
	if age <= 0 {
		return nil, refuse(op, "age", "%s: want more than a job takes, such as a day", age)
	}
	o, err := s.begin(ctx, op)
	if err != nil {
		return nil, err
	}
	defer o.end()
	k := s.volume.gw.newTask(o, op)
	var done objectList
	err = forEachOf(o, k, leftInputs(k, age), func(ctx context.Context, obj Object) error {
		err := deleteObject(ctx, k.part(opOn("delete", obj.Key)), obj.Key)
		if err == nil {
			done.append(obj)
		}
		return err
	})
	return done.sorted(), err
}

// leftInputs produces such objects. One whose age is not said is left alone.
func leftInputs(k task, age time.Duration) line.Producer[Object] {
	return func(ctx context.Context, emit func(Object) error) error {
		for l := newListing(inputPrefix); !l.end; {
			objects, err := l.page(ctx, k)
			if err != nil {
				return err
			}
			for _, obj := range objects {
				if !madeUpKey.MatchString(obj.Key) || obj.age < age {
					continue
				}
				if err := emit(obj.Object); err != nil {
					return err
				}
			}
		}
		return nil
	}
}
