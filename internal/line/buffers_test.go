package line

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

// content reads a chunk whole.
func content(t *testing.T, c *Chunk) string {
	t.Helper()
	r, err := c.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestBuffersReadAStreamInChunks(t *testing.T) {
	b := NewBuffers(12, 4)
	stream := strings.NewReader("0123456789")
	first, err := b.Read(t.Context(), stream, 2)
	if err != nil || first.Size() != 8 || !first.Full() {
		t.Fatalf("%d bytes, full: %v, %v", first.Size(), first.Full(), err)
	}
	last, err := b.Read(t.Context(), stream, 1)
	if err != nil || last.Full() {
		t.Fatalf("%d bytes, full: %v, %v", last.Size(), last.Full(), err)
	}
	for range 2 { // as often as one likes
		if got := content(t, first) + "|" + content(t, last); got != "01234567|89" {
			t.Errorf("read %q", got)
		}
	}
	if free, _ := b.Counts(); free != 0 {
		t.Errorf("%d blocks are free while all are in use", free)
	}
	first.Free()
	if free, spare := b.Counts(); free != 2 || spare != 2 {
		t.Errorf("%d blocks are free, %d of them kept", free, spare)
	}
	last.Free()
	if free, spare := b.Counts(); free != 3 || spare != 0 {
		t.Errorf("at the end %d blocks are free, and %d are kept although nobody streams", free, spare)
	}
}

func TestBuffersWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBuffers(4, 4)
		held, err := b.Read(t.Context(), strings.NewReader("0123"), 1)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { _, err := b.Read(ctx, strings.NewReader("x"), 1); ended <- err }()
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		held.Free()
		if free, _ := b.Counts(); free != 1 {
			t.Errorf("%d blocks are free: the one waited for is lost", free)
		}
	})
}

func TestBuffersGiveBackWhatAFailedReadTook(t *testing.T) {
	b := NewBuffers(8, 4)
	failed := errors.New("the disk is gone")
	broken := io.MultiReader(strings.NewReader("012345"), readerFunc(func([]byte) (int, error) { return 0, failed }))
	if _, err := b.Read(t.Context(), broken, 2); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	if free, _ := b.Counts(); free != 2 {
		t.Errorf("%d blocks are free", free)
	}
}

// A request may still read its body after it was answered: its blocks must not
// hold anything else meanwhile.
func TestChunkIsFreedOnceItsReadersAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBuffers(4, 4)
		c, err := b.Read(t.Context(), bytes.NewReader([]byte("0123")), 1)
		if err != nil {
			t.Fatal(err)
		}
		r, _ := c.Open(t.Context())
		go c.Free()
		synctest.Wait()
		if free, _ := b.Counts(); free != 0 {
			t.Error("the block is free while it is read")
		}
		r.Close()
		r.Close() // again, as net/http may
		synctest.Wait()
		if free, _ := b.Counts(); free != 1 {
			t.Error("the block is not free")
		}
		if _, err := r.Read(make([]byte, 1)); err == nil {
			t.Error("a closed reader still reads")
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Memory that was freed is handed out once, not to two chunks at a time.
func TestBuffersHandOutEachBlockOnce(t *testing.T) {
	b := NewBuffers(12, 4)
	var chunks [3]*Chunk
	read := func(i int, text string) {
		c, err := b.Read(t.Context(), strings.NewReader(text), 1)
		if err != nil {
			t.Fatal(err)
		}
		chunks[i] = c
	}
	read(0, "0000")
	read(1, "1111")
	chunks[1].Free() // its memory is kept, because chunk 0 is still there
	read(1, "aaaa")
	read(2, "bbbb")
	if got := content(t, chunks[0]) + content(t, chunks[1]) + content(t, chunks[2]); got != "0000aaaabbbb" {
		t.Errorf("read %q", got)
	}
}

// Blocks that are freed go to those who wait, in their order.
func TestBuffersServeThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBuffers(4, 4)
		held, err := b.Read(t.Context(), strings.NewReader("0123"), 1)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan string, 2)
		for _, name := range []string{"first", "second"} {
			go func() {
				c, err := b.Read(t.Context(), strings.NewReader(name), 1)
				if err != nil {
					t.Error(err)
					return
				}
				served <- name
				c.Free()
			}()
			synctest.Wait()
		}
		held.Free()
		synctest.Wait()
		if len(served) != 2 || <-served != "first" {
			t.Errorf("%d of 2 were served", len(served))
		}
	})
}
