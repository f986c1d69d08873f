package bench

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seedsFlag    = flag.Int("seeds", 0, "seeds for every scenario; 0: 20, or 2 with -short")
	onlyFlag     = flag.String("only", "", "comma-separated scenarios to run; empty: all")
	variantsFlag = flag.Bool("variants", false, "run the library with other admissions too")
	whoFlag      = flag.String("who", "", "comma-separated parts of client names to run; empty: all")
)

func pick(list, name string, equal bool) bool {
	if list == "" || list == "p-" {
		return true
	}
	for part := range strings.SplitSeq(list, ",") {
		if part == name || !equal && strings.Contains(name, part) {
			return true
		}
	}
	return false
}

func TestCompare(t *testing.T) {
	seeds := 20
	volume := t.TempDir()
	if testing.Short() {
		seeds = 2
	}
	if *seedsFlag > 0 {
		seeds = *seedsFlag
	}
	type work struct {
		sc   *scenario
		c    client
		seed uint64
		into *figures
		took *time.Duration
	}
	var queue []work
	results := map[string]map[string][]figures{}
	var order []scenario
	cs := clients()
	if *variantsFlag {
		cs = append(cs, variants()...)
	}
	costs := map[string]*[]time.Duration{}
	for _, sc := range chosen() {
		if !pick(*onlyFlag, sc.name, true) || testing.Short() && sc.huge {
			continue
		}
		order = append(order, sc)
		results[sc.name] = map[string][]figures{}
		for _, c := range cs {
			results[sc.name][c.String()] = make([]figures, seeds)
			ds := make([]time.Duration, seeds)
			costs[sc.name+c.String()] = &ds
		}
		for seed := range seeds {
			for _, c := range cs {
				if pick(*whoFlag, c.String(), false) {
					queue = append(queue, work{&sc, c, uint64(seed + 1), &results[sc.name][c.String()][seed], &(*costs[sc.name+c.String()])[seed]})
				}
			}
		}
	}
	jobs := make(chan work)
	go func() {
		for _, w := range queue {
			jobs <- w
		}
		close(jobs)
	}()
	t.Run("runs", func(t *testing.T) {
		for i := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				for w := range jobs {
					begin := time.Now()
					synctest.Test(t, func(t *testing.T) {
						r, err := simulate(newPlan(w.sc, w.seed), w.c, volume)
						if err != nil {
							t.Fatal(err)
						}
						*w.into = measure(r)
					})
					*w.took = time.Since(begin)
				}
			})
		}
	})
	med := func(fs []figures, f func(figures) float64) float64 {
		var v []float64
		for _, x := range fs {
			v = append(v, f(x))
		}
		return median(v)
	}
	for _, sc := range order {
		fmt.Fprintf(os.Stdout, "\n%s: %s\n%-38s %8s %8s %9s %8s %7s %9s %8s %8s %6s %8s %8s\n", sc.name, sc.what, "", "success", "att/succ", "att/least", "mf again", "ref.w", "mksp/LB", "bill/lst", "longest", "peak", "gapp99", "ms/run")
		for _, c := range cs {
			if !pick(*whoFlag, c.String(), false) {
				continue
			}
			fs := results[sc.name][c.String()]
			var tk time.Duration
			for _, d := range *costs[sc.name+c.String()] {
				tk += d
			}
			fmt.Printf("%-38s %8.1f %8.2f %9.3f %8.1f %7.1f %9.3f %8.2f %8.0f %6.0f %8.3f %8d\n", c,
				med(fs, func(f figures) float64 { return 100 * float64(f.succeeded) / float64(f.calls) }),
				med(fs, func(f figures) float64 { return float64(f.attempts) / float64(max(1, f.succeeded)) }),
				med(fs, func(f figures) float64 { return float64(f.attempts) / float64(f.leastAttempts) }),
				med(fs, func(f figures) float64 { return float64(f.malformedAgain) }),
				med(fs, func(f figures) float64 { return float64(f.refusedWaiting) }),
				med(fs, func(f figures) float64 { return f.makespan / f.bound }),
				med(fs, func(f figures) float64 {
					return f.billed / float64(max(1, f.succeeded)) / (f.leastBill / float64(f.calls))
				}),
				med(fs, func(f figures) float64 { return f.longest }),
				med(fs, func(f figures) float64 { return float64(f.peak) }),
				med(fs, func(f figures) float64 { return quantile(f.idleGaps, 0.99) }),
				tk.Milliseconds()/int64(len(fs)))
		}
	}
}

func chosen() []scenario {
	if strings.HasPrefix(*onlyFlag, "p-") {
		return probes()
	}
	return scenarios()
}
