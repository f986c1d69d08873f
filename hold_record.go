package runpod

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

// HoldRecord is what is recorded about a hold, so that others see it, and find it
// if the process that holds is killed. See [Client.Holds]. It is a plain value.
type HoldRecord struct {
	ID       string    `json:"id"`       // the hold's, unique
	Endpoint string    `json:"endpoint"` // the endpoint's id
	Round    int       `json:"round"`    // holds of one round restore the same minimum
	Workers  int       `json:"workers"`  // the minimum that this hold asks for
	Before   int       `json:"before"`   // the minimum that its round restores
	Phase    HoldPhase `json:"phase"`
	Owner    string    `json:"owner"`   // host name and process id, for people
	Taken    time.Time `json:"taken"`   // when the hold began
	Renewed  time.Time `json:"renewed"` // when its process last said that it is alive
}

// HoldPhase says how far a hold has come: "raising", "held" or "lowering". While a
// hold is being raised or lowered, the endpoint's minimum may be the one with it or
// the one without it.
type HoldPhase string

const (
	phaseRaising  HoldPhase = "raising"
	phaseHeld     HoldPhase = "held"
	phaseLowering HoldPhase = "lowering"
)

const (
	holdRenewal = 20 * time.Second // how often a record is renewed
	holdStale   = 90 * time.Second // after which an older one is nobody's
	holdSkew    = time.Minute      // by how much clocks of machines may differ

	maxHoldRecord = 4 << 10 // bytes of a record
	maxHoldOwner  = 300     // bytes of its owner's name
	maxHoldRound  = 1_000_000
)

// Stale reports whether the process that held is gone, or its release failed:
// the next client to hold or to release clears the record.
func (r HoldRecord) Stale() bool { return !r.live(time.Now()) }

func (r HoldRecord) live(now time.Time) bool {
	return r.Phase != phaseLowering && now.Sub(r.Renewed) < holdStale
}

// moving reports whether the minimum may be the one with this hold or the one
// without it: it is being raised or lowered, or somebody may be about to clear it.
func (r HoldRecord) moving(now time.Time) bool { return r.Phase != phaseHeld || !r.live(now) }

// holdOwner names this process for people.
func holdOwner() string {
	host, err := os.Hostname()
	if err != nil || !printable(host) || len(host) > maxHoldOwner/2 {
		host = "unknown host"
	}
	return fmt.Sprintf("%s, process %d", host, os.Getpid())
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar })
}

// holdID is what a record may be called. It becomes part of a file's name, and of
// an object's key.
var holdID = regexp.MustCompile(`^[A-Za-z0-9]{8,64}$`)

// parseHold reads a record. Whoever may write where records are kept may write
// one, so it is taken only if all that it says makes sense together.
func parseHold(name, endpoint string, text []byte, now time.Time) (HoldRecord, error) {
	var r HoldRecord
	if len(text) > maxHoldRecord {
		return r, fmt.Errorf("it has more than %d bytes", maxHoldRecord)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, errors.New("it is not a record's JSON")
	}
	switch {
	case !holdID.MatchString(r.ID) || name != r.ID+".json":
		return r, errors.New("its id is not the one in its name")
	case r.Endpoint != endpoint:
		return r, errors.New("it is about another endpoint")
	case r.Workers < 1 || r.Workers > maxWarm:
		return r, fmt.Errorf("it holds %d workers: 1 to %d can be held", r.Workers, maxWarm)
	case r.Before < 0 || r.Before > maxWarm:
		return r, fmt.Errorf("it restores a minimum of %d: 0 to %d is possible", r.Before, maxWarm)
	case r.Round < 1 || r.Round > maxHoldRound:
		return r, fmt.Errorf("its round is %d: 1 to %d is possible", r.Round, maxHoldRound)
	case r.Phase != phaseRaising && r.Phase != phaseHeld && r.Phase != phaseLowering:
		return r, errors.New("its phase is none")
	case r.Taken.IsZero() || r.Renewed.Before(r.Taken):
		return r, errors.New("it was renewed before it was taken")
	case r.Renewed.Sub(now) > holdSkew:
		return r, fmt.Errorf("it was renewed more than %s in the future", holdSkew)
	case len(r.Owner) > maxHoldOwner || !printable(r.Owner):
		return r, errors.New("its owner's name cannot be shown")
	}
	return r, nil
}

// book is the records of one endpoint. Its methods are pure.
//
// Holds that are taken while the minimum is what the holds set belong to one
// round, and restore the same minimum. If somebody else has changed the minimum
// the next hold begins another round, which restores what that one chose.
type book []HoldRecord

// newest is the number of the last round; 0: there is no record.
func (b book) newest() (n int) {
	for _, r := range b {
		n = max(n, r.Round)
	}
	return n
}

// of is the records of one round.
func (b book) of(round int) (part book) {
	for _, r := range b {
		if r.Round == round {
			part = append(part, r)
		}
	}
	return part
}

// with is the book with a record in it, in place of the one of the same id.
func (b book) with(r HoldRecord) book {
	return append(b.without(book{r}), r)
}

// without is the book without some records.
func (b book) without(some book) book {
	return slices.DeleteFunc(slices.Clone(b), func(r HoldRecord) bool { return some.has(r.ID) })
}

// only is what the book has of some records.
func (b book) only(some book) book {
	return slices.DeleteFunc(slices.Clone(b), func(r HoldRecord) bool { return !some.has(r.ID) })
}

func (b book) has(id string) bool {
	return slices.ContainsFunc(b, func(r HoldRecord) bool { return r.ID == id })
}

// split finds the records that gone names, and those that are stale besides.
func (b book) split(gone func(HoldRecord) bool, now time.Time) (going, stale book) {
	for _, r := range b {
		switch {
		case gone(r):
			going = append(going, r)
		case !r.live(now):
			stale = append(stale, r)
		}
	}
	return going, stale
}

// before is the minimum that a round's holds restore.
func (b book) before() int {
	n := b[0].Before
	for _, r := range b {
		n = min(n, r.Before)
	}
	return n
}

// set reports whether a minimum is what a round's holds have set: what it was
// before, or the largest number of workers that they hold. A hold that is moving
// may be in it or not. Holds that ask for more than the endpoint's maximum have
// set the maximum.
func (b book) set(minimum, most int, now time.Time) bool {
	if len(b) == 0 {
		return false
	}
	held := b.before()
	for _, r := range b {
		if !r.moving(now) {
			held = max(held, r.Workers)
		}
	}
	for _, r := range b {
		if r.moving(now) && minimum == within(max(held, r.Workers), most) {
			return true
		}
	}
	return minimum == within(held, most)
}

// want is the minimum that the living holds of a round and of later ones ask
// for; before is the one without them.
func (b book) want(round, before, most int, now time.Time) int {
	n := before
	for _, r := range b {
		if r.Round >= round && r.live(now) {
			n = max(n, r.Workers)
		}
	}
	return within(n, most)
}

// within keeps a minimum between 0 and the endpoint's maximum, whatever the
// records say.
func within(n, most int) int { return max(0, min(n, most)) }

// join is the round that a hold belongs to which is taken now, and the minimum
// that it restores.
func (b book) join(minimum, most int, now time.Time) (round, before int) {
	newest := b.newest()
	if last := b.of(newest); last.set(minimum, most, now) {
		return newest, last.before()
	}
	return min(newest+1, maxHoldRound), minimum
}

// restores finds the round whose holds have set the minimum, among the rounds of
// the records that go; 0: none has, so that somebody else has changed it.
func (b book) restores(going book, minimum, most int, now time.Time) (round, before int) {
	for _, r := range going {
		if all := b.of(r.Round); r.Round > round && all.set(minimum, most, now) {
			round, before = r.Round, all.before()
		}
	}
	return round, before
}
