package bench

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
)

var (
	seedsFlag    = flag.Int("seeds", 0, "seeds for every scenario; 0: 20, or 2 with -short")
	onlyFlag     = flag.String("only", "", "comma-separated scenarios to run; empty: all of the comparison; probes: the further ones")
	whoFlag      = flag.String("who", "", "comma-separated parts of the names of clients to run; empty: all")
	variantsFlag = flag.Bool("variants", false, "run the library with other admissions too")
	traceFlag    = flag.Bool("trace", false, "print what each client's first seed looked like over time")
	docsFlag     = flag.String("docs", "", "folder in which to bring compare-tables.md, compare.csv and compare.svg up to date")
)

// TestCompare runs every client through every scenario on the same seeds and
// prints what came of it, with every target as met or missed. It fails where the
// library loses a call, does one twice, or sends a malformed one again; where a
// client beats the bound, which is then none; and where -docs cannot be written.
func TestCompare(t *testing.T) {
	tab := newTable(chosenScenarios(t), chosenClients(t), chosenSeeds())
	tab.fill(t)
	tab.print(os.Stdout)
	fmt.Println()
	tab.summary(os.Stdout)
	targets := tab.judge()
	printTargets(os.Stdout, targets)
	for _, x := range targets {
		if x.hard && !x.met {
			t.Errorf("%s: %s: want %s, got %s", x.scenario, x.name, x.want, x.got)
		}
	}
	tab.checkBound(t)
	if *docsFlag != "" {
		if err := tab.writeDocs(*docsFlag, targets); err != nil {
			t.Error(err)
		}
	}
}

func chosenSeeds() int {
	switch {
	case *seedsFlag > 0:
		return *seedsFlag
	case testing.Short():
		return 2
	}
	return 20
}

func chosenScenarios(t *testing.T) (chosen []scenario) {
	all := scenarios()
	if *onlyFlag == "probes" {
		all, *onlyFlag = probes(), ""
	}
	for _, sc := range all {
		if (*onlyFlag == "" || listed(*onlyFlag, func(part string) bool { return part == sc.name })) && !(sc.huge && testing.Short()) {
			chosen = append(chosen, sc)
		}
	}
	if len(chosen) == 0 {
		t.Fatalf("-only %s: no such scenario", *onlyFlag)
	}
	return chosen
}

func chosenClients(t *testing.T) (chosen []client) {
	all := clients()
	if *variantsFlag {
		all = append(all, variants()...)
	}
	for _, c := range all {
		if *whoFlag == "" || listed(*whoFlag, func(part string) bool { return strings.Contains(c.String(), part) }) {
			chosen = append(chosen, c)
		}
	}
	if len(chosen) == 0 {
		t.Fatalf("-who %s: no such client", *whoFlag)
	}
	return chosen
}

func listed(list string, is func(string) bool) bool {
	for part := range strings.SplitSeq(list, ",") {
		if is(part) {
			return true
		}
	}
	return false
}

// fill makes every run, as many at a time as there are processors, each in a time
// bubble of its own. Clients take turns on every seed.
func (t *table) fill(tt *testing.T) {
	volume := tt.TempDir()
	todo := make(chan func(*testing.T))
	go func() {
		defer close(todo)
		for i := range t.scenarios {
			for seed := range t.seeds {
				for _, c := range t.clients {
					todo <- func(tt *testing.T) { t.one(tt, &t.scenarios[i], c, seed, volume) }
				}
			}
		}
	}()
	tt.Run("runs", func(tt *testing.T) {
		for i := range runtime.GOMAXPROCS(0) {
			tt.Run(fmt.Sprint(i+1), func(tt *testing.T) {
				tt.Parallel()
				for run := range todo {
					run(tt)
				}
			})
		}
	})
}

func (t *table) one(tt *testing.T, sc *scenario, c client, seed int, volume string) {
	var r *run
	synctest.Test(tt, func(tt *testing.T) {
		var err error
		if r, err = simulate(newPlan(sc, uint64(seed+1)), c, volume); err != nil {
			tt.Fatalf("%s: %s: %v", sc.name, c, err)
		}
	})
	*t.at(sc, c, seed) = measure(r)
	if *traceFlag && seed == 0 {
		r.trace(os.Stdout, c)
	}
}

// checkBound looks for a client that did all the work in less than the bound.
func (t *table) checkBound(tt *testing.T) {
	for i := range t.scenarios {
		for _, c := range t.clients {
			for seed, f := range t.of(&t.scenarios[i], c) {
				if f.succeeded == f.calls && f.makespan < f.bound-0.001 {
					tt.Errorf("%s: %s, seed %d: makespan %.3f s is below the bound, %.3f s", t.scenarios[i].name, c, seed+1, f.makespan, f.bound)
				}
			}
		}
	}
}
