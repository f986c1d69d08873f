package runpod

import "iter"

const (
	// maxObject is the most an object may have (Runpod docs: 4 TB).
	maxObject = 4_000_000_000_000
	// maxParts is how many parts S3 allows an object.
	maxParts    = 10_000
	minPartSize = 5 << 20     // what S3 asks for; Runpod's gateway asks for none
	maxPartSize = 499_974_144 // 500 MB (Runpod docs), in whole pages of 64 KiB

	// bufferBlock is the size of the first parts of a stream, and what buffers
	// are made of.
	bufferBlock = 8 << 20
)

// part is one part of an object.
type part struct {
	number       int32 // from 1
	offset, size int64
}

// partSizeFor divides an object into equal parts of at most most bytes, or
// more where there would be too many of them, but not into smaller ones than
// S3 takes.
func partSizeFor(size, most int64) int64 {
	n := ceilDiv(size, most)
	if n > defaultS3Conns { // as many rounds of a pool of the usual size, all full
		n = ceilDiv(n, defaultS3Conns) * defaultS3Conns
	}
	n = min(n, maxParts)
	even := max(ceilDiv(size, max(n, 1)), min(most, minPartSize))
	rounded := ceilDiv(even, 64<<10) * (64 << 10) // whole pages, for files
	if even <= most {
		return min(rounded, most)
	}
	return rounded
}

// partsOf yields the parts of an object, in order.
func partsOf(size, partSize int64) iter.Seq[part] {
	return func(yield func(part) bool) {
		for number, offset := int32(1), int64(0); offset < size; number++ {
			p := part{number: number, offset: offset, size: min(partSize, size-offset)}
			if !yield(p) {
				return
			}
			offset += p.size
		}
	}
}

// streamBlocks returns how many blocks part number n of a stream has. Its parts
// are small, since they are kept in memory. Those of a stream of unknown size
// grow, so that it may become as long as an object may: from 4 GB on they have
// 64 MiB, from 111 GB on 472 MiB.
func streamBlocks(n int32, size int64) int {
	switch {
	case size > maxParts*bufferBlock:
		return int(ceilDiv(ceilDiv(size, maxParts), bufferBlock))
	case size >= 0 || n <= 500:
		return 1
	case n <= 2100:
		return 8
	default:
		return maxPartSize / bufferBlock
	}
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }
