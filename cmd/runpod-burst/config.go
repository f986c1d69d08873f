package main

import (
	"fmt"

	"github.com/gpuburst/runpod-go/internal/burst"
)

// configUsage says what -config takes. Its verb is for the names of the fields.
const configUsage = `
A -config file is a JSON object such as

  {
    "max_workers": 6, "scaler_value": 4, "idle_timeout": "5s", "queue_wait": "2m",
    "cold_start": "40s~90s", "service_time": "10s-15s", "crash_rate": 0.02,
    "s3": {"error_rate": 0.01, "transient_above": 16},
    "faults": [{"on": "endpoint", "skip": 10, "times": 3, "do": "answer", "status": 502, "body": "bad gateway"}]
  }

or {"preset": "run2"} with what that stress test leaves open. What is left out has
its default. A distribution is one duration, "60s"; a range, "40s-90s"; a median
and a 90th percentile, "40s~90s"; or a list, ["41s", "60s"], gone through in turn.
The fields: %s.
They mean what runpodtest.Config documents; upload_every is how often plain
clients' upload pool lets a job through. -seed, -speed, -min, -max and
-scaler-value on the command line win over the file.
`

// readConfig takes the simulated endpoint from the file of -config. Flags that
// were given win, and the others' defaults stand where the file says nothing.
func (o *options) readConfig(given map[string]bool) error {
	t, err := burst.ReadTwin(o.config)
	if err != nil {
		return fmt.Errorf("-config: %w", err)
	}
	c, flags := &t.Config, o.twin.Config
	prefer(&c.Speed, flags.Speed, given["speed"])
	prefer(&c.Seed, flags.Seed, given["seed"])
	prefer(&c.MinWorkers, flags.MinWorkers, given["min"])
	prefer(&c.MaxWorkers, flags.MaxWorkers, given["max"])
	prefer(&c.ScalerValue, flags.ScalerValue, given["scaler-value"])
	c.Loopback = true
	o.twin, o.set.Config = t, o.config
	return nil
}

// prefer replaces a file's value by the flag's, if that was given or there is none.
func prefer[T comparable](file *T, flag T, given bool) {
	var none T
	if given || *file == none {
		*file = flag
	}
}
