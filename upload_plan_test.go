package runpod

import "testing"

func TestPartsCoverTheObject(t *testing.T) {
	for _, c := range []struct {
		size, most int64
		parts      int
	}{
		{0, defaultPartSize, 0},
		{1, defaultPartSize, 1},
		{defaultPartSize, defaultPartSize, 1},
		{defaultPartSize + 1, defaultPartSize, 2},
		{12 << 20, minPartSize, 3},
		{200_000_000, defaultPartSize, 3},
		{1 << 30, defaultPartSize, 16},
		{minPartSize*maxParts + 1, minPartSize, 9877},
		{maxObject, minPartSize, maxParts},
		{maxObject, defaultPartSize, maxParts},
		{maxObject, maxPartSize, 8008},
	} {
		partSize := partSizeFor(c.size, c.most)
		n, at := 0, int64(0)
		for p := range partsOf(c.size, partSize) {
			n++
			if last := p.offset+p.size == c.size; !last && p.size < minPartSize {
				t.Fatalf("%+v: S3 refuses part %+v", c, p)
			}
			if p.offset != at || int(p.number) != n || p.size < 1 || p.size > maxPartSize {
				t.Fatalf("%+v: part %+v after %d bytes", c, p, at)
			}
			at += p.size
		}
		if n != c.parts || at != c.size || n > maxParts {
			t.Errorf("%+v: %d parts of %d bytes, %d in all", c, n, partSize, at)
		}
	}
}

func TestStreamsFitTheirParts(t *testing.T) {
	for _, size := range []int64{-1, 1, 80_000_000_000, 90_000_000_000, maxObject} {
		var room int64
		for n := int32(1); n <= maxParts; n++ {
			part := int64(streamBlocks(n, size)) * bufferBlock
			if part > maxPartSize {
				t.Fatalf("%d bytes: part %d has %d", size, n, part)
			}
			room += part
		}
		want := size
		if size < 0 {
			want = maxObject // it grows as it needs
		}
		if room < want {
			t.Errorf("%d bytes: there is room for %d", size, room)
		}
	}
}
