package fleet

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errLeaseLost ends a machine's calls: the server may have given its jobs away.
var errLeaseLost = errors.New("the machine's lease could not be renewed")

// A lease is renewed renewals times within its term, and is over for its machine
// at fence quarters of it: the others wait for the whole term, by the server's
// clock, from a later moment. What lies between is for the machine's calls to
// end.
const renewals = 5

func fence(term time.Duration) time.Duration { return term * 3 / 4 }

// lease keeps a machine's card in LIVE.
type lease struct {
	t    *table
	id   string
	term time.Duration
	poke chan struct{} // has a token if the card is to be renewed now

	mu   sync.Mutex
	card card
}

// change edits the card. Urgent: the others are told at once.
func (l *lease) change(urgent bool, edit func(*card)) {
	l.mu.Lock()
	edit(&l.card)
	l.mu.Unlock()
	if urgent {
		select {
		case l.poke <- struct{}{}:
		default:
		}
	}
}

func (l *lease) renew(ctx context.Context) error {
	l.mu.Lock()
	c := l.card
	c.Workers = append([]string(nil), c.Workers...)
	l.mu.Unlock()
	return l.t.set(ctx, l.id, c)
}

// keep renews the lease until ctx ends, which is nil, or it is lost. It was
// renewed at the moment from. What counts is when a renewal was sent, since the
// server's term begins later.
func (l *lease) keep(ctx context.Context, from time.Time) error {
	for {
		if l.rest(ctx, l.term/renewals) != nil {
			return nil
		}
		for {
			sent := time.Now()
			try, cancel := context.WithDeadline(ctx, from.Add(fence(l.term)))
			err := l.renew(try)
			cancel()
			if err == nil {
				from = sent
				break
			}
			if ctx.Err() != nil {
				return nil
			}
			if time.Since(from) >= fence(l.term) || permanent(err) {
				return errors.Join(errLeaseLost, err)
			}
			if wait(ctx, min(100*time.Millisecond, time.Until(from.Add(fence(l.term))))) != nil {
				return nil
			}
		}
	}
}

// rest waits until the next renewal is due or wanted.
func (l *lease) rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
	case <-l.poke:
	}
	return nil
}
