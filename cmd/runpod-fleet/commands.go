package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gpuburst/runpod-go/fleet"
	"github.com/gpuburst/runpod-go/fleet/embedded"
)

func serve(ctx context.Context, c *command, args []string) error {
	dir := c.flags.String("dir", "fleet-data", "folder for the queue's data")
	listen := c.flags.String("listen", "127.0.0.1:4222", "address to listen on; off loopback, give -cert and -key too")
	cert := c.flags.String("cert", "", "file with a TLS certificate")
	key := c.flags.String("key", "", "file with the certificate's key")
	if err := c.parse(args, 0, 0, "none"); err != nil {
		return err
	}
	opts := []embedded.Option{embedded.Listen(*listen)}
	if *cert != "" || *key != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			return fmt.Errorf("-cert, -key: %w", err)
		}
		opts = append(opts, embedded.TLS(&tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}))
	}
	srv, err := embedded.Start(*dir, opts...)
	if err != nil {
		return err
	}
	defer srv.Close()
	token, err := filepath.Abs(filepath.Join(*dir, "token"))
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "export RUNPOD_FLEET_URL=%s\nexport RUNPOD_FLEET_TOKEN_FILE=%s\n# Ctrl-C ends the server; its data stays in %s.\n", srv.URL(), token, *dir)
	<-ctx.Done()
	return nil
}

func submit(ctx context.Context, c *command, args []string) error {
	inFlight := c.flags.Int("in-flight", 0, "limit of calls for a fleet that is new; 0 means 16")
	if err := c.parse(args, 1, 1, "one file"); err != nil {
		return err
	}
	in, dir, err := c.manifest(c.flags.Arg(0))
	if err != nil {
		return err
	}
	defer in.Close()
	return c.with(ctx, *inFlight, func(f *fleet.Fleet) error {
		client, err := newClient()
		if err != nil {
			return err
		}
		defer client.Close()
		var broken error
		read := 0
		n, err := f.Submit(ctx, client, func(yield func(fleet.Spec) bool) {
			for s, err := range fleet.ReadSpecs(in, dir) {
				if err != nil {
					broken = fmt.Errorf("%s: %w", c.flags.Arg(0), err)
					return
				}
				read++
				if !yield(s) {
					return
				}
			}
		})
		fmt.Fprintf(c.stdout, "%d jobs, %d of them new\n", read, n)
		return errors.Join(broken, err)
	})
}

// manifest opens a manifest. One in a file is read to its end first, so that a
// broken line is refused before anything is sent.
func (c *command) manifest(name string) (in io.ReadCloser, dir string, err error) {
	if name == "-" {
		return io.NopCloser(c.stdin), ".", nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, "", err
	}
	dir = filepath.Dir(name)
	for _, err := range fleet.ReadSpecs(file, dir) {
		if err != nil {
			file.Close()
			return nil, "", fmt.Errorf("%s: %w", name, err)
		}
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		file.Close()
		return nil, "", fmt.Errorf("%s: %w; give \"-\" and pipe it in", name, err)
	}
	return file, dir, nil
}

func work(ctx context.Context, c *command, args []string) error {
	slots := c.flags.Int("slots", 16, "calls that this machine has open at once, at most")
	name := c.flags.String("name", "", "this machine's name; default: the host's and the process's number")
	if err := c.parse(args, 0, 0, "none"); err != nil {
		return err
	}
	return c.with(context.WithoutCancel(ctx), 0, func(f *fleet.Fleet) error {
		client, err := newClient()
		if err != nil {
			return err
		}
		defer client.Close()
		opts := []fleet.WorkOption{fleet.Slots(*slots)}
		if *name != "" {
			opts = append(opts, fleet.MachineName(*name))
		}
		fmt.Fprintln(c.stderr, "working; Ctrl-C finishes what runs, a second one ends at once")
		return f.Work(ctx, client, opts...)
	})
}

// line is a result as results prints it.
type line struct {
	ID         string          `json:"id"`
	Run        int             `json:"run"`
	Pos        uint64          `json:"pos"`
	OK         bool            `json:"ok"`
	Error      string          `json:"error,omitempty"`
	MayHaveRun bool            `json:"may_have_run,omitempty"`
	Answer     json.RawMessage `json:"answer,omitempty"`
	AnswerKey  string          `json:"answer_key,omitempty"`
	OutputKey  string          `json:"output_key,omitempty"`
	Saved      string          `json:"saved,omitempty"`
	Machine    string          `json:"machine,omitempty"`
	Worker     string          `json:"worker,omitempty"`
	Attempts   int             `json:"attempts,omitempty"`
	Begun      *time.Time      `json:"begun,omitempty"`
	Ended      time.Time       `json:"ended"`
}

func newLine(r fleet.Result, err error) line {
	l := line{ID: r.ID, Run: r.Run, Pos: r.Pos, OK: err == nil, AnswerKey: r.AnswerKey, OutputKey: r.OutputKey, Saved: r.Saved,
		Machine: r.Machine, Worker: r.WorkerID, Attempts: r.Attempts, Ended: r.Ended}
	if !r.Begun.IsZero() {
		l.Begun = &r.Begun
	}
	if err != nil {
		l.Error, l.MayHaveRun = err.Error(), errors.Is(err, fleet.ErrMayHaveRun)
	}
	if json.Valid(r.Answer) {
		l.Answer = r.Answer
	} else if r.Answer != nil {
		l.Answer, _ = json.Marshal(string(r.Answer))
	}
	return l
}

func results(ctx context.Context, c *command, args []string) error {
	from := c.flags.Uint64("from", 0, "begin behind the result with this pos")
	follow := c.flags.Bool("follow", false, "go on until interrupted, instead of ending with the last job")
	save := c.flags.String("save", "", "folder for the results of jobs with a save_to")
	if err := c.parse(args, 0, 0, "none"); err != nil {
		return err
	}
	return c.with(ctx, 0, func(f *fleet.Fleet) error {
		opts := []fleet.ResultsOption{fleet.From(*from)}
		if *follow {
			opts = append(opts, fleet.Follow())
		}
		if *save != "" {
			client, err := newClient()
			if err != nil {
				return err
			}
			defer client.Close()
			opts = append(opts, fleet.Save(client, *save))
		}
		failed := 0
		out := json.NewEncoder(c.stdout)
		for r, err := range f.Results(ctx, opts...) {
			if r.ID == "" {
				return err
			}
			if err != nil {
				failed++
			}
			if err := out.Encode(newLine(r, err)); err != nil {
				return err
			}
		}
		if failed > 0 {
			return fmt.Errorf("%d jobs have failed", failed)
		}
		return nil
	})
}

func retry(ctx context.Context, c *command, args []string) error {
	all := c.flags.Bool("failed", false, "every job that has failed, those that may have run included")
	if err := c.parse(args, 0, -1, "ids"); err != nil {
		return err
	}
	ids := c.flags.Args()
	if *all == (len(ids) > 0) {
		return fmt.Errorf("give ids or -failed (%w)", errUsage)
	}
	return c.with(ctx, 0, func(f *fleet.Fleet) error {
		if *all {
			for id, err := range f.Failed(ctx) {
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
		}
		if err := f.Retry(ctx, ids...); err != nil {
			return err
		}
		fmt.Fprintf(c.stdout, "%d jobs run again\n", len(ids))
		return nil
	})
}

func cancel(ctx context.Context, c *command, args []string) error {
	if err := c.parse(args, 1, -1, "ids"); err != nil {
		return err
	}
	return c.with(ctx, 0, func(f *fleet.Fleet) error { return f.Cancel(ctx, c.flags.Args()...) })
}

func limit(ctx context.Context, c *command, args []string) error {
	if err := c.parse(args, 1, 1, "one number"); err != nil {
		return err
	}
	n, err := strconv.Atoi(c.flags.Arg(0))
	if err != nil {
		return fmt.Errorf("%q is no number (%w)", c.flags.Arg(0), errUsage)
	}
	return c.with(ctx, 0, func(f *fleet.Fleet) error { return f.SetInFlight(ctx, n) })
}

func drain(ctx context.Context, c *command, args []string) error {
	if err := c.parse(args, 0, 0, "none"); err != nil {
		return err
	}
	return c.with(ctx, 0, func(f *fleet.Fleet) error {
		if err := f.Drain(ctx); err != nil {
			return err
		}
		fmt.Fprintln(c.stdout, "no job runs; runpod-fleet limit N has the fleet go on")
		return nil
	})
}

func remove(ctx context.Context, c *command, args []string) error {
	if err := c.parse(args, 0, 0, "none"); err != nil {
		return err
	}
	return c.with(ctx, 0, func(f *fleet.Fleet) error { return f.Delete(ctx) })
}
