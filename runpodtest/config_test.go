package runpodtest

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestConfigNamesTheBadField(t *testing.T) {
	for field, cfg := range map[string]Config{
		"Speed":             {Speed: -1},
		"MinWorkers":        {MinWorkers: -1},
		"MaxWorkers":        {MinWorkers: 3, MaxWorkers: 2},
		"MaxWorkers:":       {MinWorkers: 1, MaxWorkers: NoWorkers},
		"ScalerType":        {ScalerType: 9},
		"ScalerValue":       {ScalerValue: -1},
		"IdleTimeout":       {IdleTimeout: -time.Second},
		"QueueWait":         {QueueWait: -time.Second},
		"StrictWait":        {StrictWait: -time.Second},
		"ProcessingLimit":   {ProcessingLimit: -time.Second},
		"BodyLimit":         {BodyLimit: -1},
		"MaxWaiting":        {MaxWaiting: -1},
		"Capacity":          {Capacity: -1},
		"Refusal":           {Refusal: 7},
		"Routing":           {Routing: 7},
		"Unfairness":        {Unfairness: 1.5},
		"HealthPath":        {HealthPath: "ping"},
		"Concurrency":       {Concurrency: -1},
		"CrashRate":         {CrashRate: math.NaN()},
		"UnhealthyRate":     {UnhealthyRate: -0.1},
		"ColdStart":         {ColdStart: Range(2, 1)},
		"ServiceTime":       {ServiceTime: Fixed(-1)},
		"Loading":           {Loading: LogNormal(0, 1)},
		"ColdStart:":        {ColdStart: Recorded()},
		"ServiceTime:":      {ServiceTime: Recorded(1, -1)},
		"S3.TransientAbove": {S3: S3Habits{TransientAbove: -1}},
		"S3.ErrorRate":      {S3: S3Habits{ErrorRate: 2}},
		"S3.PartLimit":      {S3: S3Habits{PartLimit: -1}},
		"S3.VolumeSize":     {S3: S3Habits{VolumeSize: -1}},
		"S3.QuotaError":     {S3: S3Habits{QuotaError: true}},
		"S3.BytesPerSecond": {S3: S3Habits{BytesPerSecond: -1}},
		"VolumeDir":         {VolumeDir: "/nowhere/at/all"},
		"MaxWorkers ":       {Preset: StressRun2(), MaxWorkers: 5},
		"ColdStart ":        {Preset: StressRun2(), ColdStart: Fixed(1)},
		"ServiceTime ":      {Preset: StressRun3(), ServiceTime: Fixed(1)},
		"Unfairness ":       {Preset: StressRun3(), Unfairness: 0.1},
	} {
		field = "Config." + strings.TrimRight(field, " :") + ":"
		srv, err := NewServer(cfg)
		if err == nil {
			srv.Close()
			t.Errorf("%s: accepted", field)
		} else if !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named in: %v", field, err)
		}
	}
}

func TestConfigDefaults(t *testing.T) {
	cfg, err := Config{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.MaxWorkers != 3 || cfg.ScalerValue != 4 || cfg.IdleTimeout != 5*time.Second || cfg.QueueWait != 2*time.Minute ||
		cfg.ProcessingLimit != 330*time.Second || cfg.BodyLimit != 30_000_000 || cfg.Speed != 1 || cfg.Concurrency != 1 {
		t.Errorf("got %+v", cfg)
	}
	if cfg, _ = (Config{MaxWorkers: NoWorkers}).withDefaults(); cfg.MaxWorkers != 0 {
		t.Errorf("NoWorkers gave %d", cfg.MaxWorkers)
	}
}
