package runpod

import (
	"context"
	"errors"
	"io"
	"strings"
)

// volume is the network volume seen through its S3 gateway: what is done there,
// within an operation that somebody else has begun. It is safe for concurrent
// use.
type volume struct {
	gw      *gateway
	uploads *uploads
	down    moved
}

func newVolume(c *config) *volume {
	return &volume{gw: newGateway(c), uploads: newUploads(c)}
}

// shut ends what still goes on after uploads have failed, and closes the idle
// connections. It may be called again.
func (v *volume) shut() {
	v.uploads.tidy.settleAll()
	v.gw.transport.CloseIdleConnections()
}

// upload stores an input.
func (v *volume) upload(ctx context.Context, op, key string, in Input) (Object, error) {
	return v.uploadAs(ctx, v.gw.newTask(ctx, op), key, in)
}

func (v *volume) uploadAs(ctx context.Context, k task, key string, in Input) (obj Object, err error) {
	ctx, k = k.observed(ctx, "upload", key)
	defer func() { k.ended(obj.Size, err) }()
	u, err := v.uploads.newUpload(ctx, k, key, in)
	if err != nil {
		return Object{}, err
	}
	if obj, err = v.storeOnce(ctx, u); err == nil {
		k.meter.fileDone()
	}
	return obj, err
}

// storeOnce stores an input unless it is there, or on its way.
func (v *volume) storeOnce(ctx context.Context, u *upload) (Object, error) {
	if u.once == nil || !u.fitsOneRequest() && !u.inSections() {
		return v.storeNow(ctx, u)
	}
	etag, err := u.contentETag(ctx)
	if err != nil {
		return Object{}, u.unreadable(ctx, err)
	}
	store := func() (Object, error) {
		obj, _, err := headObject(ctx, u.task, u.key)
		switch {
		case err == nil && (obj.Size < 0 || obj.Size == u.state.size) && strings.EqualFold(obj.ETag, etag):
			obj.Size = u.state.size
			return u.existed(obj), nil
		case err != nil && !errors.Is(err, ErrNotFound):
			return Object{}, err
		}
		return v.storeNow(ctx, u)
	}
	obj, shared, err := u.once.flyOnce(ctx, u.op, u.key, etag, store, func() (Object, error) { return v.storeNow(ctx, u) })
	if shared {
		obj = u.existed(obj)
	}
	return obj, err
}

// storeNow chooses how an input goes.
func (v *volume) storeNow(ctx context.Context, u *upload) (Object, error) {
	switch {
	case u.fitsOneRequest():
		return u.put(ctx, u.whole())
	case u.inSections():
		return uploadSections(ctx, u)
	}
	return uploadStream(ctx, u)
}

// download writes an object's content to w.
func (v *volume) download(ctx context.Context, op, key string, w io.Writer) (Object, error) {
	return v.downloadAs(ctx, v.gw.newTask(ctx, op), key, w)
}

func (v *volume) downloadAs(ctx context.Context, k task, key string, w io.Writer) (obj Object, err error) {
	ctx, k = k.observed(ctx, "download", key)
	defer func() { k.ended(obj.Size, err) }()
	k.meter.fileBegun(0)
	obj, err = download(ctx, k, key, w, v.uploads.partSize)
	if err != nil {
		return Object{}, err
	}
	k.meter.fileDone()
	v.down.whole(obj.Size)
	return obj, nil
}

// downloadFile writes an object's content to a file, whole or not at all.
func (v *volume) downloadFile(ctx context.Context, op, key, path string) (obj Object, err error) {
	err = writeWhole(path, func(w io.Writer) error {
		obj, err = v.download(ctx, op, key, w)
		return err
	})
	if err != nil {
		return Object{}, asError(op, err)
	}
	return obj, nil
}

// stat asks for an object without its content.
func (v *volume) stat(ctx context.Context, op, key string) (Object, error) {
	ctx, k := v.gw.newTask(ctx, op).observed(ctx, "stat", key)
	obj, _, err := headObject(ctx, k, key)
	k.ended(0, err)
	return obj, err
}

// delete removes an object; one that is not there is no error.
func (v *volume) delete(ctx context.Context, op, key string) error {
	return deleteObject(ctx, v.gw.newTask(ctx, op), key)
}
