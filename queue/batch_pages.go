package queue

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gpuburst/runpod-go"
)

// The limits of batches (Runpod docs, batch jobs, beta).
const (
	maxBatch     = 5000
	maxBatchBody = 10 << 20
	batchPage    = 200 // results that are asked for at once
)

// paginate encodes requests, in groups that fit into a call of that size; one
// group at least, which may be empty.
func paginate(op string, requests []Request, size int) ([][]json.RawMessage, error) {
	pages, room := [][]json.RawMessage{{}}, size
	for i := range requests {
		data, err := requests[i].encode(op, size)
		if err != nil {
			return nil, numbered(err, i)
		}
		last := len(pages) - 1
		if room -= len(data) + 1; room < 0 && len(pages[last]) > 0 {
			pages, room = append(pages, nil), size-len(data)-1
			last++
		}
		pages[last] = append(pages[last], data)
	}
	return pages, nil
}

// pageRoom is what a call has room for, beside what stands around the requests.
const pageRoom = maxBatchBody - 64

// numbered says which of several requests an error is about.
func numbered(err error, i int) error {
	if e, ok := errors.AsType[*runpod.Error](err); ok {
		e.Field = fmt.Sprintf("requests[%d].%s", i, e.Field)
	}
	return err
}
