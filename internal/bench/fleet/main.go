// Fleet measures what package fleet costs and saves: one batch through one Client,
// through a fleet of 1, 2, 4 and 8 processes, and through four Clients that know
// nothing of each other, on equal simulated endpoints; and what submitting and a
// job cost.
//
//	go -C internal/bench run ./fleet -write
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	do := bench
	if os.Getenv(workerVariable) != "" {
		do = work
	}
	if err := do(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context) error {
	runs := flag.Int("runs", 5, "runs of each line, of which the medians count")
	jobs := flag.Int("jobs", 120, "jobs of a batch")
	many := flag.Int("many", 5000, "jobs for what submitting and a job cost")
	write := flag.Bool("write", false, "write the tables into docs/fleet.md")
	doc := flag.String("doc", "../../docs/fleet.md", "that document")
	flag.Parse()
	if *runs < 1 || *jobs < 1 || *many < 1 {
		return fmt.Errorf("-runs, -jobs, -many: want 1 or more")
	}
	var all []line
	for _, way := range ways() {
		var of []batch
		for range *runs {
			b, err := way.run(ctx, *jobs)
			if err != nil {
				return fmt.Errorf("%s: %w", way.name, err)
			}
			of = append(of, b)
		}
		l := line{way.name, medians(of)}
		fmt.Println(l.name, l.batch)
		all = append(all, l)
	}
	var costs []cost
	for range *runs {
		c, err := measure(ctx, *many)
		if err != nil {
			return err
		}
		fmt.Println(c)
		costs = append(costs, c)
	}
	text := report(*runs, *jobs, *many, all, medianCost(costs))
	fmt.Print(text)
	if *write {
		return writeDoc(*doc, text)
	}
	return nil
}
