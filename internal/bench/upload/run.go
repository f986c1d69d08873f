package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gpuburst/runpod-go/internal/cputime"
)

// figures are what one run of one client gave.
type figures struct {
	Seconds, CPU float64
	RSS          int64 // bytes
	Opened       int   // connections; -1: not known
}

// order is what a client's process is told.
type order struct {
	Client, URL, Workload, Dir string
}

// figuresOf are those of a whole process that has ended.
func figuresOf(p *os.ProcessState, wall time.Duration) figures {
	f := figures{Seconds: wall.Seconds(), CPU: (p.UserTime() + p.SystemTime()).Seconds(), Opened: -1}
	if u, ok := p.SysUsage().(*syscall.Rusage); ok {
		f.RSS = u.Maxrss << 10
	}
	return f
}

// runClient runs a client once, in a process of its own.
func runClient(ctx context.Context, name string, w workload, url, dir string) (figures, error) {
	switch name {
	case "boto3":
		return runBoto3(ctx, w, url, dir, "one")
	case "boto3-defaults":
		return runBoto3(ctx, w, url, dir, "each")
	case "rclone":
		return runRclone(ctx, w, url, dir)
	}
	text, err := json.Marshal(order{name, url, w.name, dir})
	if err != nil {
		return figures{}, err
	}
	cmd := exec.CommandContext(ctx, os.Args[0], "client", string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	var f figures
	if err == nil {
		err = json.Unmarshal(out, &f)
	}
	return f, err
}

// beClient is the process that is measured: from before the first upload to
// after the last.
func beClient(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	w, err := workloadNamed(o.Workload)
	if err != nil {
		return err
	}
	// Everybody holds as much memory as the bare client needs: the garbage
	// collector runs the less often the larger the heap is.
	s := &settings{url: o.URL, conns: w.conns, prepared: make([]byte, partSize)}
	defer runtime.KeepAlive(s)
	u, err := goClients[o.Client](s)
	if err != nil {
		return err
	}
	callers := w.callers(o.Dir)
	var data []byte
	if w.memory {
		data = bytes.Repeat([]byte("0123456789abcdef"), int(callers[0][0].Size/16))
	}
	cpu, start := usedCPU(), time.Now()
	if err := uploadAll(u, callers, data); err != nil {
		return err
	}
	f := figures{Seconds: time.Since(start).Seconds(), CPU: usedCPU() - cpu, RSS: peakRSS(), Opened: int(s.opened.Load())}
	return json.NewEncoder(os.Stdout).Encode(f)
}

func uploadAll(u uploader, callers [][]task, data []byte) error {
	errs := make([]error, len(callers))
	var wg sync.WaitGroup
	for i, tasks := range callers {
		wg.Go(func() {
			for _, t := range tasks {
				if errs[i] = u.put(context.Background(), t, data); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return firstOf(errs)
}

func workloadNamed(name string) (workload, error) {
	for _, w := range workloads {
		if w.name == name {
			return w, nil
		}
	}
	return workload{}, fmt.Errorf("no workload %q", name)
}

// usedCPU is the processor time of this process, in seconds.
func usedCPU() float64 { return cputime.Used().Seconds() }

func peakRSS() int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			var kb int64
			fmt.Sscan(rest, &kb)
			return kb << 10
		}
	}
	return 0
}
