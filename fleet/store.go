package fleet

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// store is the fleet's streams.
type store struct {
	js                                        jetstream.JetStream
	jobs, results, claims, failed, live, book *table
	queue                                     jetstream.Consumer // over jobs
}

// openStore opens the streams and makes those that are not there. A stream that
// is there stays as it is.
func openStore(ctx context.Context, js jetstream.JetStream, cfg Config) (store, error) {
	s := store{js: js}
	for _, one := range []struct {
		to   **table
		name string
		age  time.Duration
	}{{&s.jobs, "jobs", 0}, {&s.results, "results", 0}, {&s.claims, "claims", 0}, {&s.failed, "failed", 0}, {&s.live, "live", cfg.Lease}, {&s.book, "book", 0}} {
		t, err := openTable(ctx, js, cfg, one.name, one.age)
		if err != nil {
			return s, fmt.Errorf("stream %s: %w", one.name, err)
		}
		*one.to = t
	}
	return s, nil
}

// openQueue opens the consumer that hands each job to one machine. MaxAckPending
// has no bound: the limit of calls is held by places, and a bound here would be
// filled by what waits for its acknowledgement.
func (s *store) openQueue(ctx context.Context, lease time.Duration) (err error) {
	s.queue, err = s.jobs.stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: "work", AckPolicy: jetstream.AckExplicitPolicy, AckWait: lease,
		MaxDeliver: -1, MaxAckPending: -1, MaxWaiting: 8192,
	})
	return err
}

func (s *store) delete(ctx context.Context) (err error) {
	for _, t := range []*table{s.live, s.claims, s.failed, s.results, s.jobs, s.book} {
		if e := s.js.DeleteStream(ctx, t.name); e != nil && !errors.Is(e, jetstream.ErrStreamNotFound) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// table is a stream that keeps the last message of each subject: a map from keys
// to values, with a number for each write, and in the order of the writes. It is
// read from the stream's leader, never from a replica that may be behind.
type table struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	name   string
	prefix string
}

// errConflict: somebody else has written the key.
var errConflict = errors.New("somebody else has written it")

func openTable(ctx context.Context, js jetstream.JetStream, cfg Config, kind string, age time.Duration) (*table, error) {
	t := &table{js: js, name: "FLEET_" + cfg.Name + "_" + kind, prefix: "fleet." + cfg.Name + "." + kind + "."}
	var err error
	t.stream, err = js.Stream(ctx, t.name)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return t, err
	}
	t.stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: t.name, Subjects: []string{t.prefix + ">"}, Replicas: cfg.Replicas, Storage: jetstream.FileStorage,
		MaxMsgsPerSubject: 1, MaxAge: age, Duplicates: min(age, 2*time.Minute),
	})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // made by another process at this moment
		t.stream, err = js.Stream(ctx, t.name)
	}
	return t, err
}

// entry is a value with the number of its write; 0: there is none.
type entry struct {
	key  string
	seq  uint64
	data []byte
	head nats.Header
	time time.Time
}

// get reads a key. A key that is not there has the number 0.
func (t *table) get(ctx context.Context, key string) (entry, error) {
	m, err := t.stream.GetLastMsgForSubject(ctx, t.prefix+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return entry{key: key}, nil
	}
	if err != nil {
		return entry{}, err
	}
	return entry{key: key, seq: m.Sequence, data: m.Data, head: m.Header, time: m.Time}, nil
}

// put writes a key if its last write has the number last (0: there is none), and
// returns the new write's. errConflict means that it has another. A traceparent
// travels as a header.
func (t *table) put(ctx context.Context, key string, value any, last uint64, parent ...string) (uint64, error) {
	m, err := t.message(key, value, parent...)
	if err != nil {
		return 0, err
	}
	ack, err := t.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(last))
	if err != nil {
		return 0, conflict(err)
	}
	return ack.Sequence, nil
}

// set writes a key whatever is there.
func (t *table) set(ctx context.Context, key string, value any) error {
	m, err := t.message(key, value)
	if err == nil {
		_, err = t.js.PublishMsg(ctx, m)
	}
	return err
}

func (t *table) message(key string, value any, parent ...string) (*nats.Msg, error) {
	data, err := json.Marshal(value)
	m := &nats.Msg{Subject: t.prefix + key, Data: data}
	if len(parent) > 0 && parent[0] != "" {
		m.Header = nats.Header{traceparent: parent}
	}
	return m, err
}

// conflict recognises the two codes by which a server refuses a write that
// expected another one to be the last.
func conflict(err error) error {
	switch code(err) {
	case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		return errConflict
	}
	return err
}

// code is the server's own number for an error, 0 if it is not the server's.
func code(err error) jetstream.ErrorCode {
	if e, ok := errors.AsType[jetstream.JetStreamError](err); ok && e.APIError() != nil {
		return e.APIError().ErrorCode
	}
	return 0
}

// remove deletes the write of that number. One that is not there is no error.
func (t *table) remove(ctx context.Context, seq uint64) error {
	err := t.stream.DeleteMsg(ctx, seq)
	if !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return err
	}
	// Why, is in no code of the server's.
	if _, e := t.stream.GetMsg(ctx, seq); errors.Is(e, jetstream.ErrMsgNotFound) {
		return nil
	}
	return err
}

// count is how many keys there are, and the number of the last write.
func (t *table) count(ctx context.Context) (keys, last uint64, err error) {
	info, err := t.stream.Info(ctx)
	if err != nil {
		return 0, 0, err
	}
	return info.State.Msgs, info.State.LastSeq, nil
}

// has reports whether any key matches the pattern.
func (t *table) has(ctx context.Context, pattern string) (bool, error) {
	info, err := t.stream.Info(ctx, jetstream.WithSubjectFilter(t.prefix+pattern))
	if err != nil {
		return false, err
	}
	return len(info.State.Subjects) > 0, nil
}

// setting reads a setting, and writes it first if it is not there.
func (t *table) setting(ctx context.Context, name, value string) (string, error) {
	if _, err := t.put(ctx, "set."+name, value, 0); err != nil && !errors.Is(err, errConflict) {
		return "", err
	}
	e, err := t.get(ctx, "set."+name)
	if err != nil {
		return "", err
	}
	err = json.Unmarshal(e.data, &value)
	return value, err
}

// token makes an id into the part of a subject, and idOf makes it back. An id
// that is fit stays as it is, so that people can read it.
func token(id string) string {
	if id != "" && !strings.ContainsFunc(id, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	}) {
		return id
	}
	return "=" + base64.RawURLEncoding.EncodeToString([]byte(id))
}

func idOf(token string) (string, error) {
	coded, ok := strings.CutPrefix(token, "=")
	if !ok {
		return token, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(coded)
	return string(b), err
}
