package line

import (
	"bytes"
	"context"
	"errors"
	"io"
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

func TestApartLetsTheCallerGoOn(t *testing.T) {
	bad := errors.New("bad")
	if err := Apart(func() error { return bad }); err != bad {
		t.Error(err)
	}
	if err := Apart(func() error { runtime.Goexit(); return nil }); err != ErrGoexit {
		t.Error(err)
	}
	if err := Apart(func() error { panic(bad) }); !errors.Is(err, bad) {
		t.Error(err)
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

// badReader does what its field says.
type badReader struct{ how string }

func (b badReader) do() (int, error) {
	switch b.how {
	case "panic":
		panic(b.how)
	case "many":
		return 1 << 20, nil
	case "negative":
		return -1, nil
	}
	return 0, io.EOF
}

func (b badReader) Read([]byte) (int, error) { return b.do() }
func (b badReader) Close() error             { _, err := b.do(); return err }

type badSeeker struct{ badReader }

func (b badSeeker) Seek(int64, int) (int64, error) { n, err := b.do(); return int64(n), err }

func TestGuardReader(t *testing.T) {
	for how, want := range map[string]string{"panic": "panic: panic", "many": "returned 1048576", "negative": "returned -1", "end": "EOF"} {
		n, err := GuardReader(badReader{how}).Read(make([]byte, 10))
		if n != 0 || err == nil || !strings.HasPrefix(err.Error(), want) && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %d, %v", how, n, err)
		}
	}
	if err := GuardReader(badReader{"panic"}).Close(); err == nil {
		t.Error("a panic of Close is lost")
	}
	if _, ok := GuardReader(badReader{}).(io.Seeker); ok {
		t.Error("it seeks although its reader does not")
	}
	if _, err := GuardReader(badSeeker{badReader{"panic"}}).(io.Seeker).Seek(0, 0); err == nil {
		t.Error("a panic of Seek is lost")
	}
}

// What reads from memory stays what it is, also within io.NopCloser: net/http
// would send its header in a packet of its own otherwise.
func TestGuardReaderLeavesMemoryAlone(t *testing.T) {
	for _, r := range []io.Reader{strings.NewReader("x"), bytes.NewReader(nil), bytes.NewBufferString("x")} {
		closer := io.NopCloser(r)
		if got := GuardReader(closer); got != closer {
			t.Errorf("%T became %T", r, got)
		}
	}
	for _, r := range []io.Reader{nil, (*strings.Reader)(nil), io.LimitReader(strings.NewReader("x"), 1)} {
		closer := io.NopCloser(r)
		if got := GuardReader(closer); got == closer {
			t.Errorf("%T is not guarded", r)
		}
	}
}
