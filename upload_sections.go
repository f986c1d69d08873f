package runpod

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"

	"github.com/gpuburst/runpod-go/internal/backoff"
	"github.com/gpuburst/runpod-go/internal/line"
)

// uploadSections stores an input in parts that are read where they are. It goes
// on with an upload that was not finished, if it finds one.
func uploadSections(ctx context.Context, u *upload) (Object, error) {
	m, done, err := beginSections(ctx, u, partSizeFor(u.state.size, u.partSize))
	if err != nil {
		return Object{}, err
	}
	if done != nil {
		u.meter.move(done.Size)
		return m.ended(*done), nil
	}
	m.again = true
	plan := slices.Collect(partsOf(u.state.size, m.size))
	return m.storeAll(ctx, func() error {
		return m.sendParts(ctx, len(plan), missing(m, plan), func() error { return u.in.unchanged(u.state) })
	})
}

// missing produces the parts of a plan that the gateway has not got from us.
func missing(m *multipart, plan []part) line.Producer[piece] {
	return func(_ context.Context, emit func(piece) error) error {
		for _, p := range plan {
			if m.kept(p.number) {
				continue
			}
			open := func(ctx context.Context) (io.ReadCloser, error) { return m.in.at(ctx, p.offset, p.size) }
			if err := emit(piece{p, open, func() {}}); err != nil {
				return err
			}
		}
		return nil
	}
}

// beginSections begins an upload in parts of a size, or goes on with one that
// was not finished. If that one had ended after all, it returns its object. The
// upload's file is claimed until it is finished or given up.
func beginSections(ctx context.Context, u *upload, partSize int64) (m *multipart, done *Object, err error) {
	r := u.resume.claim(u.key)
	defer func() {
		if m == nil {
			r.unclaim()
		}
	}()
	if r != nil {
		if m, done, err = goOn(ctx, u, r); m != nil || err != nil {
			return m, done, err
		}
	}
	if m, err = createMultipart(ctx, u); err != nil {
		return nil, nil, err
	}
	m.size = partSize
	if r == nil {
		return m, nil, nil
	}
	m.resume = r
	err = r.save(unfinishedUpload{Key: u.key, UploadID: m.id, Own: m.own,
		Size: u.state.size, PartSize: partSize, Checksum: u.sums.chosen})
	if err != nil {
		m.abort(ctx)
		return nil, nil, &Error{Op: u.op, Field: "WithResumeDir", Err: err}
	}
	return m, nil, nil
}

// goOn finds the unfinished upload that the file is about, or the object that
// came of it. It returns neither if there is none, or if it was one of content
// of another size: that is aborted.
func goOn(ctx context.Context, u *upload, r *resumable) (*multipart, *Object, error) {
	before, err := r.load(u.key)
	if err != nil {
		u.gw.logger.LogAttrs(ctx, slog.LevelWarn, "resume file passed over", slog.String("path", r.path), slog.String("error", err.Error()))
	}
	if before == nil {
		return nil, nil, nil
	}
	m := &multipart{upload: u, id: before.UploadID, own: before.Own, size: before.PartSize, resume: r, parts: map[int32]sentPart{}}
	if !before.continues(u.state.size, u.sums.chosen) {
		m.abort(ctx)
		r.forget()
		return nil, nil, nil
	}
	if m.there, err = listParts(ctx, u.task, u.key, m.id); err == nil {
		return m, nil, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return nil, nil, err
	}
	done, err := endedBefore(ctx, u, before)
	if done != nil {
		return m, done, nil
	}
	if err == nil {
		r.forget()
	}
	return nil, nil, err
}

// endedBefore finds the object of an upload that the gateway has forgotten: it
// may have been completed for a process that did not live to hear of it. While
// parts are put together there may be neither the upload nor the object
// (versitygw): then it looks again.
func endedBefore(ctx context.Context, u *upload, before *unfinishedUpload) (*Object, error) {
	for looks := 1; ; looks++ {
		obj, err := lookEnded(ctx, u, before)
		if obj != nil || err != nil || !before.Completing || looks == s3Attempts {
			return obj, err
		}
		if backoff.Sleep(ctx, u.gw.policy.backoff(looks-1, 0, -1, rand.Float64())) != nil {
			return nil, ended(ctx, u.op)
		}
	}
}

func lookEnded(ctx context.Context, u *upload, before *unfinishedUpload) (*Object, error) {
	obj, own, err := headObject(ctx, u.task, u.key)
	if err != nil || own != before.Own || obj.Size >= 0 && obj.Size != before.Size {
		return nil, ctx.Err()
	}
	etag, err := u.sums.partsETag(ctx, u.in, before.Size, before.PartSize)
	if err != nil {
		return nil, u.unreadable(ctx, err)
	}
	if obj.ETag != etag {
		return nil, nil
	}
	obj.Size = before.Size
	return &obj, nil
}
