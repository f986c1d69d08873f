package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	runpod "github.com/gpuburst/runpod-go"
)

// order is what a client's process is told.
type order struct {
	URL, Bucket, Access, Secret string
	Input, Key, ResumeDir       string
	Conns                       int
	Part                        int64
}

// beClient is the process that is killed. It says when it begins, and at the
// end how many bytes went out on its connections, headers included.
func beClient(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	var sent atomic.Int64
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &counting{conn, &sent}, err
	}
	c, err := runpod.New(runpod.WithS3Endpoint(o.URL, region, o.Bucket), runpod.WithS3Credentials(o.Access, o.Secret), runpod.WithDialContext(dial),
		runpod.WithS3Conns(o.Conns), runpod.WithPartSize(o.Part), runpod.WithResumeDir(o.ResumeDir))
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Println("begin")
	if _, err := c.Upload(context.Background(), o.Key, runpod.File(o.Input)); err != nil {
		return err
	}
	fmt.Println(sent.Load())
	return nil
}

// counting counts what is written.
type counting struct {
	net.Conn
	sent *atomic.Int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// ended is how a client's process ended.
type ended struct {
	killed bool
	took   time.Duration // since it began to upload
	sent   int64         // 0 if it was killed
}

// upload runs a client's process, and kills it so long after it has begun;
// negative: it lives.
func (o order) upload(ctx context.Context, after time.Duration) (e ended, err error) {
	text, err := json.Marshal(o)
	if err != nil {
		return e, err
	}
	cmd := exec.CommandContext(ctx, os.Args[0], "client", string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return e, err
	}
	if err := cmd.Start(); err != nil {
		return e, err
	}
	lines := bufio.NewScanner(out)
	lines.Scan() // it begins
	start := time.Now()
	var kill *time.Timer
	if after >= 0 {
		kill = time.AfterFunc(after, func() { cmd.Process.Kill() })
	}
	if lines.Scan() {
		fmt.Sscan(lines.Text(), &e.sent)
	}
	e.took = time.Since(start)
	err = cmd.Wait()
	if kill != nil && e.sent == 0 && !kill.Stop() && ctx.Err() == nil {
		e.killed, err = true, nil
	}
	return e, err
}
