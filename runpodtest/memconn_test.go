package runpodtest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// memTest runs f on the two ends of a connection, in virtual time.
func memTest(t *testing.T, name string, f func(t *testing.T, a, b *memConn)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := memPipe("a", "b")
			defer a.Close()
			defer b.Close()
			f(t, a, b)
		})
	})
}

func TestMemConn(t *testing.T) {
	memTest(t, "bytes arrive in order, whatever the sizes", func(t *testing.T, a, b *memConn) {
		sent := make([]byte, 5*window+123)
		for i := range sent {
			sent[i] = byte(i * 7)
		}
		go func() {
			for rest := sent; len(rest) > 0; {
				n := min(len(rest), 10_007)
				a.Write(rest[:n])
				rest = rest[n:]
			}
			a.CloseWrite()
		}()
		if got, err := io.ReadAll(b); !bytes.Equal(got, sent) || err != nil {
			t.Errorf("%d of %d bytes arrived, %v", len(got), len(sent), err)
		}
	})
	memTest(t, "a writer waits for room", func(t *testing.T, a, b *memConn) {
		a.SetWriteDeadline(time.Now().Add(time.Minute))
		n, err := a.Write(make([]byte, window+1))
		if n != window || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("wrote %d, %v", n, err)
		}
	})
	memTest(t, "a read deadline wakes the reader, and can be lifted", func(t *testing.T, a, b *memConn) {
		start := time.Now()
		b.SetReadDeadline(start.Add(5 * time.Second))
		_, err := b.Read(make([]byte, 1))
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() || time.Since(start) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		b.SetReadDeadline(time.Time{})
		a.Write([]byte("x"))
		if n, err := b.Read(make([]byte, 9)); n != 1 {
			t.Errorf("read %d, %v", n, err)
		}
	})
	memTest(t, "a deadline in the past ends a read under way", func(t *testing.T, a, b *memConn) {
		go func() {
			time.Sleep(time.Second)
			b.SetReadDeadline(time.Unix(1, 0))
		}()
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
	memTest(t, "a replaced deadline does not fire", func(t *testing.T, a, b *memConn) {
		b.SetReadDeadline(time.Now().Add(time.Second))
		b.SetReadDeadline(time.Now().Add(time.Hour))
		start := time.Now()
		b.Read(make([]byte, 1))
		if got := time.Since(start); got != time.Hour {
			t.Errorf("woke after %v", got)
		}
	})
	memTest(t, "close: the other end reads what was sent, then EOF; its writes fail", func(t *testing.T, a, b *memConn) {
		a.Write([]byte("last words"))
		a.Close()
		if got, err := io.ReadAll(b); string(got) != "last words" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Error(err)
		}
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	memTest(t, "reset: what had arrived is read, then ECONNRESET", func(t *testing.T, a, b *memConn) {
		a.Write([]byte("sent"))
		a.reset()
		got, err := io.ReadAll(b)
		if string(got) != "sent" || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%q, %v", got, err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
	})
	memTest(t, "a drained connection keeps no large buffer", func(t *testing.T, a, b *memConn) {
		a.Write(make([]byte, window))
		io.ReadFull(b, make([]byte, window))
		if c := cap(b.in.buf); c > keepBuffer {
			t.Errorf("%d bytes kept", c)
		}
	})
}

func TestMemListenerCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemListener("host")
		early, err := l.dial()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Second)
			l.Close()
		}()
		l.Accept()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if _, err := l.dial(); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Error(err)
		}
		early.Close()
	})
}
