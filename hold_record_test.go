package runpod

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

var holdTime = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

const holdTestID = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

func goodRecord() HoldRecord {
	return HoldRecord{ID: holdTestID, Endpoint: "abc", Round: 1, Workers: 3, Before: 0, Phase: phaseHeld, Owner: "host, process 7",
		Taken: holdTime.Add(-time.Minute), Renewed: holdTime.Add(-time.Second)}
}

// A record is taken only if all that it says makes sense together.
func TestHoldRecordMakesSense(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(r *HoldRecord)
		says   string // "": it is taken
	}{
		{"as it is written", func(r *HoldRecord) {}, ""},
		{"the most workers", func(r *HoldRecord) { r.Workers, r.Before = maxWarm, maxWarm }, ""},
		{"being raised", func(r *HoldRecord) { r.Phase = phaseRaising }, ""},
		{"being lowered", func(r *HoldRecord) { r.Phase = phaseLowering }, ""},
		{"clocks a minute apart", func(r *HoldRecord) { r.Renewed = holdTime.Add(time.Minute) }, ""},
		{"another id than its name", func(r *HoldRecord) { r.ID = holdTestID[1:] }, "its id is not the one in its name"},
		{"an id that leads elsewhere", func(r *HoldRecord) { r.ID = "../../../../othervol/models/config" }, "its id is not the one in its name"},
		{"no id", func(r *HoldRecord) { r.ID = "" }, "its id is not the one in its name"},
		{"another endpoint", func(r *HoldRecord) { r.Endpoint = "abd" }, "about another endpoint"},
		{"no workers", func(r *HoldRecord) { r.Workers = 0 }, "it holds 0 workers"},
		{"fewer than no workers", func(r *HoldRecord) { r.Workers = -3 }, "it holds -3 workers"},
		{"more workers than can be held", func(r *HoldRecord) { r.Workers = maxWarm + 1 }, "it holds 1001 workers"},
		{"less than nothing before", func(r *HoldRecord) { r.Before = -7 }, "a minimum of -7"},
		{"too much before", func(r *HoldRecord) { r.Before = maxWarm + 1 }, "a minimum of 1001"},
		{"no round", func(r *HoldRecord) { r.Round = 0 }, "its round is 0"},
		{"a round beyond counting", func(r *HoldRecord) { r.Round = maxHoldRound + 1 }, "its round is 1000001"},
		{"an unknown phase", func(r *HoldRecord) { r.Phase = "sleeping" }, "its phase is none"},
		{"renewed before it was taken", func(r *HoldRecord) { r.Renewed = r.Taken.Add(-1) }, "renewed before it was taken"},
		{"never taken", func(r *HoldRecord) { r.Taken = time.Time{} }, "renewed before it was taken"},
		{"renewed in the future", func(r *HoldRecord) { r.Renewed = holdTime.Add(time.Minute + 1) }, "in the future"},
		{"renewed in the year 9999", func(r *HoldRecord) { r.Renewed = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) }, "in the future"},
		{"an owner that moves the cursor", func(r *HoldRecord) { r.Owner = "\x1b[2J" }, "cannot be shown"},
		{"an owner in two lines", func(r *HoldRecord) { r.Owner = "a\nb" }, "cannot be shown"},
		{"an owner that turns the text round", func(r *HoldRecord) { r.Owner = "a\u202eb" }, "cannot be shown"},
		{"an owner with a long name", func(r *HoldRecord) { r.Owner = strings.Repeat("a", maxHoldOwner+1) }, "cannot be shown"},
		{"more than 4 KiB", func(r *HoldRecord) { r.Owner = strings.Repeat("a", maxHoldRecord) }, "more than 4096 bytes"},
	} {
		r := goodRecord()
		tt.change(&r)
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		_, err = parseHold(holdTestID+".json", "abc", text, holdTime)
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
	for name, text := range map[string]string{"nothing": "", "an empty object": "{}", "a list": "[]", "not JSON": "hello", "half": `{"id":"`, "null": "null", "a huge number": `{"workers":1e999}`} {
		if _, err := parseHold(holdTestID+".json", "abc", []byte(text), holdTime); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// FuzzHoldRecord: whatever is taken is within its bounds.
func FuzzHoldRecord(f *testing.F) {
	for _, change := range []func(r *HoldRecord){func(r *HoldRecord) {}, func(r *HoldRecord) { r.Before = -7 }, func(r *HoldRecord) { r.Phase = phaseLowering }} {
		r := goodRecord()
		change(&r)
		text, _ := json.Marshal(r)
		f.Add(holdTestID+".json", text)
	}
	f.Add("junk.json", []byte{})
	f.Add("../x.json", []byte(`{"id":"../x"}`))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		r, err := parseHold(name, "abc", text, holdTime)
		if err != nil {
			return
		}
		if name != r.ID+".json" || strings.ContainsAny(r.ID, `./\`) || r.Workers < 1 || r.Before < 0 || max(r.Workers, r.Before) > maxWarm || r.Renewed.After(holdTime.Add(holdSkew)) || r.Taken.After(r.Renewed) {
			t.Errorf("taken: %+v", r)
		}
		b := book{r}
		for _, most := range []int{0, 1, 5} {
			if n := b.want(1, r.Before, most, holdTime); n < 0 || n > most {
				t.Errorf("a minimum of %d, the maximum is %d", n, most)
			}
		}
	})
}

// hold is a record of a table: its round, how many workers, what was before.
func tableHold(id string, round, workers, before int, phase HoldPhase) HoldRecord {
	return HoldRecord{ID: id, Round: round, Workers: workers, Before: before, Phase: phase, Renewed: holdTime}
}

// What the holds have set, and what they have not.
func TestHoldsHaveSetTheMinimum(t *testing.T) {
	old := tableHold("old", 1, 4, 0, phaseHeld)
	old.Renewed = holdTime.Add(-holdStale)
	for _, tt := range []struct {
		name string
		b    book
		most int
		set  []int // every minimum that counts as theirs
	}{
		{"no hold", nil, 5, nil},
		{"one", book{tableHold("a", 1, 3, 0, phaseHeld)}, 5, []int{3}},
		{"less than before", book{tableHold("a", 1, 3, 4, phaseHeld)}, 5, []int{4}},
		{"two", book{tableHold("a", 1, 3, 0, phaseHeld), tableHold("b", 1, 2, 0, phaseHeld)}, 5, []int{3}},
		{"being raised", book{tableHold("a", 1, 3, 1, phaseRaising)}, 5, []int{1, 3}},
		{"being lowered", book{tableHold("a", 1, 3, 1, phaseLowering)}, 5, []int{1, 3}},
		{"one held, one being raised", book{tableHold("a", 1, 2, 0, phaseHeld), tableHold("b", 1, 3, 0, phaseRaising)}, 5, []int{2, 3}},
		{"two being raised", book{tableHold("a", 1, 2, 0, phaseRaising), tableHold("b", 1, 3, 0, phaseRaising)}, 5, []int{0, 2, 3}},
		{"stale", book{old}, 5, []int{0, 4}},
		{"more than the maximum", book{tableHold("a", 1, 9, 0, phaseHeld)}, 5, []int{5}},
		{"more than the maximum, being raised", book{tableHold("a", 1, 9, 7, phaseRaising)}, 5, []int{5}},
		{"different minimums before", book{tableHold("a", 1, 1, 2, phaseHeld), tableHold("b", 1, 1, 0, phaseHeld)}, 5, []int{1}},
	} {
		var set []int
		for n := range 12 {
			if tt.b.set(n, tt.most, holdTime) {
				set = append(set, n)
			}
		}
		if len(set) != len(tt.set) {
			t.Errorf("%s: %v, want %v", tt.name, set, tt.set)
			continue
		}
		for i := range set {
			if set[i] != tt.set[i] {
				t.Errorf("%s: %v, want %v", tt.name, set, tt.set)
			}
		}
	}
}

// Which round a hold joins, and what it restores.
func TestHoldJoinsARound(t *testing.T) {
	for _, tt := range []struct {
		name          string
		b             book
		minimum       int
		round, before int
	}{
		{"the first", nil, 2, 1, 2},
		{"the minimum is what the holds set", book{tableHold("a", 4, 3, 1, phaseHeld)}, 3, 4, 1},
		{"somebody has changed it", book{tableHold("a", 4, 3, 1, phaseHeld)}, 2, 5, 2},
		{"only the last round counts", book{tableHold("a", 4, 3, 1, phaseHeld), tableHold("b", 5, 2, 2, phaseHeld)}, 3, 6, 3},
		{"the last round there can be", book{tableHold("a", maxHoldRound, 3, 1, phaseHeld)}, 2, maxHoldRound, 2},
	} {
		if round, before := tt.b.join(tt.minimum, 5, holdTime); round != tt.round || before != tt.before {
			t.Errorf("%s: round %d, before %d; want %d, %d", tt.name, round, before, tt.round, tt.before)
		}
	}
}

// What is restored when records go.
func TestHoldsRestoreWhatTheySet(t *testing.T) {
	a, b, later := tableHold("a", 1, 3, 1, phaseHeld), tableHold("b", 1, 2, 1, phaseHeld), tableHold("c", 2, 4, 2, phaseHeld)
	for _, tt := range []struct {
		name    string
		all     book
		going   book
		minimum int
		want    int // the minimum to set; -1: it is left as it is
	}{
		{"the last one", book{a}, book{a}, 3, 1},
		{"the largest of two", book{a, b}, book{a}, 3, 2},
		{"the smaller of two", book{a, b}, book{b}, 3, 3},
		{"all", book{a, b}, book{a, b}, 3, 1},
		{"somebody has changed it", book{a}, book{a}, 2, -1},
		{"of the round before, which set it no more", book{a, later}, book{a}, 4, -1},
		{"of the round before, which set the same", book{a, tableHold("c", 2, 3, 2, phaseHeld)}, book{a}, 3, 3},
		{"both rounds, which set the same", book{a, tableHold("c", 2, 3, 2, phaseHeld)}, book{tableHold("c", 2, 3, 2, phaseHeld), a}, 3, 2},
		{"of the last round", book{a, later}, book{later}, 4, 2},
		{"both rounds", book{a, later}, book{a, later}, 4, 2},
		{"both rounds, the first one set it", book{a, tableHold("c", 2, 1, 1, phaseHeld)}, book{a, tableHold("c", 2, 1, 1, phaseHeld)}, 3, 1},
	} {
		got := -1
		if round, before := tt.all.restores(tt.going, tt.minimum, 5, holdTime); round > 0 {
			got = tt.all.without(tt.going).want(round, before, 5, holdTime)
		}
		if got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// No record has the minimum set below 0 or above the maximum.
func TestMinimumStaysWithinItsBounds(t *testing.T) {
	for _, tt := range []struct{ n, most, want int }{{-7, 5, 0}, {0, 5, 0}, {3, 5, 3}, {5, 5, 5}, {1000, 5, 5}, {1000, 0, 0}} {
		if got := within(tt.n, tt.most); got != tt.want {
			t.Errorf("%d of %d: %d, want %d", tt.n, tt.most, got, tt.want)
		}
	}
	forged := book{tableHold("f", 1, 1000, 0, phaseHeld)}
	if n := forged.want(1, 0, 5, holdTime); n != 5 {
		t.Errorf("a record of 1000 workers: %d", n)
	}
	if n := (book{}).want(1, -7, 5, holdTime); n != 0 {
		t.Errorf("-7 before: %d", n)
	}
}
