// Command kill ends uploads with SIGKILL at random moments and lets the next
// process go on with them:
//
//	go -C internal/bench run ./kill
//
// prints a row for each moment and every target as met or missed; its exit
// status is 1 if one was missed. A moment can be in the first request, in any
// part, between parts or while they are put together.
//
// The client is a process of its own (client.go), and so is the store where
// versitygw is installed; otherwise the store is the simulation (store.go).
// moment.go is one kill and what followed, report.go the table.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// settings are what the flags say. Sizes are in bytes.
type settings struct {
	moments, conns int
	size, part     int64
	seed           uint64
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "client" {
		exitOn(beClient(os.Args[2]))
		return
	}
	moments := flag.Int("moments", 20, "how many uploads are killed")
	mb := flag.Int64("mb", 1024, "how large they are, in MiB")
	part := flag.Int64("part", 8, "how large a part is, in MiB")
	conns := flag.Int("conns", 4, "connections of the client")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the moments")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exitOn(run(ctx, os.Stdout, settings{*moments, *conns, *mb << 20, *part << 20, *seed}))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "kill:", err)
		os.Exit(1)
	}
}

// run kills as many uploads as it is told to, and prints.
func run(ctx context.Context, out io.Writer, set settings) error {
	dir, err := os.MkdirTemp(memoryDisk(), "kill-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := startStore(ctx, dir)
	if err != nil {
		return err
	}
	defer s.stop()
	k := &killer{settings: set, store: s, dir: dir, input: filepath.Join(dir, "input")}
	if k.sum, err = writeInput(k.input, set); err != nil {
		return err
	}
	whole, err := k.unharmed(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d MiB in parts of %d MiB on %d connections to %s: %.2f s when nobody kills it; seed %d\n\n",
		set.size>>20, set.part>>20, set.conns, s.name, whole.Seconds(), set.seed)
	r := rand.New(rand.NewPCG(set.seed, 0))
	var rows []row
	for i := range set.moments {
		x, err := k.kill(ctx, fmt.Sprint("killed/", i), func() time.Duration { return time.Duration(r.Float64() * float64(whole)) })
		if err != nil {
			return fmt.Errorf("kill %d: %w", i+1, err)
		}
		rows = append(rows, x)
	}
	printRows(out, rows, set)
	return printTargets(out, judge(rows, set))
}

func memoryDisk() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}
