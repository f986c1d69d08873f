package fleet

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// card is what a machine tells of itself, each time it renews its lease.
type card struct {
	Name    string    `json:"name"` // host and process
	Slots   int       `json:"slots"`
	Since   time.Time `json:"since"`
	Gone    bool      `json:"gone,omitempty"` // it has left in good order
	Done    int       `json:"done"`
	Failed  int       `json:"failed"`
	Workers []string  `json:"workers,omitempty"` // the endpoint's workers that answered it, the last ones
	Sight   sight     `json:"sight"`
}

// place is the right to one call. Its owner is a machine's id, "" for nobody.
type place struct {
	Owner string `json:"owner"`
	seq   uint64
}

// board is what a machine knows of the fleet, from following LIVE and BOOK. It is
// safe for concurrent use.
type board struct {
	lease   time.Duration
	changed chan struct{} // has a token if something has changed

	mu       sync.Mutex
	limit    int
	places   map[int]place
	machines map[string]card
	heard    map[string]time.Time
}

func newBoard(lease time.Duration) *board {
	return &board{lease: lease, changed: make(chan struct{}, 1), places: map[int]place{}, machines: map[string]card{}, heard: map[string]time.Time{}}
}

// book takes in a write of BOOK.
func (b *board) book(e entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.key == "set.limit" {
		if n, ok := limitOf(e.data); ok {
			b.limit = n
		}
	} else if n, ok := strings.CutPrefix(e.key, "place."); ok {
		p := place{seq: e.seq}
		i, err := strconv.Atoi(n)
		if err == nil && i >= 0 && i < mostInFlight && json.Unmarshal(e.data, &p) == nil && e.seq >= b.places[i].seq {
			b.places[i] = p
		}
	}
	b.notify()
}

func limitOf(data []byte) (int, bool) {
	var text string
	if json.Unmarshal(data, &text) != nil {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0 && n <= mostInFlight
}

// live takes in a write of LIVE.
func (b *board) live(e entry) {
	var c card
	if json.Unmarshal(e.data, &c) != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.Gone {
		delete(b.machines, e.key)
		delete(b.heard, e.key)
	} else {
		b.machines[e.key], b.heard[e.key] = c, time.Now()
	}
	b.notify()
}

func (b *board) notify() {
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// plan is what a machine makes of the board.
type plan struct {
	want  int           // how many places it should have
	limit int           // of the fleet
	free  map[int]place // places that nobody living seems to hold
}

// plan is the machine's share now, and where it may find places.
func (b *board) plan(me string, now time.Time) plan {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, at := range b.heard {
		if now.Sub(at) > b.lease {
			delete(b.heard, id)
			delete(b.machines, id)
		}
	}
	slots := make(map[string]int, len(b.machines))
	var sights []sight
	for id, c := range b.machines {
		slots[id] = c.Slots
		if c.Slots > 0 {
			sights = append(sights, c.Sight)
		}
	}
	_, room := judge(b.limit, sights)
	p := plan{want: share(room, slots)[me], limit: b.limit, free: map[int]place{}}
	held := 0
	for _, one := range b.places {
		if _, living := b.machines[one.Owner]; living {
			held++
		}
	}
	if held >= b.limit {
		return p // after a lower limit, as long as calls above it run
	}
	for n := range b.limit {
		if _, living := b.machines[b.places[n].Owner]; !living {
			p.free[n] = b.places[n]
		}
	}
	return p
}

// share deals a limit out to machines by their slots: as evenly as their slots
// allow, and none has more than it can use. Machines that see the same deal the
// same.
func share(limit int, slots map[string]int) map[string]int {
	ids := slices.SortedFunc(maps.Keys(slots), func(a, b string) int {
		return cmp.Or(cmp.Compare(slots[a], slots[b]), cmp.Compare(a, b))
	})
	got := make(map[string]int, len(ids))
	for i, id := range ids { // those with few slots first: what they leave is the others'
		rest := len(ids) - i
		got[id] = min(slots[id], (limit+rest-1)/rest)
		limit -= got[id]
	}
	return got
}
