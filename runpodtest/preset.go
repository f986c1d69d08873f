package runpodtest

import "time"

// Preset is an endpoint whose figures somebody measured, for Config.Preset. The
// zero Preset sets nothing. What was measured is what clients saw; the settings
// behind it were not reported and are fitted here: they are guesses that give
// the same picture. `go test -run Calibration -v` prints both.
type Preset struct {
	name string
	set  *Config
}

// Config returns the settings that the preset stands for, for those who want to
// change some of them. The zero Preset returns the zero Config.
func (p Preset) Config() Config {
	if p.set == nil {
		return Config{}
	}
	return *p.set
}

// String returns the preset's name.
func (p Preset) String() string { return p.name }

// applyTo fills in what the preset sets, and refuses a Config that sets the same.
func (p Preset) applyTo(c Config) (Config, error) {
	if p.name == "" {
		return c, nil
	}
	for _, f := range []struct {
		field string
		taken bool
	}{
		{"MinWorkers", c.MinWorkers != 0},
		{"MaxWorkers", c.MaxWorkers != 0},
		{"ScalerType", c.ScalerType != RequestCount},
		{"ScalerValue", c.ScalerValue != 0},
		{"IdleTimeout", c.IdleTimeout != 0},
		{"ColdStart", !c.ColdStart.isZero()},
		{"ServiceTime", !c.ServiceTime.isZero()},
		{"Unfairness", c.Unfairness != 0},
	} {
		if f.taken {
			return c, fieldError(f.field, "contradicts the preset %s, which sets it; leave one of them out", p.name)
		}
	}
	c.MinWorkers, c.MaxWorkers = p.set.MinWorkers, p.set.MaxWorkers
	c.ScalerValue, c.IdleTimeout = p.set.ScalerValue, p.set.IdleTimeout
	c.ColdStart, c.ServiceTime, c.Unfairness = p.set.ColdStart, p.set.ServiceTime, p.set.Unfairness
	return c, nil
}

// StressRun1 returns the endpoint of the first stress test: 30 jobs whose uploads
// were squeezed through a slow pool of 10 connections.
//
//	                 measured                      this preset, an arrival every 24 s
//	workers started  1                             1
//	refused          "the last ones", after 2 min  3, the first of them number 15, at 120 s
//
// Fitted: a scaler value of 10, so that a thin stream of requests never asks for
// a second worker.
func StressRun1() Preset {
	return Preset{"StressRun1", &Config{
		MaxWorkers: 3, ScalerValue: 10, IdleTimeout: 5 * time.Second,
		ColdStart:   Range(15*time.Second, 50*time.Second),
		ServiceTime: Range(25*time.Second, 35*time.Second),
		Unfairness:  0,
	}}
}

// StressRun2 returns the endpoint of the second stress test: 30 jobs, at most 15 at
// once, no retry.
//
//	                 measured      this preset (medians of 200 seeds)
//	succeeded        26 of 30      26
//	refused after    121 s         120 s
//	warm answers     25-35 s       fastest 34 s
//	cold answers     40 s-1.5 min  first 51 s
//
// Fitted: four workers, cold starts of 15 to 50 s, the measured 25 to 35 s of
// work, and Unfairness.
func StressRun2() Preset {
	return Preset{"StressRun2", &Config{
		MaxWorkers: 4, ScalerValue: 4, IdleTimeout: 5 * time.Second,
		ColdStart:   Range(15*time.Second, 50*time.Second),
		ServiceTime: Range(25*time.Second, 35*time.Second),
		Unfairness:  0.3,
	}}
}

// StressRun3 returns the endpoint of the third stress test: the same jobs on another
// day.
//
//	                 measured      this preset (medians of 200 seeds)
//	succeeded        28 of 30      28
//	refused after    121 s         120 s
//	fastest          10-15 s       14 s
//	slowest success  117 s         108 s
//
// Fitted: the default three workers, cold starts of 30 to 65 s, 10 to 14 s of
// work, and Unfairness.
func StressRun3() Preset {
	return Preset{"StressRun3", &Config{
		MaxWorkers: 3, ScalerValue: 4, IdleTimeout: 5 * time.Second,
		ColdStart:   Range(30*time.Second, 65*time.Second),
		ServiceTime: Range(10*time.Second, 14*time.Second),
		Unfairness:  0.3,
	}}
}
