package sim

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gpuburst/runpod-go/internal/worker"
	"github.com/gpuburst/runpod-go/runpodtest"
)

// program sets what the workers run. The command is nil unless each worker is a
// process.
func (o *options) program(logs io.Writer) (*worker.Command, error) {
	o.cfg.JobHandler = echoJob
	switch {
	case o.exec != "":
		return o.processes(logs)
	case o.worker == "echo":
		o.busy()
	case o.worker == "tryon":
		o.busy()
		o.cfg.Handler = func(w runpodtest.Worker) http.Handler { return worker.TryOn(w.VolumeDir, nil) }
	case strings.Contains(o.worker, "://"):
		return nil, o.remote(logs)
	default:
		return nil, fmt.Errorf("-worker %q: want tryon, echo or the address of your server, such as http://127.0.0.1:8000", o.worker)
	}
	return nil, nil
}

// echoJob is what the workers run for jobs of the queue API: it streams the input
// and returns it.
func echoJob(_ context.Context, job runpodtest.Job) (any, error) {
	job.Emit(job.Input)
	return map[string]any{"input": job.Input, "worker": job.Worker.ID}, nil
}

// busy makes a program of this one take its time for a request, as the models of
// real workers do.
func (o *options) busy() {
	if !given(o.cfg.ServiceTime) && o.cfg.Preset.String() == "" {
		o.cfg.ServiceTime = runpodtest.Range(10*time.Second, 15*time.Second)
	}
}

// remote makes the workers pass requests to a server that runs already.
func (o *options) remote(logs io.Writer) (err error) {
	if err := o.ownPreset(); err != nil {
		return err
	}
	if o.cfg.Handler, err = worker.Remote(o.worker, logs); err != nil {
		return fmt.Errorf("-worker: %w", err)
	}
	o.cfg.HealthPath = cmp.Or(o.health, o.cfg.HealthPath) // polled only if it was given
	return nil
}

// processes makes each worker a process.
func (o *options) processes(logs io.Writer) (*worker.Command, error) {
	if o.set["worker"] {
		return nil, fmt.Errorf("-exec and -worker are two ways to say what the workers run; leave one of them out")
	}
	if err := o.ownPreset(); err != nil {
		return nil, err
	}
	c := worker.NewCommand(o.exec)
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("-exec: %w", err)
	}
	c.Health = cmp.Or(o.health, o.cfg.HealthPath, c.Health)
	if !given(o.cfg.ColdStart) {
		o.cfg.ColdStart = runpodtest.Fixed(0) // that of the process alone
	}
	c.Logs, c.StartTimeout = logs, o.startTimeout
	o.cfg.Start, o.cfg.HealthPath = c.Start, c.Health
	return c, nil
}

// presetFlags are the flags for what a preset sets, but for -service.
var presetFlags = []string{"min", "max", "scaler-value", "queue-delay", "idle", "cold", "unfairness"}

// ownPreset takes a preset's or a file's settings without its service time: a
// program of one's own takes the time it takes.
func (o *options) ownPreset() error {
	if !o.set["service"] {
		o.cfg.ServiceTime = runpodtest.Dist{}
	}
	if o.cfg.Preset.String() == "" {
		return nil
	}
	if i := slices.IndexFunc(presetFlags, func(name string) bool { return o.set[name] }); i >= 0 {
		return fmt.Errorf("-%s contradicts -preset, which sets it; leave one of them out", presetFlags[i])
	}
	p, c := o.cfg.Preset.Config(), &o.cfg
	c.MinWorkers, c.MaxWorkers, c.ScalerType, c.ScalerValue = p.MinWorkers, p.MaxWorkers, p.ScalerType, p.ScalerValue
	c.IdleTimeout, c.ColdStart, c.Unfairness = p.IdleTimeout, p.ColdStart, p.Unfairness
	c.Preset = runpodtest.Preset{}
	return nil
}
