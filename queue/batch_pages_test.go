package queue

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// Requests are sent in their order, in as few calls as they fit into, and none is
// lost or empty but the first.
func TestPaginate(t *testing.T) {
	const room = 1000
	of := func(size int) Request { return Request{Input: strings.Repeat("x", size-len(`{"input":""}`))} }
	for _, tt := range []struct {
		name  string
		sizes []int
		want  []int // how many a call has
	}{
		{"none", nil, []int{0}},
		{"one", []int{100}, []int{1}},
		{"one that fills a call", []int{room}, []int{1}},
		{"two that fill one each", []int{room, room}, []int{1, 1}},
		{"two that just fit", []int{room/2 - 1, room/2 - 1}, []int{2}},
		{"two that just do not", []int{room / 2, room / 2}, []int{1, 1}},
		{"a large one between small ones", []int{100, room, 100}, []int{1, 1, 1}},
	} {
		var requests []Request
		for _, size := range tt.sizes {
			requests = append(requests, of(size))
		}
		pages, err := paginate("POST /batch", requests, room)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for i, page := range pages {
			got = append(got, len(page))
			if body, _ := json.Marshal(map[string]any{"requests": page}); len(body) > room+maxBatchBody-pageRoom {
				t.Errorf("%s: call %d has %d bytes", tt.name, i, len(body))
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
