package runpodtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// Dist is a distribution of durations: a cold start, a service time. The zero
// Dist stands for the default that the field using it documents. It is a value
// and safe to share.
type Dist struct {
	shape  shape
	lo, hi time.Duration   // Fixed: lo; Range: both; LogNormal: median and 90th percentile
	values []time.Duration // Recorded
}

type shape uint8

const (
	unset shape = iota
	fixed
	uniform
	logNormal
	recorded
)

// Fixed returns a Dist that is always d.
func Fixed(d time.Duration) Dist { return Dist{shape: fixed, lo: d} }

// Range returns a Dist that is uniform between lo and hi.
func Range(lo, hi time.Duration) Dist { return Dist{shape: uniform, lo: lo, hi: hi} }

// LogNormal returns a Dist of that median and 90th percentile: most values are
// near the median, a few far above it, as start-up times are.
func LogNormal(median, p90 time.Duration) Dist {
	return Dist{shape: logNormal, lo: median, hi: p90}
}

// Recorded returns a Dist that replays measured values: worker or request number n gets the n-th,
// and after the last one the first follows again.
func Recorded(ds ...time.Duration) Dist {
	return Dist{shape: recorded, values: append([]time.Duration(nil), ds...)}
}

// ParseDist reads a Dist as flags and files write it: "60s" is Fixed, "40s-90s"
// a Range, "40s~90s" LogNormal. The error names what is no duration; whether the
// values make sense, NewServer says.
func ParseDist(s string) (Dist, error) {
	shape, sep := Range, "-"
	if strings.Contains(s, "~") {
		shape, sep = LogNormal, "~"
	}
	first, second, two := strings.Cut(s, sep)
	a, err := time.ParseDuration(first)
	if err != nil {
		return Dist{}, err
	}
	if !two {
		return Fixed(a), nil
	}
	b, err := time.ParseDuration(second)
	if err != nil {
		return Dist{}, err
	}
	return shape(a, b), nil
}

// isZero reports whether the field was left to its default.
func (d Dist) isZero() bool { return d.shape == unset }

// String returns the distribution as a person would write it.
func (d Dist) String() string {
	switch d.shape {
	case fixed:
		return d.lo.String()
	case uniform:
		return fmt.Sprintf("%v to %v", d.lo, d.hi)
	case logNormal:
		return fmt.Sprintf("lognormal, median %v, p90 %v", d.lo, d.hi)
	case recorded:
		return fmt.Sprintf("%d recorded values", len(d.values))
	}
	return "default"
}

// check says what is wrong with the distribution's arguments, if anything.
func (d Dist) check() error {
	switch {
	case d.lo < 0:
		return fmt.Errorf("%v is negative", d.lo)
	case d.shape == uniform && d.hi < d.lo:
		return fmt.Errorf("the range ends at %v, before its start %v", d.hi, d.lo)
	case d.shape == logNormal && (d.lo == 0 || d.hi < d.lo):
		return fmt.Errorf("a lognormal needs 0 < median <= p90, not %v and %v", d.lo, d.hi)
	case d.shape == recorded && len(d.values) == 0:
		return fmt.Errorf("no value was recorded")
	}
	for _, v := range d.values {
		if v < 0 {
			return fmt.Errorf("recorded value %v is negative", v)
		}
	}
	return nil
}

// z90 is the standard normal's 90th percentile.
const z90 = 1.2815515655446004

// at is the value for the n-th (from 1) request or worker of a run with this
// seed. It depends on nothing else: not on who asked first.
func (d Dist) at(seed uint64, what stream64, n int) time.Duration {
	switch d.shape {
	case fixed:
		return d.lo
	case uniform:
		return d.lo + time.Duration(draw(seed, what, n).Float64()*float64(d.hi-d.lo))
	case logNormal:
		sigma := math.Log(float64(d.hi)/float64(d.lo)) / z90
		return time.Duration(float64(d.lo) * math.Exp(sigma*draw(seed, what, n).NormFloat64()))
	case recorded:
		return d.values[(n-1)%len(d.values)]
	}
	return 0
}

// stream64 keeps the draws made for different purposes apart.
type stream64 uint64

const (
	drawColdStart stream64 = iota + 1
	drawService
	drawLoading
	drawPreference
	drawCrash
	drawUnhealthy
	drawS3
	drawName
	drawKeys
	drawLot
	drawJob
	drawBatch
)

// draw returns the random source for one purpose and one number.
func draw(seed uint64, what stream64, n int) *rand.Rand {
	return rand.New(rand.NewPCG(seed*0x9e3779b97f4a7c15+uint64(what), uint64(n)))
}

const nameLetters = "abcdefghijklmnopqrstuvwxyz0123456789"

// name is a service-like identifier of n characters, tied to seed and number.
func name(seed uint64, what stream64, number, n int) string {
	r := draw(seed, what, number)
	b := make([]byte, n)
	for i := range b {
		b[i] = nameLetters[r.IntN(len(nameLetters))]
	}
	return string(b)
}
