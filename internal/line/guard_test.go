package line

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestGuardIsDoneWhateverHappens(t *testing.T) {
	bad := errors.New("bad")
	for name, c := range map[string]struct {
		f    func() error
		want error
	}{
		"returns":          {func() error { return nil }, nil},
		"fails":            {func() error { return bad }, bad},
		"panics":           {func() error { panic(bad) }, bad},
		"exits":            {func() error { runtime.Goexit(); return nil }, ErrGoexit},
		"panics with nil":  {func() error { panic(nil) }, new(runtime.PanicNilError)},
		"panics with text": {func() error { panic("text") }, nil},
	} {
		var got []error
		var wg sync.WaitGroup
		wg.Go(func() { Guard(c.f, func(err error) { got = append(got, err) }) })
		wg.Wait()
		if len(got) != 1 {
			t.Errorf("%s: done %d times", name, len(got))
			continue
		}
		p, panicked := errors.AsType[*Panic](got[0])
		if strings.HasPrefix(name, "panics") != panicked {
			t.Errorf("%s: %v", name, got[0])
		} else if panicked && !strings.Contains(p.Error(), "guard_test.go") {
			t.Errorf("%s: no stack in %v", name, p)
		}
		var none *runtime.PanicNilError
		switch {
		case name == "panics with nil" && errors.As(got[0], &none):
		case name == "panics with text" && strings.HasPrefix(got[0].Error(), "panic: text\n"):
		case !errors.Is(got[0], c.want):
			t.Errorf("%s: %v, want %v", name, got[0], c.want)
		}
	}
}

// What panics or exits on a goroutine of ForEach's ends it with an error.
func TestForEachOutlivesItsFunctions(t *testing.T) {
	for name, f := range map[string]func(){"panic": func() { panic("at the disco") }, "exit": runtime.Goexit} {
		err := ForEach(t.Context(), 2, upTo(100), func(_ context.Context, i int) error {
			if i > 1 {
				f()
			}
			return nil
		})
		if p, ok := errors.AsType[*Panic](err); ok != (name == "panic") || !ok && !errors.Is(err, ErrGoexit) {
			t.Errorf("%s: %v (%v)", name, err, p)
		}
	}
}
