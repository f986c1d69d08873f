package runpodtest

// Preset is an endpoint whose figures somebody measured, for Config.Preset. The
// zero Preset sets nothing.
type Preset struct {
	name string
	set  *Config
}

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
		{"QueueWait", c.QueueWait != 0},
	} {
		if f.taken {
			return c, fieldError(f.field, "contradicts the preset %s, which sets it; leave one of them out", p.name)
		}
	}
	c.MinWorkers, c.MaxWorkers = p.set.MinWorkers, p.set.MaxWorkers
	c.ScalerValue, c.IdleTimeout = p.set.ScalerValue, p.set.IdleTimeout
	c.ColdStart, c.ServiceTime = p.set.ColdStart, p.set.ServiceTime
	return c, nil
}
