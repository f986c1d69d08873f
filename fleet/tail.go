package fleet

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// tailBatch is how many messages a tail asks for at once.
const tailBatch = 256

// tail reads a table's writes in their order. It belongs to one goroutine. Its
// consumer at the server is forgotten with the server or after a minute without
// a read, and is then made anew behind what was read.
type tail struct {
	t      *table
	config jetstream.ConsumerConfig
	cons   jetstream.Consumer
	last   uint64 // the number of the last write that was read
}

// tailFrom reads all writes after the number pos that are still there.
func (t *table) tailFrom(pos uint64) *tail {
	return &tail{t: t, last: pos, config: jetstream.ConsumerConfig{FilterSubject: t.prefix + ">"}}
}

// tailOf reads the keys that match the pattern.
func (t *table) tailOf(pattern string) *tail {
	return &tail{t: t, config: jetstream.ConsumerConfig{FilterSubject: t.prefix + pattern}}
}

func (l *tail) open(ctx context.Context) (err error) {
	c := l.config
	c.AckPolicy, c.InactiveThreshold, c.MemoryStorage, c.Replicas = jetstream.AckNonePolicy, time.Minute, true, 1
	c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, l.last+1
	l.cons, err = l.t.stream.CreateConsumer(ctx, c)
	return err
}

// read hands what comes to do, until limit is over or a batch is full, and
// returns how many came. With a limit of 0 it takes only what is there. If do
// returns false it ends, and the rest is lost to this tail.
func (l *tail) read(ctx context.Context, limit time.Duration, do func(entry) bool) (n int, err error) {
	if l.cons == nil {
		if err := l.open(ctx); err != nil {
			return 0, err
		}
	}
	batch, err := l.fetch(limit)
	if err == nil {
		for m := range batch.Messages() {
			e, ok := l.entry(m)
			if !ok {
				continue // sent twice
			}
			n++
			if !do(e) {
				return n, nil
			}
		}
		err = batch.Error()
	}
	if err != nil {
		l.cons = nil // gone, or the connection is
	}
	return n, err
}

func (l *tail) fetch(limit time.Duration) (jetstream.MessageBatch, error) {
	if limit == 0 {
		return l.cons.FetchNoWait(tailBatch)
	}
	return l.cons.Fetch(tailBatch, jetstream.FetchMaxWait(limit))
}

func (l *tail) entry(m jetstream.Msg) (e entry, ok bool) {
	meta, err := m.Metadata()
	if err != nil || meta.Sequence.Stream <= l.last {
		return e, false
	}
	l.last = meta.Sequence.Stream
	return entry{key: strings.TrimPrefix(m.Subject(), l.t.prefix), seq: l.last, data: m.Data(), head: m.Headers(), time: meta.Timestamp}, true
}

// follow reads until ctx ends, through outages.
func (l *tail) follow(ctx context.Context, do func(entry)) {
	for fails := 0; ctx.Err() == nil; {
		_, err := l.read(ctx, time.Second, func(e entry) bool { do(e); return ctx.Err() == nil })
		if err == nil {
			fails = 0
		} else if wait(ctx, pause(fails)) == nil {
			fails++
		}
	}
}

// all reads what is there now.
func (l *tail) all(ctx context.Context, do func(entry)) error {
	return persist(ctx, func(ctx context.Context) error {
		for {
			n, err := l.read(ctx, 0, func(e entry) bool { do(e); return true })
			if err != nil || n < tailBatch {
				return err
			}
		}
	})
}
